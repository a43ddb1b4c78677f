"""Detections out: what was found in one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Objects found in one image, best first.

    Attributes:
        boxes_xyxy: float32 [n, 4]: left, top, right, bottom in pixels of the original image.
        scores: float32 [n], objectness times class score, 0..1.
        class_ids: int32 [n], index into the class names of the detector.

    Raises:
        ValueError: The arrays have other shapes or types, or hold NaN, infinities or negative ids.
    """

    boxes_xyxy: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        n = len(self.scores)
        _require("boxes_xyxy", self.boxes_xyxy, np.float32, (n, 4))
        _require("scores", self.scores, np.float32, (n,))
        _require("class_ids", self.class_ids, np.int32, (n,))
        if n and self.class_ids.min() < 0:
            raise ValueError(f"class_ids hold {self.class_ids.min()}, expected 0 or more")

    @staticmethod
    def empty() -> Detections:
        """Return what is found in an image without objects."""
        return Detections(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)
        )

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp] | slice) -> Detections:
        """Return some of the detections.

        Args:
            rows: Mask [n], indices, or a slice: ``found[found.scores > 0.5]``, ``found[:10]``.
        """
        return Detections(self.boxes_xyxy[rows], self.scores[rows], self.class_ids[rows])

    def to_json(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """Return plain dicts and numbers, one dict per detection.

        Numbers are the shortest decimals that give the same float32 again.
        """
        return [
            {
                "class_id": int(class_id),
                "class_name": class_names[class_id],
                "score": shortest_float(score),
                "box_xyxy": [shortest_float(value) for value in box],
            }
            for box, score, class_id in zip(
                self.boxes_xyxy, self.scores, self.class_ids, strict=True
            )
        ]


def shortest_float(value: np.float32) -> float:
    """Return the float of fewest digits that is this float32: 0.87, not 0.8700000047683716."""
    return float(str(value))


def _require(
    name: str, array: npt.NDArray[Any], dtype: type[np.generic], shape: tuple[int, ...]
) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(
            f"{name} is {array.dtype} {list(array.shape)}, expected {np.dtype(dtype)} {list(shape)}"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity, expected finite numbers")
