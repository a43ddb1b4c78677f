"""From raw head maps to predictions: the arithmetic of the head, in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec, HeadLevel


def sigmoid(logits: Array) -> Array:
    """Return 1 / (1 + exp(-x)) of the same type; 0 and 1 for infinities, NaN for NaN."""
    with np.errstate(over="ignore"):  # exp(-x) becomes inf, and the quotient a correct 0
        return np.asarray(1 / (1 + np.exp(-logits)))


def predictions_from_raw(
    raw_maps: Sequence[Array],
    spec: DetectorSpec,
    *,
    activation: Callable[[Array], Array] = sigmoid,
) -> Array:
    """Decode raw head maps of any height and width.

    Args:
        raw_maps: One per level of ``spec``: float [n, anchors * (5 + classes), h, w], the channels
            of an anchor together: x, y, w, h, objectness, class scores; logits.
        spec: Gives strides, anchors and the number of classes.
        activation: The sigmoid; another one where the last bit matters.

    Returns:
        Float [n, boxes, 5 + classes] of the type of the maps: centre x, centre y, width and height
        in input pixels, objectness and class scores in 0..1. Boxes are ordered by level, then
        anchor, then row, then column.

    Raises:
        ValueError: A map does not have the channels that ``spec`` tells, or one is missing.

    Source: ``YOLOLayer``, ``Detect`` and ``IDetect`` of the authors' repositories, which agree.
    """
    return np.concatenate(
        [
            _predictions_of_level(
                raw, level, num_values=5 + spec.num_classes, activation=activation
            )
            for raw, level in zip(raw_maps, spec.levels, strict=True)
        ],
        axis=1,
    )


def _predictions_of_level(
    raw: Array, level: HeadLevel, *, num_values: int, activation: Callable[[Array], Array]
) -> Array:
    batch, _, height, width = raw.shape
    cells = raw.reshape(batch, level.num_anchors, num_values, height, width)
    values: Array = activation(cells).transpose(0, 1, 3, 4, 2)  # [n, anchors, h, w, 5 + classes]

    # Constants take the type of the maps: float64 ones would lift float32 arithmetic.
    rows, columns = np.indices((height, width))
    cell_xy = np.stack([columns, rows], axis=-1).astype(raw.dtype)
    anchor_wh = np.array(level.anchors_px, raw.dtype)[:, None, None, :]

    values[..., 0:2] = (values[..., 0:2] * 2 - 0.5 + cell_xy) * level.stride
    values[..., 2:4] = (values[..., 2:4] * 2) ** 2 * anchor_wh
    return values.reshape(batch, -1, num_values)
