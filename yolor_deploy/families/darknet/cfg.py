"""Parser of darknet descriptions: text in, sections with typed options out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yolor_deploy.checkpoint import CfgText
from yolor_deploy.core.errors import CheckpointError

_MAX_SECTIONS = 10_000
_MAX_VALUE = 1_000_000


@dataclass(frozen=True, slots=True)
class Section:
    """One ``[kind]`` of a cfg file.

    Attributes:
        kind: Name in the brackets, lower case.
        options: As written.
        where: File, layer index and line, for messages.
    """

    kind: str
    options: Mapping[str, str]
    where: str

    def integer(self, name: str, default: int | None = None, *, minimum: int = 1) -> int:
        """Return an option as a whole number.

        Raises:
            CheckpointError: Missing without a default, not a number, or out of range.
        """
        text = self.options.get(name)
        if text is None:
            if default is None:
                raise self.error(f"[{self.kind}] has no {name}=", "add it: this layer needs it")
            return default
        try:
            value = int(text)
        except ValueError as error:
            raise self.error(
                f"{name}={text!r} is not a whole number", "correct that line"
            ) from error
        if not minimum <= value <= _MAX_VALUE:
            raise self.error(
                f"{name}={value} is not between {minimum} and {_MAX_VALUE}", "correct that line"
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
            CheckpointError: Missing, empty or not finite numbers.
        """
        parts = [part.strip() for part in self.options.get(name, "").split(",")]
        try:
            values = tuple(float(part) for part in parts if part)
        except ValueError as error:
            raise self.error(
                f"{name}={self.options[name]!r} is not a list of numbers", "correct that line"
            ) from error
        if not values or any(not abs(value) <= _MAX_VALUE for value in values):
            raise self.error(
                f"[{self.kind}] needs {name}= with numbers up to {_MAX_VALUE}", "correct that line"
            )
        return values

    def error(self, problem: str, hint: str) -> CheckpointError:
        """Return an error that names this section."""
        return CheckpointError(problem, where=self.where, hint=hint)


def parse_cfg(cfg: CfgText) -> tuple[Section, ...]:
    """Split a darknet description into its sections, ``[net]`` first.

    Raises:
        CheckpointError: Not a darknet description; the line is named.
    """
    sections: list[Section] = []
    for number, raw in enumerate(cfg.text.splitlines(), start=1):
        line = raw.split("#", 1)[0].split(";", 1)[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            where = f"{cfg.name}, layer {len(sections) - 1}, line {number}"
            kind = line[1:-1].strip().lower()
            if not sections:
                where = f"{cfg.name}, line {number}"
            sections.append(Section(kind, {}, where))
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not sections or not equals or not key:
            raise CheckpointError(
                f"line {number} is {line[:60]!r}, expected [section] or key=value",
                where=cfg.name,
                hint="give the darknet .cfg that the model was trained with",
            )
        # A Section is shared from here on; it is filled only while its file is read.
        options = sections[-1].options
        assert isinstance(options, dict)
        options[key] = value
    if len(sections) < 2 or sections[0].kind not in {"net", "network"}:  # noqa: PLR2004
        raise CheckpointError(
            f"{len(sections)} sections, expected [net] and the layers after it",
            where=cfg.name,
            hint="give the darknet .cfg that the model was trained with",
        )
    if len(sections) > _MAX_SECTIONS:
        raise CheckpointError(
            f"{len(sections)} sections, expected at most {_MAX_SECTIONS}",
            where=cfg.name,
            hint="give the darknet .cfg that the model was trained with",
        )
    return tuple(sections)
