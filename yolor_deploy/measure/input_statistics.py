"""Statistics of the tensors that a network gets, added up one tensor at a time."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec, InputSpec

Levels = tuple[int, int, int]
"""A colour in grey levels, 0..255 each where the values are as they should be."""

CONSTANT_LEVELS = 2
"""A channel whose values lie within so many grey levels of each other shows nothing."""
MIN_BORDER_PX = 2
"""Thickness from which lines of one colour, other than that of the letterbox, are a border."""


@dataclass(frozen=True, slots=True)
class Border:
    """Lines of one colour around an image.

    Attributes:
        colour: Of the border, grey levels; None if there is none.
        top: Rows.
        bottom: Rows.
        left: Columns.
        right: Columns.
    """

    colour: Levels | None = None
    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of one channel of all tensors; float64."""

    minimum: float = math.inf
    maximum: float = -math.inf
    total: float = 0.0
    total_squares: float = 0.0
    values: int = 0

    def plus(self, values: Array) -> _Sums:
        wide = values.astype(np.float64)
        return _Sums(
            min(self.minimum, float(values.min())),
            max(self.maximum, float(values.max())),
            self.total + float(wide.sum()),
            self.total_squares + float(np.square(wide, out=wide).sum()),
            self.values + values.size,
        )

    @property
    def mean(self) -> float:
        return self.total / self.values if self.values else 0.0

    @property
    def std(self) -> float:
        if not self.values:
            return 0.0
        return math.sqrt(max(0.0, self.total_squares / self.values - self.mean**2))


class InputStatistics:
    """What is known of the inputs of a network after any number of them; memory stays flat.

    Args:
        spec: Of the network: type, layout and size of the tensors, and grey of the border.

    Attributes:
        count: Tensors that were added.
        not_finite: Of these, with NaN or infinite values; they count nowhere else.
        negative: With values below -0.1 of the full range, which rounding does not explain.
        above_range: With values above 1.1 times the full range, and none so negative.
        single_level: With no value above one grey level.
        constant: Whose image, without its border, has one colour.
        black: Of these, with the colour black.
        grey: Whose image, without its border, has no colours: R = G = B.
        preprocessed: That were not made from an image file by the letterbox of inference.
        exact_size: Made from an image file that already had the size of the input.
        with_pad_border: With a border of the letterbox's grey.
        other_borders: How often a border of which other colour was found.
        aspect_ratios: Smallest and largest width / height of the images without their borders.
    """

    def __init__(self, spec: DetectorSpec) -> None:
        self._image = spec.input
        self._pad = (spec.letterbox.pad_value,) * 3
        self._full = 255.0 if spec.input.dtype == "uint8" else 1.0
        self._sums = [_Sums(), _Sums(), _Sums()]
        self._hashes: set[bytes] = set()
        self._values = self._whole_values = 0
        self._edge_pixels = self._pad_edge_pixels = 0
        self._content_pixels = self._grey_pixels = 0
        self.count = self.not_finite = 0
        self.negative = self.above_range = self.single_level = 0
        self.constant = self.black = self.grey = 0
        self.preprocessed = self.exact_size = self.with_pad_border = 0
        self.other_borders: Counter[Levels] = Counter()
        self.aspect_ratios = (math.inf, 0.0)

    @property
    def minimum(self) -> tuple[float, ...]:
        """Smallest value per channel, as the network gets it; infinite if there is no value."""
        return tuple(sums.minimum for sums in self._sums)

    @property
    def maximum(self) -> tuple[float, ...]:
        """Largest value per channel, as the network gets it; -infinite if there is no value."""
        return tuple(sums.maximum for sums in self._sums)

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean per channel, borders included."""
        return tuple(sums.mean for sums in self._sums)

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation per channel, borders included."""
        return tuple(sums.std for sums in self._sums)

    @property
    def different(self) -> int:
        """Number of finite tensors that are not copies of another one."""
        return len(self._hashes)

    @property
    def whole_number_share(self) -> float:
        """Share of all values that are whole numbers above 1."""
        return _share(self._whole_values, self._values)

    @property
    def pad_edge_share(self) -> float:
        """Share of the pixels in the outermost rows and columns that have the letterbox's grey."""
        return _share(self._pad_edge_pixels, self._edge_pixels)

    @property
    def grey_share(self) -> float:
        """Share of the pixels within the borders that have R = G = B."""
        return _share(self._grey_pixels, self._content_pixels)

    def add(self, tensor: Array, *, image_size: tuple[int, int] | None = None) -> None:
        """Add one input.

        Args:
            tensor: ``spec.input.dtype`` of shape ``spec.input.shape(1)``.
            image_size: Height and width of the image file that was letterboxed to it, pixels; None
                if it was preprocessed elsewhere.

        Raises:
            ValueError: Another type or shape.
        """
        planes = planes_of(tensor, self._image)
        self.count += 1
        if not np.isfinite([planes.min(), planes.max()]).all():  # NaN passes through both
            self.not_finite += 1
            return
        content = np.ascontiguousarray(tensor).data
        self._hashes.add(hashlib.blake2b(content, digest_size=16).digest())
        self._add_values(planes)
        border = border_of(planes, full=self._full, pad=self._pad)
        self._add_border(planes, border)
        self._add_content(_within(planes, border))
        self.preprocessed += image_size is None
        self.exact_size += image_size == (self._image.height, self._image.width)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, for the manifest of a calibration; None where nothing was seen."""
        seen = self.count > self.not_finite
        return {
            "count": self.count,
            "different": self.different,
            "not_finite": self.not_finite,
            "minimum": list(self.minimum) if seen else None,
            "maximum": list(self.maximum) if seen else None,
            "mean": list(self.mean) if seen else None,
            "std": list(self.std) if seen else None,
            "whole_number_share": self.whole_number_share,
            "pad_edge_share": self.pad_edge_share,
            "grey_share": self.grey_share,
            "with_pad_border": self.with_pad_border,
            "aspect_ratios": list(self.aspect_ratios) if seen else None,
        }

    def _add_values(self, planes: Array) -> None:
        self._sums = [sums.plus(plane) for sums, plane in zip(self._sums, planes, strict=True)]
        lowest, highest = planes.min() / self._full, planes.max() / self._full
        is_negative = lowest < -0.1  # noqa: PLR2004 - resampling with sharp filters overshoots
        self.negative += bool(is_negative)
        self.above_range += bool(highest > 1.1 and not is_negative)  # noqa: PLR2004
        self.single_level += bool(highest <= 1.001 / 255 and not is_negative)
        self._values += planes.size
        if planes.dtype == np.uint8:
            self._whole_values += int(np.count_nonzero(planes > 1))
        elif planes.max() > 1:
            above = planes[planes > 1]
            self._whole_values += int(np.count_nonzero(above == np.rint(above)))

    def _add_border(self, planes: Array, border: Border) -> None:
        edges = (planes[:, 0], planes[:, -1], planes[:, 1:-1, 0], planes[:, 1:-1, -1])
        frame = np.concatenate(edges, axis=1)
        levels = np.rint(frame * (255 / self._full))
        self._edge_pixels += frame.shape[1]
        is_pad = (levels == np.array(self._pad)[:, np.newaxis]).all(axis=0)
        self._pad_edge_pixels += int(np.count_nonzero(is_pad))
        if border.colour == self._pad:
            self.with_pad_border += 1
        elif border.colour is not None:
            self.other_borders[border.colour] += 1

    def _add_content(self, planes: Array) -> None:
        ranges = planes.max(axis=(1, 2)) - planes.min(axis=(1, 2))
        if (ranges <= CONSTANT_LEVELS * self._full / 255 * 1.001).all():
            self.constant += 1
            self.black += bool(planes.max() <= CONSTANT_LEVELS * self._full / 255 * 1.001)
        is_grey = _is_grey(planes)
        self._grey_pixels += int(np.count_nonzero(is_grey))
        self._content_pixels += is_grey.size
        self.grey += bool(is_grey.all())
        ratio = planes.shape[2] / planes.shape[1]
        self.aspect_ratios = (min(self.aspect_ratios[0], ratio), max(self.aspect_ratios[1], ratio))


def planes_of(tensor: Array, image: InputSpec) -> Array:
    """Return one input as [3, h, w], whatever its layout; a view.

    Raises:
        ValueError: Another type or shape than the network takes.
    """
    if tensor.dtype != image.dtype or tensor.shape != image.shape(1):
        raise ValueError(
            f"{tensor.dtype} {tensor.shape} given, expected {image.dtype} {image.shape(1)}"
        )
    planes: Array = tensor[0] if image.layout == "NCHW" else tensor[0].transpose(2, 0, 1)
    return planes


def has_colours(tensor: Array, spec: DetectorSpec) -> bool:
    """Return whether an input shows colours within its border: not R = G = B everywhere.

    Args:
        tensor: ``spec.input.dtype`` of shape ``spec.input.shape(1)``.
        spec: Of the network.
    """
    planes = planes_of(tensor, spec.input)
    full = 255.0 if spec.input.dtype == "uint8" else 1.0
    border = border_of(planes, full=full, pad=(spec.letterbox.pad_value,) * 3)
    return not bool(_is_grey(_within(planes, border)).all())


def border_of(planes: Array, *, full: float, pad: tuple[int, ...]) -> Border:
    """Find whole lines of one colour at the edges.

    A single line counts if it has the colour of the letterbox, and two or more otherwise: a sky may
    well be clipped to white in the first row of a photograph.

    Args:
        planes: [3, h, w].
        full: The value of white.
        pad: Grey levels of the letterbox.

    Returns:
        The border; without one also where the image has only one colour.
    """
    top, left, first = _lines_from_corner(planes)
    bottom, right, last = _lines_from_corner(planes[:, ::-1, ::-1])
    height, width = planes.shape[1:]
    if height in (top, bottom) or width in (left, right):
        return Border()
    first_levels, last_levels = _levels(first, full), _levels(last, full)
    sides = [(first_levels, top), (first_levels, left), (last_levels, bottom), (last_levels, right)]
    lines = [(levels == pad, thickness, levels) for levels, thickness in sides if thickness]
    if not lines:
        return Border()
    is_pad, thickness, colour = max(lines)
    if not is_pad and thickness < MIN_BORDER_PX:
        return Border()
    is_first, is_last = first_levels == colour, last_levels == colour
    return Border(colour, top * is_first, bottom * is_last, left * is_first, right * is_last)


def _lines_from_corner(planes: Array) -> tuple[int, int, Array]:
    """Return how many rows and columns, counted from a corner, have its colour throughout."""
    corner = planes[:, :1, :1]
    # Most images have no such line: one row and one column are looked at first
    rows = columns = 0
    if (planes[:, 0] == corner[:, 0]).all() or (planes[:, :, 0] == corner[:, :, 0]).all():
        same = (planes == corner).all(axis=0)
        rows, columns = _leading(same.all(axis=1)), _leading(same.all(axis=0))
    return rows, columns, corner[:, 0, 0]


def _leading(flags: Array) -> int:
    return len(flags) if flags.all() else int(np.argmin(flags))


def _levels(colour: Array, full: float) -> Levels:
    red, green, blue = (round(float(value) * 255 / full) for value in colour)
    return red, green, blue


def _within(planes: Array, border: Border) -> Array:
    height, width = planes.shape[1:]
    return planes[:, border.top : height - border.bottom, border.left : width - border.right]


def _is_grey(planes: Array) -> Array:
    red, green, blue = planes
    same: Array = (red == green) & (green == blue)
    return same


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
