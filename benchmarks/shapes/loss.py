"""What the training minimises: box, objectness and class errors of a YOLO head."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from yolor_deploy.core.spec import HeadLevel

MAX_RATIO = 4.0  # between a side of an object and that of an anchor that may detect it
BOX_GAIN, OBJECTNESS_GAIN, CLASS_GAIN = 0.05, 0.3, 0.25
LEVEL_BALANCE = {8: 4.0, 16: 1.0, 32: 0.4}  # fine levels have more cells and fewer objects in each


class Match(NamedTuple):
    """Which cells of one level shall detect which objects.

    Attributes:
        image, anchor, row, column: int64 [m], position in the map.
        kind: int64 [m], class.
        box: float32 [m, 4]: centre relative to the cell, width and height, in cells.
    """

    image: Tensor
    anchor: Tensor
    row: Tensor
    column: Tensor
    kind: Tensor
    box: Tensor


class Loss(NamedTuple):
    """The error of a batch; ``total`` is what is differentiated."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor


def match_objects(targets: Tensor, level: HeadLevel, *, height: int, width: int) -> Match:
    """Assign objects to anchors of about their size, in the cells around their centre.

    An object belongs to the cell of its centre, and to the neighbours on the two sides that the
    centre is closer to: the decoded centre reaches half a cell outwards.

    Args:
        targets: float32 [m, 6], see ``data.Batch``.
        level: Stride and anchors.
        height: Rows of cells.
        width: Columns of cells.
    """
    centre, size = targets[:, 2:4] / level.stride, targets[:, 4:6] / level.stride
    anchors = targets.new_tensor(level.anchors_px) / level.stride
    ratio = size[:, None] / anchors[None]
    fits = torch.maximum(ratio, 1 / ratio).amax(2) < MAX_RATIO
    owner, anchor = fits.nonzero(as_tuple=True)
    extent = targets.new_tensor([width, height])
    cell = torch.minimum(centre.floor(), extent - 1)
    within = centre - cell
    steps = targets.new_tensor([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]])
    close = torch.stack(
        [
            torch.ones_like(within[:, 0], dtype=torch.bool),
            within[:, 0] < 0.5,  # noqa: PLR2004 - the middle of a cell
            within[:, 0] > 0.5,  # noqa: PLR2004
            within[:, 1] < 0.5,  # noqa: PLR2004
            within[:, 1] > 0.5,  # noqa: PLR2004
        ],
        1,
    )
    pair, step = close[owner].nonzero(as_tuple=True)
    owner, anchor = owner[pair], anchor[pair]
    cells = cell[owner] + steps[step]
    inside = ((cells >= 0) & (cells < extent)).all(1)
    owner, anchor, cells = owner[inside], anchor[inside], cells[inside]
    return Match(
        image=targets[owner, 0].long(),
        anchor=anchor,
        row=cells[:, 1].long(),
        column=cells[:, 0].long(),
        kind=targets[owner, 1].long(),
        box=torch.cat([centre[owner] - cells, size[owner]], 1),
    )


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the complete IoU of pairs of boxes.

    Args:
        first: float32 [m, 4]: centre x, centre y, width, height.
        second: The same.

    Source: Zheng et al., arXiv:2005.03572: IoU - distance^2 / diagonal^2 - alpha v.
    """
    low_1, high_1 = first[:, :2] - first[:, 2:] / 2, first[:, :2] + first[:, 2:] / 2
    low_2, high_2 = second[:, :2] - second[:, 2:] / 2, second[:, :2] + second[:, 2:] / 2
    shared = (torch.minimum(high_1, high_2) - torch.maximum(low_1, low_2)).clamp(min=0).prod(1)
    tiny = 1e-7
    iou = shared / (first[:, 2:].prod(1) + second[:, 2:].prod(1) - shared + tiny)
    hull = torch.maximum(high_1, high_2) - torch.minimum(low_1, low_2)
    distance = (first[:, :2] - second[:, :2]).square().sum(1) / (hull.square().sum(1) + tiny)
    slope_1 = torch.atan(first[:, 2] / (first[:, 3] + tiny))
    slope_2 = torch.atan(second[:, 2] / (second[:, 3] + tiny))
    shape = (4 / math.pi**2) * (slope_1 - slope_2).square()
    with torch.no_grad():
        alpha = shape / (1 - iou + shape + tiny)
    return iou - distance - alpha * shape


def detection_loss(raw: list[Tensor], targets: Tensor, levels: tuple[HeadLevel, ...]) -> Loss:
    """Return the error of raw head maps.

    Args:
        raw: float [n, anchors * (5 + classes), h, w] per level.
        targets: float32 [m, 6], see ``data.Batch``.
        levels: As ``raw``.
    """
    box = objectness = classes = targets.new_zeros(())
    for head, level in zip(raw, levels, strict=True):
        n, channels, height, width = head.shape
        fields = channels // level.num_anchors
        values = head.float().reshape(n, level.num_anchors, fields, height, width)
        values = values.permute(0, 1, 3, 4, 2)
        match = match_objects(targets, level, height=height, width=width)
        wanted = torch.zeros_like(values[..., 4])
        if len(match.kind):
            found = values[match.image, match.anchor, match.row, match.column]
            anchors = targets.new_tensor(level.anchors_px)[match.anchor] / level.stride
            centre = 2 * found[:, :2].sigmoid() - 0.5
            size = (2 * found[:, 2:4].sigmoid()).square() * anchors
            quality = complete_iou(torch.cat([centre, size], 1), match.box)
            box = box + (1 - quality).mean()
            score = quality.detach().clamp(min=0)
            index = (match.image, match.anchor, match.row, match.column)
            wanted = wanted.index_put(index, score)
            kinds = functional.one_hot(match.kind, fields - 5).to(found.dtype)
            classes = classes + functional.binary_cross_entropy_with_logits(found[:, 5:], kinds)
        error = functional.binary_cross_entropy_with_logits(values[..., 4], wanted)
        objectness = objectness + LEVEL_BALANCE[level.stride] * error
    total = BOX_GAIN * box + OBJECTNESS_GAIN * objectness + CLASS_GAIN * classes
    return Loss(total, box.detach(), objectness.detach(), classes.detach())
