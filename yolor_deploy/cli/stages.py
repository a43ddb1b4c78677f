"""Shows on stderr what a command is doing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
    from rich.console import Console  # noqa: PLC0415 - slow to load

    console = console or Console(stderr=True)
    if console.is_terminal:
        with _bar(command, console) as shown:
            yield shown
        return

    def say(text: str) -> None:
        console.print(f"{command}: {text}", highlight=False, soft_wrap=True, markup=False)

    told = time.monotonic()

    def advance(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _TOLD_EVERY_S or done == total:
            told = now
            say(f"{done} of {total}")

    yield say, advance


@contextmanager
def _bar(
    command: str, console: Console
) -> Iterator[tuple[Callable[[str], None], Callable[[int, int], None]]]:
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
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(command, total=None, count="")

        def note(stage: str) -> None:
            bar.reset(task, total=None, description=f"{command}: {stage}", count="")

        def advance(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, count=f"{done}/{total}")

        yield note, advance
