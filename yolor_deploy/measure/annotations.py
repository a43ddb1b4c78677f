"""COCO annotation files: read, and checked for what the evaluator takes as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from yolor_deploy.core.errors import EvaluationError

_FIELDS = {
    "images": ("id",),
    "categories": ("id", "name"),
    "annotations": ("id", "image_id", "category_id", "bbox", "area", "iscrowd"),
}
_MOST_PX = 1e9  # of a coordinate; an area stays far below what float64 holds


def read_annotations(path: Path) -> dict[str, Any]:
    """Read annotations in COCO form: ``images``, ``categories``, ``annotations``.

    Raises:
        EvaluationError: The file is not that, an id is there twice or refers to nothing, a box is
            none, or no object is annotated.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: neither UTF-8 nor JSON
        raise EvaluationError(
            f"cannot be read as JSON: {error}", where=str(path), hint="give a COCO annotation file"
        ) from error
    for key in _FIELDS:
        _require_rows(value, key, where=str(path))
    _require_consistent(value, where=str(path))
    if all(row["iscrowd"] for row in value["annotations"]):
        raise EvaluationError(
            "no annotated object", where=str(path), hint="give annotations of these images"
        )
    return dict(value)


def _require_rows(value: Any, key: str, *, where: str) -> None:
    """Check that a list is there, its fields, and that its ids are whole numbers and unique."""
    rows = value.get(key) if isinstance(value, dict) else None
    if not isinstance(rows, list):
        raise EvaluationError(
            f"has no list {key!r}", where=where, hint="give a COCO annotation file"
        )
    first: dict[int, int] = {}
    for number, row in enumerate(rows):
        missing = [name for name in _FIELDS[key] if not isinstance(row, dict) or name not in row]
        if missing:
            raise EvaluationError(
                f"{key}[{number}] has no {missing[0]!r}",
                where=where,
                hint=f"each entry needs {', '.join(_FIELDS[key])}",
            )
        if not _is_id(row["id"]):
            raise EvaluationError(
                f"{key}[{number}] has id {row['id']!r}, expected a whole number",
                where=where,
                hint="number the entries",
            )
        if row["id"] in first:
            raise EvaluationError(
                f"{key}[{number}] has id {row['id']}, which {key}[{first[row['id']]}] has already",
                where=where,
                hint="give each entry an id of its own; were two data sets put together?",
            )
        first[row["id"]] = number


def _require_consistent(value: dict[str, Any], *, where: str) -> None:
    """Check references, boxes and areas, which pycocotools would take as they are."""
    images = {row["id"] for row in value["images"]}
    classes = {row["id"] for row in value["categories"]}
    for number, row in enumerate(value["annotations"]):
        for name, known in (("image_id", images), ("category_id", classes)):
            if not _is_id(row[name]) or row[name] not in known:
                raise EvaluationError(
                    f"annotations[{number}] has {name} {row[name]!r}, which is not listed",
                    where=where,
                    hint="complete `images` and `categories` of the file",
                )
        for name, is_good, expected in (
            ("bbox", _is_box, "[left, top, width, height]"),
            ("area", _is_area, "a number of square pixels"),
            ("iscrowd", _is_flag, "0 or 1"),
        ):
            if not is_good(row[name]):
                raise EvaluationError(
                    f"annotations[{number}] has {name} {row[name]!r}, expected {expected}",
                    where=where,
                    hint="correct that entry; width, height and area are not negative",
                )


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any, *, most: float) -> bool:
    return isinstance(value, int | float) and -most < value < most  # false for NaN


def _is_area(value: Any) -> bool:
    return _is_number(value, most=_MOST_PX**2) and value >= 0


def _is_flag(value: Any) -> bool:
    return isinstance(value, int) and value in {0, 1}


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4  # noqa: PLR2004 - left, top, width, height
        and all(_is_number(value, most=_MOST_PX) for value in box)
        and min(box[2:]) >= 0
    )
