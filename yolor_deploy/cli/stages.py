"""Shows on stderr what a command is doing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yolor_deploy.cli.boundary import printable

if TYPE_CHECKING:
    from rich.console import Console

_TOLD_EVERY_S = 15.0


@contextmanager
def shown_stages(command: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that is told each stage: a spinner on a terminal, else a line each."""
    from rich.console import Console  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415 - slow to load

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda stage: console.print(
            f"{command}: {stage}", highlight=False, soft_wrap=True, markup=False
        )
        return
    with console.status(command) as status:

        def note(stage: str) -> None:
            status.update(Text(f"{command}: {stage}"))  # a file's name may look like markup

        yield note


@contextmanager
def shown_work(
    command: str, *, console: Console | None = None
) -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
    """Yield two functions: one is told each stage, the other the steps of a long one.

    On a terminal that is one line with a bar and the time that is left, gone at the end; else a
    line for each stage, and one now and then for the steps.

    Args:
        command: Whose work it is.
        console: Where to show it; stderr if not given.
    """
    with shown_build(command, console=console) as shown:
        yield shown.note, shown.advance


@dataclass(frozen=True, slots=True)
class ShownBuild:
    """What a build tells while it works.

    Attributes:
        note: Told each stage as it begins.
        advance: Told the steps of a stage that are done, and all of them.
        phase: Told a phase inside a stage, its steps that are done, and all of them.
    """

    note: Callable[[str], None]
    advance: Callable[[int, int], None]
    phase: Callable[[str, int, int], None]


@contextmanager
def shown_build(command: str, *, console: Console | None = None) -> Iterator[ShownBuild]:
    """Show what ``shown_work`` does, and phases that another program names.

    A phase takes the place of the stage on a terminal; elsewhere it is a line now and then.
    """
    from rich.console import Console  # noqa: PLC0415 - slow to load

    console = console or Console(stderr=True)
    if console.is_terminal:
        with _bar(command, console) as shown:
            yield shown
        return

    def say(text: str) -> None:
        console.print(f"{command}: {text}", highlight=False, soft_wrap=True, markup=False)

    told = time.monotonic()

    def is_due() -> bool:
        nonlocal told
        now = time.monotonic()
        if now - told < _TOLD_EVERY_S:
            return False
        told = now
        return True

    def advance(done: int, total: int) -> None:
        if is_due() or done == total:
            say(f"{done} of {total}")

    def phase(name: str, done: int, total: int) -> None:
        if is_due():
            say(f"{printable(name)}, {done} of {total}")

    yield ShownBuild(say, advance, phase)


@contextmanager
def _bar(command: str, console: Console) -> Iterator[ShownBuild]:
    from rich.progress import (  # noqa: PLC0415 - slow to load
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),  # a file's name may look like markup
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(command, total=None, count="", left="")

        def note(stage: str) -> None:
            bar.reset(task, description=f"{command}: {stage}", count="", left="")
            bar.tasks[0].total = None  # which neither `reset` nor `update` does

        def advance(done: int, total: int) -> None:
            count = f"{done}/{total}"
            bar.update(task, completed=done, total=total, count=count, left="left")

        def phase(name: str, done: int, total: int) -> None:
            # Phases are nested and of unequal length: no time that is left follows from one
            count = f"{done}/{total}"
            bar.update(task, description=f"{command}: {printable(name)}", count=count)

        yield ShownBuild(note, advance, phase)
