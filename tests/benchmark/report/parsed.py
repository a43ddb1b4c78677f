"""A page as a tree, read strictly: what is opened is closed, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "br", "hr", "col"}


@dataclass
class Node:
    """An element.

    Attributes:
        tag: Its name.
        attributes: By name.
        children: Elements and text, in order.
    """

    tag: str
    attributes: dict[str, str]
    children: list[Node | str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it, white space as one blank."""
        pieces = (child if isinstance(child, str) else child.text for child in self.children)
        return " ".join(" ".join(pieces).split())

    def all(self, tag: str, **attributes: str) -> list[Node]:
        """Return the elements below with this name and these attributes."""
        return [
            node
            for node in self.below()
            if node.tag == tag
            and all(node.attributes.get(key.rstrip("_")) == v for key, v in attributes.items())
        ]

    def one(self, tag: str, **attributes: str) -> Node:
        """Return the only such element."""
        (found,) = self.all(tag, **attributes)
        return found

    def below(self) -> Iterator[Node]:
        """Return all elements in it, in order."""
        for child in self.children:
            if isinstance(child, Node):
                yield child
                yield from child.below()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Node("document", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({key for key, _ in attrs}) == len(attrs), f"attribute twice in {tag}"
        node = Node(tag, {key: value or "" for key, value in attrs})
        self.open[-1].children.append(node)
        if tag not in _VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Node(tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().tag == tag, f"{tag} was not open"

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parsed(page: str) -> Node:
    """Read a page.

    Raises:
        AssertionError: An element is not closed, or closed out of order.
    """
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert len(reader.open) == 1, f"not closed: {[node.tag for node in reader.open[1:]]}"
    return reader.open[0]


def rows_of(page: Node, section: str, *, table: int = 0) -> list[list[str]]:
    """Return a table of a section as text, heading included."""
    tables = page.one("section", id=section).all("table")
    return [
        [cell.text for cell in row.children if isinstance(cell, Node)]
        for row in tables[table].all("tr")
    ]
