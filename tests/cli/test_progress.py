from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from yolor_deploy.cli.progress import progress


def console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    """Return a console, and the text that it writes."""
    text = io.StringIO()
    return Console(file=text, force_terminal=terminal, width=80), text


def test_short_work_shows_nothing() -> None:
    """Work that is done before the delay leaves no trace."""
    out, text = console(terminal=True)

    with progress("detecting", delay_s=3600, console=out) as advance:
        advance(1, 2)

    assert text.getvalue() == ""


def test_long_work_shows_how_far_it_is() -> None:
    """After the delay the label and the steps are shown."""
    out, text = console()

    with progress("detecting", delay_s=0, console=out) as advance:
        _join_timers()
        advance(2, 3)

    assert "detecting" in text.getvalue()
    assert "2/3" in text.getvalue()


def test_failure_ends_the_bar() -> None:
    """An error inside goes through, and the terminal has its cursor back."""
    out, text = console(terminal=True)

    def work() -> None:
        with progress("detecting", delay_s=0, console=out):
            _join_timers()
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        work()

    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert text.getvalue().count(hidden) == text.getvalue().count(shown) == 1
    assert text.getvalue().index(hidden) < text.getvalue().index(shown)


def test_progress_is_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """The bar is on stderr; stdout stays for results."""
    with progress("detecting", delay_s=0) as advance:
        _join_timers()
        advance(1, 1)

    captured = capsys.readouterr()
    assert captured.out == ""
    assert "detecting" in captured.err


def _join_timers() -> None:
    """Wait until the bar was started: it starts in a timer's thread."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join()
