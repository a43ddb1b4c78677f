"""Parser of darknet descriptions: text in, sections with typed options out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from yolor_deploy.checkpoint import CfgText
from yolor_deploy.core.errors import CheckpointError

_MAX_SECTIONS = 2_000  # the longest published file has 367
_MAX_VALUE = 1_000_000
_HINT = "give the darknet .cfg that the model was trained with"
_SHOWN = 60  # characters of a line in a message
# int() and float() take more, such as 1_000 and nan, which a cfg file does not mean.
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Section:
    """One ``[kind]`` of a cfg file.

    Attributes:
        kind: Name in the brackets.
        options: As written.
        where: File, layer index and line, for messages.
    """

    kind: str
    options: Mapping[str, str]
    where: str

    def integer(
        self,
        name: str,
        default: int | None = None,
        *,
        minimum: int = 1,
        maximum: int = _MAX_VALUE,
    ) -> int:
        """Return an option as a whole number.

        Raises:
            CheckpointError: Missing without a default, not a number, or out of range.
        """
        text = self.options.get(name)
        if text is None:
            if default is None:
                raise self.error(f"[{self.kind}] has no {name}=", "add it: this layer needs it")
            return default
        if not _WHOLE.fullmatch(text):
            raise self.error(f"{name}={text[:_SHOWN]!r} is not a whole number", "correct that line")
        value = int(text)
        if not minimum <= value <= maximum:
            raise self.error(
                f"{name}={value} is not between {minimum} and {maximum}", "correct that line"
            )
        return value

    def integers(self, name: str) -> tuple[int, ...]:
        """Return a comma-separated option as whole numbers.

        Raises:
            CheckpointError: Missing, empty or not whole numbers.
        """
        values = self.floats(name)
        if any(value != int(value) for value in values):
            raise self.error(f"{name}= holds a fraction", "give whole numbers")
        return tuple(int(value) for value in values)

    def floats(self, name: str) -> tuple[float, ...]:
        """Return a comma-separated option as numbers.

        Raises:
            CheckpointError: Missing, or not numbers of at most a million with a comma between.
        """
        if name not in self.options:
            raise self.error(f"[{self.kind}] has no {name}=", "add it: this layer needs it")
        text = self.options[name]
        parts = [part.strip() for part in text.split(",")]
        if not all(_NUMBER.fullmatch(part) for part in parts):
            raise self.error(
                f"{name}={text[:_SHOWN]!r} is not a list of numbers", "correct that line"
            )
        values = tuple(float(part) for part in parts)
        if any(abs(value) > _MAX_VALUE for value in values):
            raise self.error(
                f"{name}={text[:_SHOWN]!r} holds a number above {_MAX_VALUE}", "correct that line"
            )
        return values

    def error(self, problem: str, hint: str) -> CheckpointError:
        """Return an error that names this section."""
        return CheckpointError(problem, where=self.where, hint=hint)


def parse_cfg(cfg: CfgText) -> tuple[Section, ...]:
    """Split a darknet description into its sections, ``[net]`` first.

    Comments begin with ``#`` or ``;``. The last of two equal keys counts, as in the authors' code.

    Raises:
        CheckpointError: Not a darknet description; the line is named.
    """
    sections: list[Section] = []
    for number, raw in enumerate(cfg.text.split("\n"), start=1):
        line = raw.split("#", 1)[0].split(";", 1)[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            where = f"{cfg.name}, layer {len(sections) - 1}, line {number}"
            if not sections:
                where = f"{cfg.name}, line {number}"
            sections.append(Section(line[1:-1].strip(), {}, where))
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not sections or not equals or not key:
            raise CheckpointError(
                f"line {number} is {line[:_SHOWN]!r}, expected [section] or key=value",
                where=cfg.name,
                hint=_HINT,
            )
        # A Section is shared from here on; it is filled only while its file is read.
        options = sections[-1].options
        assert isinstance(options, dict)
        options[key] = value
    if not 1 < len(sections) <= _MAX_SECTIONS or sections[0].kind not in {"net", "network"}:
        raise CheckpointError(
            f"{len(sections)} sections, expected [net] and 1 to {_MAX_SECTIONS - 1} layers",
            where=cfg.name,
            hint=_HINT,
        )
    return tuple(sections)
