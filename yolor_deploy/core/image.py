"""Images in: files to RGB arrays, and arrays to the input tensor of a network."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.spec import InputSpec, LetterboxRule

ImageArray = npt.NDArray[np.uint8]

# Not EPS, for one: Pillow hands such a file to an interpreter of PostScript programs.
_FORMATS = (
    "AVIF",
    "BMP",
    "DIB",
    "GIF",
    "JPEG",
    "JPEG2000",
    "MPO",
    "PNG",
    "PPM",
    "TIFF",
    "WEBP",
)
# What Pillow's parsers raise for damaged files, beside OSError.
_DAMAGED = (
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    MemoryError,
    ArithmeticError,
    struct.error,
    zlib.error,
)
_EXIF_ORIENTATION = 0x0112
_EXIF_TURNED = frozenset({5, 6, 7, 8})  # height and width change places
_WEIGHT_BITS = 11  # OpenCV: INTER_RESIZE_COEF_BITS
_BAND_ROWS = (
    32  # of the result at a time: intermediates stay in the cache, and small for any source
)


class BoxTransform(Protocol):
    """The way back from the network's input to the image that was placed in it."""

    def to_original(self, boxes_xyxy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return boxes in pixels of the original image, clipped to it.

        Args:
            boxes_xyxy: float32 [n, 4], input pixels.

        Returns:
            float32 [n, 4], original pixels.
        """
        ...


@dataclass(frozen=True, slots=True)
class LetterboxTransform:
    """How an image was placed in the network's input.

    Attributes:
        gain: Input pixels per original pixel, the same for both axes.
        pad_x_px: Border left of the image, input pixels, not rounded.
        pad_y_px: Border above the image, input pixels, not rounded.
        original_height: Pixels.
        original_width: Pixels.
    """

    gain: float
    pad_x_px: float
    pad_y_px: float
    original_height: int
    original_width: int

    def to_original(self, boxes_xyxy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return boxes in pixels of the original image, clipped to it.

        Args:
            boxes_xyxy: float32 [n, 4], input pixels.

        Returns:
            float32 [n, 4], original pixels.

        Source: ``scale_coords`` and ``clip_coords`` of the authors' repositories. The pad there is
        the exact half of what is left over, not the whole number of rows that was added.
        """
        pad = np.array([self.pad_x_px, self.pad_y_px] * 2, np.float32)
        limit = np.array([self.original_width, self.original_height] * 2, np.float32)
        boxes = (boxes_xyxy - pad) / np.float32(self.gain)
        clipped: npt.NDArray[np.float32] = np.clip(boxes, np.float32(0), limit)
        return clipped


@dataclass(frozen=True, slots=True)
class ResizedTransform:
    """How an image was placed that was resized before, each axis by a factor of its own.

    Attributes:
        placed: How the resized image was placed.
        original_height: Pixels, before it was resized.
        original_width: Pixels, before it was resized.
    """

    placed: LetterboxTransform
    original_height: int
    original_width: int

    def to_original(self, boxes_xyxy: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return boxes in pixels of the original image, clipped to it.

        Args:
            boxes_xyxy: float32 [n, 4], input pixels.

        Returns:
            float32 [n, 4], original pixels.
        """
        original = np.array([self.original_width, self.original_height] * 2, np.float64)
        resized = np.array([self.placed.original_width, self.placed.original_height] * 2)
        boxes = self.placed.to_original(boxes_xyxy) * (original / resized)
        clipped: npt.NDArray[np.float32] = np.clip(boxes, 0, original).astype(np.float32)
        return clipped


def load_image(path: Path | str) -> ImageArray:
    """Read an image file as OpenCV's ``imread`` does, but in RGB.

    The EXIF orientation is applied, grey and palette images become colour, alpha is dropped, of
    16 bits the upper 8 are kept, and of an animation the first frame.

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        EvaluationError: Missing, unreadable, truncated, not an image, or absurdly large.
    """
    with _reported_as_evaluation_error(str(path)), _open(path) as image:
        return _rgb_from_pil(image, where=str(path))


def image_format(path: Path | str) -> str:
    """Return Pillow's name of an image file's format, such as ``JPEG``; reads the header only.

    Raises:
        EvaluationError: Missing, unreadable, not an image, or absurdly large.
    """
    with _reported_as_evaluation_error(str(path)), _open(path) as image:
        return str(image.format)


def image_size(path: Path | str) -> tuple[int, int]:
    """Return the height and width that ``load_image`` will give; reads the header only.

    Raises:
        EvaluationError: Missing, unreadable, not an image, or absurdly large.
    """
    with _reported_as_evaluation_error(str(path)), _open(path) as image:
        if image.getexif().get(_EXIF_ORIENTATION) in _EXIF_TURNED:
            return image.width, image.height
        return image.height, image.width


def rgb_from_pil(image: Image.Image) -> ImageArray:
    """Convert a Pillow image as ``load_image`` converts a file.

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        EvaluationError: Its file is truncated, or its pixels have no range that is known.
    """
    where = str(getattr(image, "filename", "") or f"Pillow image of mode {image.mode}")
    with _reported_as_evaluation_error(where):
        return _rgb_from_pil(image, where=where)


def letterbox(
    image: ImageArray, height: int, width: int, rule: LetterboxRule
) -> tuple[ImageArray, LetterboxTransform]:
    """Scale an image to fit, keeping its aspect ratio, and fill the rest with grey on both sides.

    Args:
        image: uint8 [h, w, 3].
        height: Of the result, pixels.
        width: Of the result, pixels.
        rule: Grey level, and whether a small image is enlarged.

    Returns:
        uint8 [height, width, 3], and the way back for boxes.

    Source: ``letterbox`` of the authors' repositories, with a fixed target. Where their rounding
    leaves no row at all of a very long image, one row is kept.
    """
    original_height, original_width = image.shape[:2]
    gain = min(height / original_height, width / original_width)
    if not rule.scale_up:
        gain = min(gain, 1.0)
    # Python rounds halves to even, and so do the authors
    inner_height = max(1, round(original_height * gain))
    inner_width = max(1, round(original_width * gain))
    top = round((height - inner_height) / 2 - 0.1)
    left = round((width - inner_width) / 2 - 0.1)
    result = np.full((height, width, 3), rule.pad_value, np.uint8)
    result[top : top + inner_height, left : left + inner_width] = resize_bilinear(
        image, inner_height, inner_width
    )
    return result, LetterboxTransform(
        gain=gain,
        pad_x_px=(width - original_width * gain) / 2,
        pad_y_px=(height - original_height * gain) / 2,
        original_height=original_height,
        original_width=original_width,
    )


def tensor_from_images(images: Sequence[ImageArray], spec: InputSpec) -> npt.NDArray[np.generic]:
    """Make the input tensor of a network from images of its size.

    Args:
        images: uint8 [spec.height, spec.width, 3] each, RGB.
        spec: What the network takes.

    Returns:
        ``spec.dtype`` of shape ``spec.shape(len(images))``, contiguous; float32 is in 0..1.
    """
    stacked = np.stack(images)
    if spec.layout == "NCHW":
        stacked = np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))
    if spec.dtype == "uint8":
        return stacked
    return np.divide(stacked, 255, dtype=np.float32)


def resize_bilinear(image: ImageArray, height: int, width: int) -> ImageArray:
    """Resize by two taps per axis between half-pixel centres, without antialiasing.

    This is OpenCV's ``INTER_LINEAR`` down to its arithmetic in whole numbers (weights of 11 bits,
    columns first, and the bits dropped between the two steps), because the networks were trained
    and scored on its pixels. Pillow's two-tap resampling cuts the fraction off instead: it makes
    every image darker by almost half a grey level.

    Args:
        image: uint8 [h, w, c].
        height: Of the result, pixels.
        width: Of the result, pixels.

    Returns:
        uint8 [height, width, c].
    """
    if image.shape[:2] == (height, width):
        return image
    result = np.empty((height, width, image.shape[2]), np.uint8)
    above, below, weight_above, weight_below = _taps(image.shape[0], height)
    left, right, weight_left, weight_right = _taps(image.shape[1], width)
    for begin in range(0, height, _BAND_ROWS):
        band = slice(begin, begin + _BAND_ROWS)
        used, rows = np.unique(np.concatenate([above[band], below[band]]), return_inverse=True)
        source = image[used]
        columns = source.take(left, axis=1) * weight_left[:, np.newaxis]
        columns += source.take(right, axis=1) * weight_right[:, np.newaxis]
        columns >>= 4
        upper, lower = np.split(rows, 2)
        mixed = (columns[upper] * weight_above[band, np.newaxis, np.newaxis]) >> 16
        mixed += (columns[lower] * weight_below[band, np.newaxis, np.newaxis]) >> 16
        mixed += 2
        mixed >>= 2
        result[band] = mixed
    return result


def _taps(
    size: int, new_size: int
) -> tuple[
    npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.int32], npt.NDArray[np.int32]
]:
    """Return for each new pixel the old pixels before and after it, and their weights."""
    centres = ((np.arange(new_size) + 0.5) * (size / new_size) - 0.5).astype(np.float32)
    before = np.floor(centres).astype(np.intp)
    fraction = centres - before.astype(np.float32)
    outside = (before < 0) | (before >= size - 1)
    before = np.clip(before, 0, size - 1)
    fraction[outside] = 0
    scale = np.float32(1 << _WEIGHT_BITS)
    after = np.minimum(before + 1, size - 1)
    weight_before = np.rint((1 - fraction) * scale).astype(np.int32)
    weight_after = np.rint(fraction * scale).astype(np.int32)
    return before, after, weight_before, weight_after


def _open(path: Path | str) -> Image.Image:
    Image.init()
    formats = [name for name in _FORMATS if name in Image.OPEN]  # Pillow may lack a codec
    return Image.open(path, formats=formats)


def _rgb_from_pil(image: Image.Image, *, where: str) -> ImageArray:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits; also as 32-bit integers, by version of Pillow
        pixels = np.asarray(image)
        if pixels.min() < 0 or pixels.max() > np.iinfo(np.uint16).max:
            raise _unknown_range(image, where)
        grey = (pixels >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
    if image.mode == "F":
        raise _unknown_range(image, where)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))


def _unknown_range(image: Image.Image, where: str) -> EvaluationError:
    return EvaluationError(
        f"image has pixels of mode {image.mode}, expected 8 or 16 bits a channel",
        where=where,
        hint="convert it to 8 bits, so that it is known what is black and what is white",
    )


@contextmanager
def _reported_as_evaluation_error(where: str) -> Iterator[None]:
    try:
        # Pillow warns of metadata that it skips and of large images; what fails is raised
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FileNotFoundError as error:
        raise EvaluationError("no such image", where=where, hint="check the path") from error
    except Image.DecompressionBombError as error:
        raise EvaluationError(
            f"image is too large: {error}",
            where=where,
            hint="cut it into tiles; a network sees no detail of an image of this size",
        ) from error
    except UnidentifiedImageError as error:
        raise EvaluationError(
            "not an image of a format that is read here",
            where=where,
            hint=f"give one of {', '.join(_FORMATS)}",
        ) from error
    except (OSError, *_DAMAGED) as error:
        raise EvaluationError(
            f"image cannot be read: {error}",
            where=where,
            hint="check that it was copied completely and opens in a viewer",
        ) from error
