"""What a long command shows while it works."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from yolor_deploy.cli import stages
from yolor_deploy.cli.stages import shown_build, shown_work


def console(*, terminal: bool) -> tuple[Console, io.StringIO]:
    """Return a console, and the text that it writes."""
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=100), text


def test_stages_and_the_last_step_are_lines_in_a_log() -> None:
    """Where nobody watches, each stage is a line, and a finished count; single steps are not."""
    out, text = console(terminal=False)

    with shown_work("build", console=out) as (note, advance):
        note("calibrating [bold]x[/bold]")
        for done in range(1, 4):
            advance(done, 3)
        note("lowering")

    assert text.getvalue().splitlines() == [
        "build: calibrating [bold]x[/bold]",
        "build: 3 of 3",
        "build: lowering",
    ]


def test_stage_and_steps_are_one_line_on_a_terminal() -> None:
    """The stage, how far it is, and the time that is left are shown, and gone at the end."""
    out, text = console(terminal=True)

    with shown_work("build", console=out) as (note, advance):
        note("calibrating [bold]x[/bold]")
        advance(2, 3)
        out.print("end")

    assert "calibrating [bold]x[/bold]" in text.getvalue()
    assert "2/3" in text.getvalue()
    assert text.getvalue().endswith("\x1b[2K")


def test_failure_gives_the_cursor_back() -> None:
    """An error inside goes through."""
    out, text = console(terminal=True)

    def work() -> None:
        with shown_work("build", console=out):
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        work()

    assert "\x1b[?25h" in text.getvalue()


def test_phases_are_a_line_now_and_then_in_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, 15 seconds lie between two lines; control characters are escaped."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    out, text = console(terminal=False)

    with shown_build("build", console=out) as shown:
        shown.note("building")
        for now in range(1, 40):
            shown.phase("Timing [b]tactics[/b]\x07", now, 600)

    assert stages._TOLD_EVERY_S == 15
    assert text.getvalue().splitlines() == [
        "build: building",
        "build: Timing [b]tactics[/b]\\x07, 15 of 600",
        "build: Timing [b]tactics[/b]\\x07, 30 of 600",
    ]


def test_phase_takes_the_place_of_the_stage_on_a_terminal() -> None:
    """Its steps are counted; no time that is left is made up from them."""
    out, text = console(terminal=True)

    with shown_build("build", console=out) as shown:
        shown.note("calibrating")
        shown.advance(2, 2)
        shown.note("building")
        shown.phase("Timing [b]tactics[/b]", 3, 600)
        out.print("end")

    assert "build: Timing [b]tactics[/b]" in text.getvalue()
    assert "3/600" in text.getvalue()
    assert "left" not in text.getvalue().rpartition("3/600")[2]
