"""The only place where an exception becomes text."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from yolor_deploy.core.errors import YolorDeployError


@contextmanager
def reported_errors() -> Iterator[None]:
    """Show a failure that the user can mend as ``error / where / hint``, and exit with 1.

    Anything else is a bug, and keeps its traceback.
    """
    try:
        yield
    except YolorDeployError as error:
        for kind, text in (
            ("error", error.problem),
            ("  where", error.where),
            ("  hint", error.hint),
        ):
            line = printable(text)
            if kind == "  where":  # a name of a file may hold a line break
                line = line.replace("\n", "\\n")
            typer.echo(f"{kind}: {line}", err=True)
        raise typer.Exit(1) from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        typer.echo(
            f"error: cannot write: {error.strerror}\n"
            f"  where: {printable(str(error.filename or 'standard output'))}\n"
            "  hint: free some space on that disk",
            err=True,
        )
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        typer.echo("stopped; nothing was left half-written", err=True)
        raise typer.Exit(130) from error


def printable(text: str) -> str:
    """Return text whose control characters are written as escapes.

    A message quotes what is in a file, and a hostile file may hold sequences for the terminal.
    """
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )
