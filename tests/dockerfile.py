"""Reads ``Dockerfile`` and ``.dockerignore``, as far as we write them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

_CONTINUED = re.compile(r"\\\n")
_WORD = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True)
class Copy:
    """One COPY, or one file system that a RUN mounts.

    Attributes:
        sources: What is copied.
        target: Where to.
        stage: What from; None for the build context.
    """

    sources: tuple[str, ...]
    target: str
    stage: str | None


@dataclass(slots=True)
class Stage:
    """One stage.

    Attributes:
        name: After AS.
        base: A stage, or an image.
        copies: In order.
        runs: Shell text of each RUN, without options.
        instructions: Of each kind, the texts.
    """

    name: str
    base: str
    copies: list[Copy] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    instructions: dict[str, list[str]] = field(default_factory=dict)


def read_stages(text: str) -> dict[str, Stage]:
    """Return the stages by name, with arguments in FROM set to their defaults."""
    lines = [line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#")]
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in _CONTINUED.sub(" ", "".join(lines)).splitlines():
        kind, _, rest = line.strip().partition(" ")
        if kind == "ARG" and stage is None:
            name, _, value = rest.partition("=")
            arguments[name] = value
        elif kind == "FROM":
            base, _, name = _filled(rest, arguments).partition(" AS ")
            stage = stages[name] = Stage(name, base)
        elif kind and stage is not None:
            _read(stage, kind, rest.strip())
    return stages


def _filled(text: str, arguments: Mapping[str, str]) -> str:
    return _WORD.sub(lambda match: arguments[match[1] or match[2]], text)


def _read(stage: Stage, kind: str, rest: str) -> None:
    stage.instructions.setdefault(kind, []).append(rest)
    options: dict[str, str] = {}
    while rest.startswith("--"):
        option, _, rest = rest.partition(" ")
        name, _, value = option.removeprefix("--").partition("=")
        options[name], rest = value, rest.strip()
    if kind == "COPY":
        *sources, target = shlex.split(rest)
        stage.copies.append(Copy(tuple(sources), target, options.get("from")))
    elif kind == "RUN":
        stage.runs.append(rest)
        if "mount" in options:
            mount = dict(part.split("=") for part in options["mount"].split(","))
            stage.copies.append(Copy((mount["source"],), mount["target"], mount.get("from")))


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Return whether a path is kept out of the build context: the last pattern that fits decides.

    Args:
        path: Of a file, from the root of the context.
        patterns: Lines of ``.dockerignore``; comments and blank ones are passed over.
    """
    parents = [str(parent) for parent in PurePosixPath(path).parents if parent.name]
    ignored = False
    for pattern in patterns:
        line = pattern.strip()
        if not line or line.startswith("#"):
            continue
        expression = _expression(line.removeprefix("!").strip("/"))
        if any(expression.fullmatch(one) for one in (path, *parents)):
            ignored = not line.startswith("!")
    return ignored


def _expression(pattern: str) -> re.Pattern[str]:
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    words = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(parts.get(word, re.escape(word)) for word in words))
