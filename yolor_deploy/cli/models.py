"""``yolor-deploy models``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from yolor_deploy.families.catalogue import CATALOGUE, CONDITIONS


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the published models, which `export NAME` makes with random weights."""
    if as_json:
        rows = [asdict(model) for model in CATALOGUE]
        typer.echo(json.dumps({"conditions": CONDITIONS, "models": rows}, indent=2))
        return
    from rich.table import Table  # noqa: PLC0415 - slow to load

    from yolor_deploy.cli.tables import console  # noqa: PLC0415 - rich

    table = Table(title="published models", title_justify="left")
    for column in ("name", "parameters", "GFLOPs", "size", "strides", "AP", "fps", "from"):
        table.add_column(column, justify="left" if column in {"name", "from"} else "right")
    for model in CATALOGUE:
        table.add_row(
            model.name,
            f"{model.parameters / 1e6:.1f} M",
            f"{model.gflops:.0f}",
            str(model.size),
            f"{model.strides[0]}-{model.strides[-1]}",
            f"{model.ap:.1f} {model.ap_split}" if model.ap else "-",
            f"{model.fps}{'*' if model.is_fps_old else ''}" if model.fps else "-",
            model.source,
        )
    out = console()
    out.print(table)
    for line in CONDITIONS:
        out.print(f"  {line}", markup=False)
