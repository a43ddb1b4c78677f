"""Progress of long work, on stderr."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_DELAY_S = 1.0


@contextmanager
def progress(
    label: str, *, delay_s: float = _DELAY_S, console: Console | None = None
) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr while the block runs, if it runs longer than a second.

    ::

        with progress("detecting") as advance:
            run_detection(detector, images, config, progress=advance)

    Until the first call the bar only shows that something is going on. It is gone when the block
    ends; where stderr is not a terminal, one line with the time it took stays.

    Args:
        label: What is being done.
        delay_s: Nothing is shown before this many seconds have passed.
        console: Where to show it; stderr if not given.

    Yields:
        A function to call with the number of steps done, and of all steps.
    """
    console = console or Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=console.is_terminal,
    )
    task = bar.add_task(label, total=None)
    timer = threading.Timer(delay_s, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda done, total: bar.update(task, completed=done, total=total)
    finally:
        timer.cancel()
        timer.join()  # or it might start the bar after it was stopped
        if bar.live.is_started:
            bar.stop()
