"""Reading back what a benchmark measured."""

from __future__ import annotations

import json
import types
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.measure.latency.record import FORMAT, KIND, Record, Subject

_HINT = "give a file that `yolor-deploy bench -o FILE` wrote"
_LARGEST = 1e18  # bytes, FLOPs and whatever else is counted
_LEAST_MS, _MOST_MS = 1e-9, 4e10
_INPUT = {"height": int, "width": int, "dtype": str, "layout": str}
"""What tables show of ``Subject.input``."""


def record_from_json(value: Any, *, where: str) -> Record:
    """Read what ``Record.to_json`` returned.

    Raises:
        EvaluationError: It is not that, or of another format.
    """
    if not isinstance(value, dict) or value.get("kind") != KIND:
        raise EvaluationError("not the raw samples of a benchmark", where=where, hint=_HINT)
    if value.get("format") != FORMAT:
        raise EvaluationError(
            f"samples have format {value.get('format')!r}, expected {FORMAT}",
            where=where,
            hint="read them with the version of yolor-deploy that wrote them: "
            f"{value.get('version')}",
        )
    try:
        record = _typed(value, Record, "samples")
        assert isinstance(record, Record)
        _require_consistent(record)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"samples are damaged: {error}", where=where, hint=_HINT) from error
    return record


def read_record(path: Path) -> Record:
    """Read a file of ``bench --json`` or ``-o``.

    Raises:
        EvaluationError: It cannot be read, or is something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EvaluationError(
            f"cannot be read: {error.strerror or error}", where=str(path), hint=_HINT
        ) from error
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"not JSON: {error}", where=str(path), hint=_HINT) from error
    return record_from_json(value, where=str(path))


def _typed(value: Any, kind: Any, where: str) -> object:
    """Return JSON as what an annotation says.

    Raises:
        ValueError: It is something else; the text names the place.
    """
    if kind is Any:
        return value
    if kind is float:
        return _number(value, where)
    if is_dataclass(kind):
        return _typed_dataclass(value, kind, where)
    if get_origin(kind) is not None:
        return _typed_generic(value, kind, where)
    return _of_type(value, kind, where)


def _typed_generic(value: Any, kind: Any, where: str) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Union, types.UnionType}:
        (some,) = (part for part in arguments if part is not type(None))
        return None if value is None else _typed(value, some, where)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where} is {value!r}, expected one of {', '.join(arguments)}")
        return value
    if origin is tuple:
        items = _of_type(value, list, where)
        return tuple(_typed(item, arguments[0], f"{where}[{i}]") for i, item in enumerate(items))
    entries = _of_type(value, dict, where).items()  # the only others are mappings from names
    return {key: _typed(item, arguments[1], f"{where}.{key}") for key, item in entries}


def _typed_dataclass(value: Any, kind: Any, where: str) -> object:
    entries = _of_type(value, dict, where)
    values = {}
    for name, hint in _hints(kind).items():
        if name not in entries:
            raise ValueError(f"{where} has no {name}")
        values[name] = _typed(entries[name], hint, f"{where}.{name}")
    return kind(**values)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind)}


def _of_type(value: Any, kind: type, where: str) -> Any:
    # A bool is an int in Python, and none in JSON
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where} is {type(value).__name__}, expected {kind.__name__}")
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise ValueError(f"{where} is too large")
    return value


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{where} is {value!r}, expected a number")  # noqa: TRY004 - damage
    if not abs(value) <= _LARGEST:  # NaN is not, either
        raise ValueError(f"{where} is not finite, or too large")
    return float(value)


def _require_consistent(record: Record) -> None:
    """Raise ValueError where lists that belong together have different lengths."""
    names = [subject.name for subject in record.subjects]
    if len(set(names)) != len(names):
        raise ValueError(f"names are not unique: {names}")
    reference = record.settings.reference
    if reference is not None and reference not in names:
        raise ValueError(f"the reference {reference!r} is none of {names}")
    for subject in record.subjects:
        _require_series(subject)
        for key, kind in _INPUT.items():
            _of_type(subject.input.get(key), kind, f"{subject.name}.input.{key}")


def _require_series(subject: Subject) -> None:
    if subject.at_s and "run" not in subject.samples:
        raise ValueError(f"{subject.name}: samples have no run")
    if any(not _LEAST_MS <= ms <= _MOST_MS for ms in subject.samples.get("run", ())):
        raise ValueError(f"{subject.name}: a run took no time, or longer than a year")
    if subject.stage_at_s and not subject.stages:
        raise ValueError(f"{subject.name}: stages without times")
    for times, series in ((subject.at_s, subject.samples), (subject.stage_at_s, subject.stages)):
        if any(len(values) != len(times) for values in series.values()):
            raise ValueError(f"{subject.name}: series of different lengths")
