"""Images made smaller by means of areas, as the authors' AP test makes them."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.image import ImageArray

_BAND_ROWS = 32  # of the result at a time: intermediates stay small for any source


def resize_area(image: ImageArray, height: int, width: int) -> ImageArray:
    """Make an image smaller: each new pixel is the mean of the area that it covers.

    OpenCV's ``INTER_AREA``, within one grey level: it adds up in float32, this in float64.

    Args:
        image: uint8 [h, w, c].
        height: Of the result, pixels, 1..h.
        width: Of the result, pixels, 1..w.

    Returns:
        uint8 [height, width, c].

    Raises:
        ValueError: The result would be empty or larger than the image.
    """
    rows, columns = image.shape[:2]
    if not (1 <= height <= rows and 1 <= width <= columns):
        raise ValueError(f"{height} x {width} given, expected 1 x 1 to {rows} x {columns}")
    if (height, width) == (rows, columns):
        return image
    edges_y = np.arange(height + 1) * (rows / height)
    edges_x = np.arange(width + 1) * (columns / width)
    edges_y[-1], edges_x[-1] = rows, columns
    # OpenCV's code for exact halves rounds halves up, the rest of it to even
    is_half = (rows, columns) == (2 * height, 2 * width)
    result = np.empty((height, width, image.shape[2]), np.uint8)
    for begin in range(0, height, _BAND_ROWS):
        edges = edges_y[begin : begin + _BAND_ROWS + 1]
        first = int(edges[0])
        source = image[first : math.ceil(edges[-1])].astype(np.float64)
        means = _means_between(_means_between(source, edges - first, axis=0), edges_x, axis=1)
        result[begin : begin + _BAND_ROWS] = np.floor(means + 0.5) if is_half else np.rint(means)
    return result


def _means_between(
    values: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], *, axis: int
) -> npt.NDArray[np.float64]:
    """Return the means of values along an axis between edges, which may cut values in parts."""
    values = np.moveaxis(values, axis, 0)
    whole = np.minimum(edges.astype(np.intp), len(values) - 1)
    before = np.zeros((len(values) + 1, *values.shape[1:]))
    np.cumsum(values, axis=0, out=before[1:])
    shape = (-1, *[1] * (values.ndim - 1))
    sums = before[whole] + values[whole] * (edges - whole).reshape(shape)
    return np.moveaxis(np.diff(sums, axis=0) / np.diff(edges).reshape(shape), 0, axis)
