"""The command line: one file a command, one place where an error becomes text.

Loading this package loads neither torch nor onnx: commands import what they need when they run.
"""

from __future__ import annotations

import io
import logging
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from yolor_deploy import __version__
from yolor_deploy.cli.bench import bench
from yolor_deploy.cli.boundary import reported_errors
from yolor_deploy.cli.build import build
from yolor_deploy.cli.detect import detect
from yolor_deploy.cli.diff import diff
from yolor_deploy.cli.doctor import doctor
from yolor_deploy.cli.evaluate import evaluate
from yolor_deploy.cli.export import export
from yolor_deploy.cli.info import info
from yolor_deploy.cli.models import models
from yolor_deploy.cli.tune import tune
from yolor_deploy.cli.verify import verify


class _Commands(TyperGroup):
    """Runs a command inside the error boundary; lists commands in the order of use."""

    def invoke(self, ctx: Any) -> Any:
        with reported_errors():
            return super().invoke(ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return list(self.commands)


app = typer.Typer(
    cls=_Commands,
    name="yolor-deploy",
    help="From a trained YOLOR or Scaled-YOLOv4 checkpoint to a proven model of few bits.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_IN_ORDER_OF_USE: dict[str, Callable[..., None]] = {
    "export": export,
    "build": build,
    "tune": tune,
    "verify": verify,
    "eval": evaluate,
    "diff": diff,
    "bench": bench,
    "detect": detect,
    "info": info,
    "models": models,
    "doctor": doctor,
}
for name, command in _IN_ORDER_OF_USE.items():
    app.command(name)(command)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell what each stage does, on stderr.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """From a trained YOLOR or Scaled-YOLOv4 checkpoint to a proven model of few bits."""
    del version
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("yolor_deploy").setLevel(level)


def main() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name may hold bytes, or a class name letters, that the terminal cannot show.
            stream.reconfigure(errors="backslashreplace")
    # As Ctrl-C, so that a container that is stopped leaves nothing half-written
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)  # a terminal that is gone
    app()
