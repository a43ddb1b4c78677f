"""Tables that are read on a phone, and sorted by click or key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from yolor_deploy.benchmark.report.markup import Child, Html, element, joined
from yolor_deploy.benchmark.report.wording import NOT_MEASURED, figure, parts
from yolor_deploy.measure.latency.summary import Estimate

_LONGEST_LINE = 30  # characters


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        head: Its name, with the unit.
        kind: How it is sorted and aligned.
        note: What it means, shown at the name.
    """

    head: str
    kind: Literal["number", "text"] = "number"
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        content: What is read.
        value: What it is sorted by in a column of numbers; None sorts last, up and down.
    """

    content: Child
    value: float | None = None


def number(value: float | None, digits: int = 4, *, none: str = NOT_MEASURED) -> Cell:
    """Return the cell of a number, or of a word where there is none."""
    if value is None:
        return Cell(none)
    return Cell(f"{value:,}" if isinstance(value, int) else figure(value, digits), value)


def estimated(estimate: Estimate) -> Cell:
    """Return the cell of a figure, its interval below it."""
    value, known = parts(estimate)
    below = element("small", known or "no interval")
    return Cell(joined([value, " ", below]), estimate.value)


def table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> Html:
    """Return a table in a box of its own that scrolls sideways.

    Args:
        caption: What it shows, in one sentence.
        columns: The first names the row.
        rows: As many cells each as there are columns.
    """
    head = element("tr", *(_head(column) for column in columns))
    body = [
        element(
            "tr", *(_cell(cell, column, first=not at) for at, (cell, column) in enumerate(pairs))
        )
        for pairs in (list(zip(row, columns, strict=True)) for row in rows)
    ]
    return _in_box(
        caption,
        element(
            "table",
            element("caption", element("span", caption)),
            element("thead", head),
            element("tbody", *body),
            class_="sortable",
        ),
    )


def facts(caption: str, pairs: Sequence[tuple[str, Child]]) -> Html:
    """Return a table of names and what they are, which is not sorted."""
    rows = [
        element("tr", element("th", name, scope="row"), element("td", value))
        for name, value in pairs
    ]
    body = element("tbody", *rows)
    return _in_box(
        caption,
        element("table", element("caption", element("span", caption)), body, class_="facts"),
    )


def _in_box(caption: str, content: Html) -> Html:
    # A box that scrolls takes the focus, or no key could move it
    return element("div", content, class_="scroll", role="region", aria_label=caption, tabindex="0")


def _head(column: Column) -> Html:
    arrow = element("span", class_="arrow", aria_hidden="true")
    return element(
        "th",
        element("button", column.head, arrow, type="button", title=column.note),
        scope="col",
        class_=column.kind,
        data_kind=column.kind,
        aria_sort="none",
    )


def _is_long(content: Child) -> bool:
    """Return whether a cell is prose, which wraps; a name or a figure does not."""
    return isinstance(content, str) and len(content) > _LONGEST_LINE


def _cell(cell: Cell, column: Column, *, first: bool) -> Html:
    value = cell.value
    sorted_by = None if value is None or not math.isfinite(value) else repr(float(value))
    return element(
        "th" if first else "td",
        cell.content,
        class_=f"{column.kind} long" if _is_long(cell.content) else column.kind,
        scope="row" if first else None,
        data_value=sorted_by if column.kind == "number" else None,
    )
