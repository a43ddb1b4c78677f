"""Shows on stderr what a command is doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
