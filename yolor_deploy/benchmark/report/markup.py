"""HTML as values: text is escaped unless it is ``Html`` already."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

_VOID = frozenset({"br", "col", "hr", "meta"})


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that was made here, and holds nothing of a file unescaped.

    Attributes:
        text: Of the page.
    """

    text: str


Child = Html | str


def shown(text: str) -> str:
    """Return text whose control characters are written as escapes.

    Names come from files: a line break, a change of direction or half a surrogate must be seen,
    and must not break the page.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def escaped(text: str) -> str:
    """Return text as it may stand in an element or in a quoted attribute."""
    return html.escape(shown(text), quote=True)


def element(name: str, /, *children: Child, **attributes: str | None) -> Html:
    """Make an element.

    Args:
        name: Of the element.
        children: Text, which is escaped, or markup.
        attributes: By name, ``_`` for ``-``, and one at the end of a word that Python owns; None
            leaves an attribute out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{joined(children).text}</{name}>")


def joined(children: Iterable[Child]) -> Html:
    """Return text and markup one after the other."""
    return Html(
        "".join(
            child.text if isinstance(child, Html) else html.escape(shown(child), quote=False)
            for child in children
        )
    )


def bullets(texts: Iterable[Child]) -> Html:
    """Return a list; nothing where there is nothing to list."""
    items = [element("li", text) for text in texts]
    return element("ul", *items) if items else Html("")
