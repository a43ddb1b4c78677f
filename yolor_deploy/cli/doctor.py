"""``yolor-deploy doctor``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from yolor_deploy.cli.boundary import printable

_MARKS = {"ok": "ok", "missing": "--", "broken": "BROKEN"}
_SEVERITIES = {"error": "ERROR", "warning": "warning", "harmless": "harmless"}


def doctor(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="A log of TensorRT or trtexec to explain.",
            show_default="the machine",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Tell what is installed here and what mends what is not, or explain a log of TensorRT.

    Exit code 1 if something is broken, or the log has an error that is known; an option that is not
    installed is not broken.
    """
    is_well = _examine_machine(as_json) if file is None else _examine_file(file, as_json)
    if not is_well:
        raise typer.Exit(1)


def _examine_machine(as_json: bool) -> bool:
    """Show what is installed, and return whether nothing is broken."""
    from yolor_deploy.doctor import examine  # noqa: PLC0415 - loads what it looks for

    findings = examine()
    is_well = all(finding.state != "broken" for finding in findings)
    if as_json:
        value = {"ok": is_well, "findings": [finding.to_json() for finding in findings]}
        typer.echo(json.dumps(value, indent=2))
    else:
        _show(
            ("", "", "found", "for", "to mend it"),
            (
                (_MARKS[item.state], item.name, item.detail, item.use, item.hint or "")
                for item in findings
            ),
        )
    return is_well


def _examine_file(file: Path, as_json: bool) -> bool:
    """Show what a log of TensorRT says, and return whether no error in it is known."""
    from yolor_deploy.doctor.log import examine_log  # noqa: PLC0415 - beside its use

    report = examine_log(file)
    if as_json:
        typer.echo(json.dumps({"file": str(file), **report.to_json()}, indent=2))
    elif report.diagnoses:
        _show(
            ("line", "", "found", "cause", "remedy"),
            (
                (str(item.line), _SEVERITIES[item.severity], item.text, item.cause, item.remedy)
                for item in report.diagnoses
            ),
        )
    else:
        typer.echo(printable(f"{file}: no known message in {report.lines:,} lines"))
        typer.echo(f"  hint: {report.hint}")
    return not report.has_error


def _show(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table."""
    from rich.table import Table  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415

    from yolor_deploy.cli.tables import console  # noqa: PLC0415 - rich

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # what a file says may look like markup
    console().print(table)
