"""Shows what ``bench`` is doing, on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from yolor_deploy.benchmark.report.wording import counted, duration
from yolor_deploy.cli.boundary import printable

if TYPE_CHECKING:
    from rich.console import Console

    from yolor_deploy.measure.latency.record import Settings
    from yolor_deploy.measure.latency.sampling import Turn

_TOLD_EVERY_S = 15.0
_S_PER_MIN = 60


@contextmanager
def shown_bench(
    settings: Settings, *, console: Console | None = None
) -> Iterator[tuple[Callable[[str], None], Callable[[Turn], None]]]:
    """Yield two functions: one is told each stage, the other turns of sampling.

    On a terminal that is one live line with samples, median, noise and the time that is left; else
    a line for each stage, and one now and then for the turns.

    Args:
        settings: When sampling stops.
        console: Where to show it; stderr if not given.
    """
    from rich.console import Console  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415 - slow to load

    console = console or Console(stderr=True)
    if not console.is_terminal:
        with _lines(settings, console) as shown:
            yield shown
        return
    with console.status("bench") as status:

        def note(stage: str) -> None:
            status.update(Text(f"bench: {printable(stage)}"))  # a file's name may look like markup

        yield note, lambda turn: note(turn_text(turn, settings))


@contextmanager
def _lines(
    settings: Settings, console: Console
) -> Iterator[tuple[Callable[[str], None], Callable[[Turn], None]]]:
    told = float("-inf")

    def note(text: str) -> None:
        console.print(f"bench: {printable(text)}", highlight=False, soft_wrap=True, markup=False)

    def progress(turn: Turn) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _TOLD_EVERY_S:
            told = now
            note(turn_text(turn, settings))

    yield note, progress


def turn_text(turn: Turn, settings: Settings) -> str:
    """Return a turn as one line."""
    words = [f"{turn.phase} {turn.name}", counted(turn.samples, "sample")]
    if turn.median_ms is not None:
        words.append(f"median {duration(turn.median_ms)}")
    if turn.noise is not None:
        words.append(f"noise {100 * turn.noise:.2g} %, {100 * settings.noise_target:.2g} % wanted")
    left = max(0.0, settings.time_limit_s - turn.elapsed_s)
    words.append(f"at most {seconds_text(left)} left")
    return ", ".join(words)


def seconds_text(seconds: float) -> str:
    """Return a time that is left."""
    minutes, rest = divmod(round(seconds), _S_PER_MIN)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
