"""``yolor-deploy doctor``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolor_deploy.cli.boundary import printable

if TYPE_CHECKING:
    from yolor_deploy.doctor import Finding

_MARKS = {"ok": "ok", "missing": "--", "warning": "warning", "broken": "BROKEN"}
_SEVERITIES = {"error": "ERROR", "warning": "warning", "harmless": "harmless"}


def doctor(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="An engine to compare with this machine, or a log of TensorRT to explain.",
            show_default="the machine",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Tell what is installed here and what mends what is not; or whether an engine runs here.

    Exit code 1 if something is broken, the engine does not run here, or the log has an error that
    is known; an option that is not installed is not broken.
    """
    is_well = _examine_machine(as_json) if file is None else _examine_file(file, as_json)
    if not is_well:
        raise typer.Exit(1)


def _examine_machine(as_json: bool) -> bool:
    """Show what is installed, and return whether nothing is broken."""
    from yolor_deploy.doctor import examine  # noqa: PLC0415 - loads what it looks for

    return _show_findings(examine(), {}, as_json)


def _show_findings(findings: Sequence[Finding], heading: Mapping[str, str], as_json: bool) -> bool:
    is_well = all(finding.state != "broken" for finding in findings)
    if as_json:
        value = {"ok": is_well, **heading, "findings": [item.to_json() for item in findings]}
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
    """Show whether an engine runs here, or what a log says; return whether all is well."""
    from yolor_deploy.core.artifact import is_engine, looks_like_plan  # noqa: PLC0415
    from yolor_deploy.doctor import examine_engine  # noqa: PLC0415 - loads what it looks for

    plan = file.with_suffix("")
    if file.suffix == ".json" and is_engine(plan):  # its passport was named
        file = plan
    if is_engine(file) or looks_like_plan(file):
        return _show_findings(examine_engine(file), {"file": str(file)}, as_json)
    return _explain_log(file, as_json)


def _explain_log(file: Path, as_json: bool) -> bool:
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
        # What a file says may look like markup, or hold sequences for the terminal
        table.add_row(*(Text(printable(cell)) for cell in row))
    console().print(table)
