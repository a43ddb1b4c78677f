"""Tables that several commands print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from yolor_deploy.measure.parity import OutputParity
    from yolor_deploy.nn.fold_affine import FoldSite


def console() -> Console:
    """Return the console of results: stdout, never narrower than a table needs."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=140)


def say(text: str) -> None:
    """Print one line of a result as it is, however long."""
    console().print(text, markup=False, soft_wrap=True)


def show_parities(parities: Sequence[OutputParity], *, title: str) -> None:
    """Print one row per comparison."""
    table = Table(title=Text(title), title_justify="left")
    for column in ("stage", "output", "values", "max error", "allowed", "result"):
        table.add_column(column, justify="right" if column in {"values", "max error"} else "left")
    for parity in parities:
        cells = (
            parity.stage,
            parity.output,
            f"{parity.values:,}",
            f"{parity.max_error:.1e}",
            parity.tolerance,
            ("same" if parity.passed else "DIFFERENT")
            + (f" ({parity.note})" if parity.note else ""),
        )
        table.add_row(*map(Text, cells))  # a file's name may look like markup
    console().print(table)


def show_fold(sites: Sequence[FoldSite]) -> None:
    """Print what became of implicit knowledge, and what stayed of anything else."""
    implicit = [site for site in sites if site.kind == "implicit"]
    others = [site for site in sites if site.kind != "implicit"]
    folded = sum(site.kept is None for site in implicit)
    out = console()
    out.print(
        f"implicit knowledge: {folded} of {len(implicit)} sites folded into convolutions; "
        f"batch normalisation and others: {sum(s.kept is None for s in others)} of {len(others)}"
    )
    for site in implicit:
        if site.kept is None:
            out.print(f"  {site.layer}: folded into {', '.join(site.into)}", markup=False)
    for site in [*implicit, *others]:
        if site.kept is not None:
            part = f"partly in {', '.join(site.into)}; the rest " if site.into else ""
            out.print(f"  {site.layer}: {part}kept, {site.kept}", markup=False)
