"""``yolor-deploy doctor``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

_MARKS = {"ok": "ok", "missing": "--", "broken": "BROKEN"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Tell what is installed here, what works, what is missing, and what mends it.

    Exit code 1 if something is broken; an option that is not installed is not.
    """
    from yolor_deploy.doctor import examine  # noqa: PLC0415 - loads what it looks for

    findings = examine()
    is_broken = any(finding.state == "broken" for finding in findings)
    if as_json:
        value = {"ok": not is_broken, "findings": [finding.to_json() for finding in findings]}
        typer.echo(json.dumps(value, indent=2))
    else:
        from rich.table import Table  # noqa: PLC0415 - slow to load
        from rich.text import Text  # noqa: PLC0415

        from yolor_deploy.cli.tables import console  # noqa: PLC0415 - rich

        table = Table(box=None, pad_edge=False)
        for column in ("", "", "found", "for", "to mend it"):
            table.add_column(column, overflow="fold")
        for finding in findings:
            cells = (
                _MARKS[finding.state],
                finding.name,
                finding.detail,
                finding.use,
                finding.hint or "",
            )
            table.add_row(*map(Text, cells))
        console().print(table)
    if is_broken:
        raise typer.Exit(1)
