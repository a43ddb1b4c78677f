"""Plain Python values out of what a pickle held beside its tensors."""

from __future__ import annotations

import math
from typing import Any

from yolor_deploy.checkpoint.stand_ins import ArrayRef
from yolor_deploy.core.errors import CheckpointError

MAX_VALUES = 100_000
MAX_DEPTH = 32
MAX_TEXT = 4096
_MAX_FACTS = 64
_MAX_FACT_TEXT = 200


def plain_value(value: object, *, where: str) -> Any:
    """Return a copy made of dicts, lists, texts, numbers and None.

    Tuples become lists. Shared parts are copied, so the copy is bounded.

    Raises:
        CheckpointError: The value holds anything else, or is too large or too deep.
    """
    return _Copy(where).of(value, 0)


def plain_facts(values: dict[Any, Any]) -> dict[str, str | int | float]:
    """Return the entries that are one short text or one finite number; the others are left out.

    ``best_fitness`` is an array of one element in the authors' files, and counts as a number.
    """
    facts: dict[str, str | int | float] = {}
    for name, value in values.items():
        fact = _fact(value)
        if isinstance(name, str) and len(name) <= _MAX_FACT_TEXT and fact is not None:
            facts[name] = fact
        if len(facts) == _MAX_FACTS:
            break
    return facts


def _fact(value: object) -> str | int | float | None:
    if isinstance(value, ArrayRef):
        array = value.numpy()
        value = array.item() if array is not None and array.size == 1 else None
    if isinstance(value, str):
        is_line = len(value) <= _MAX_FACT_TEXT and value.isprintable()
        return value if is_line else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) else None


class _Copy:
    """One copy, with a budget: lists that share lists can stand for any number of values."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._left = MAX_VALUES

    def of(self, value: object, depth: int) -> Any:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise self._refusal(f"more than {MAX_VALUES} values, or more than {MAX_DEPTH} deep")
        if isinstance(value, ArrayRef):
            array = value.numpy()
            value = None if array is None else array.tolist()
        if value is None or isinstance(value, int | float):
            return value
        if isinstance(value, str):
            if len(value) > MAX_TEXT:
                raise self._refusal(f"text of {len(value)} characters, expected up to {MAX_TEXT}")
            return value
        if isinstance(value, list | tuple):
            return [self.of(item, depth + 1) for item in value]
        if isinstance(value, dict):
            return {self._key(k): self.of(item, depth + 1) for k, item in value.items()}
        raise self._refusal(f"value of type {type(value).__name__}, expected plain data")

    def _key(self, key: object) -> str | int:
        if isinstance(key, int) or (isinstance(key, str) and len(key) <= MAX_TEXT):
            return key
        raise self._refusal(f"key of type {type(key).__name__}, expected a short text or a number")

    def _refusal(self, problem: str) -> CheckpointError:
        return CheckpointError(
            problem,
            where=self._where,
            hint="save the checkpoint with the authors' training script, or its state_dict() alone",
        )
