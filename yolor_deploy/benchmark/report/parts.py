"""The building blocks of a section."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yolor_deploy.benchmark.report.markup import Child, Html, element, joined
from yolor_deploy.benchmark.report.plots import legend, series_key
from yolor_deploy.benchmark.report.view import Entry

NOTHING = Html("")


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page.

    Attributes:
        key: Its anchor.
        title: Its heading.
        content: What is below that.
    """

    key: str
    title: str
    content: Html


def section(key: str, title: str, *children: Child) -> Section:
    """Return a section of text, tables and pictures."""
    return Section(key, title, joined(children))


def note(text: Child) -> Html:
    """Return a remark in small print."""
    return element("p", text, class_="note") if text != "" else NOTHING


def absent(what: str) -> Html:
    """Return the line that stands where nothing was measured."""
    return element("p", f"{what}: not measured.", class_="absent")


def plot(drawing: Html, caption: str, key: Html = NOTHING) -> Html:
    """Return a picture with what it shows, and what its colours mean."""
    below = element("figcaption", caption) if caption else NOTHING
    return element("figure", drawing, key, below, class_="plot")


def beside(*parts: Html) -> Html:
    """Return parts beside each other where there is room."""
    return element("div", *parts, class_="beside")


def entry_legend(entries: Sequence[Entry]) -> Html:
    """Return which colour and mark is which artifact."""
    return legend([(series_key(entry.index), entry.name) for entry in entries])
