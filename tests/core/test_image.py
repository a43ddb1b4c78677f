from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.image import (
    ImageArray,
    LetterboxTransform,
    ResizedTransform,
    image_format,
    image_size,
    letterbox,
    load_image,
    resize_bilinear,
    rgb_from_pil,
    tensor_from_images,
)
from yolor_deploy.core.spec import InputDtype, InputLayout, InputSpec, LetterboxRule

OPENCV = Path(__file__).parents[1] / "data" / "letterbox_opencv.npz"
SIDES = st.integers(1, 90)


def noise(height: int, width: int, *, seed: int = 0) -> ImageArray:
    """Return uint8 [height, width, 3] of noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("case", range(7))
def test_letterbox_equals_opencv(case: int) -> None:
    """Size, border and pixels are those of OpenCV's resize, within one grey level of rounding."""
    with np.load(OPENCV) as stored:
        image, expected = stored[f"image{case}"], stored[f"result{case}"]
        rule = LetterboxRule(scale_up=bool(stored[f"enlarged{case}"]))

    result, _ = letterbox(image, expected.shape[0], expected.shape[1], rule)

    difference = result.astype(int) - expected
    # OpenCV's vector code rounds one product differently from its own scalar code
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.01


def test_letterbox_fills_with_pad_value() -> None:
    """Rows that the image does not cover have the grey of the rule, the odd one below."""
    image = np.zeros((20, 40, 3), np.uint8)

    result, _ = letterbox(image, 25, 40, LetterboxRule(pad_value=7))

    assert (result[:2] == 7).all()
    assert (result[2:22] == 0).all()
    assert (result[22:] == 7).all()


def test_letterbox_keeps_a_row_of_a_very_long_image() -> None:
    """An image of one row is still there when it is made a thousand times shorter."""
    image = np.full((1, 5000, 3), 200, np.uint8)

    result, _ = letterbox(image, 8, 5, LetterboxRule())

    assert (result == 200).any(axis=(1, 2)).sum() == 1


def test_letterbox_does_not_enlarge_when_told() -> None:
    """Without ``scale_up`` a small image keeps its pixels, and boxes their size."""
    image = noise(6, 10)

    result, transform = letterbox(image, 16, 20, LetterboxRule(scale_up=False))

    assert np.array_equal(result[5:11, 5:15], image)
    assert transform == LetterboxTransform(1.0, 5.0, 5.0, 6, 10)


@given(height=SIDES, width=SIDES, in_height=SIDES, in_width=SIDES, enlarge=st.booleans())
def test_letterbox_fits_any_image(
    height: int, width: int, in_height: int, in_width: int, enlarge: bool
) -> None:
    """The result has the size asked for, and holds as much image as its gain says."""
    image = np.full((height, width, 3), 255, np.uint8)

    result, transform = letterbox(image, in_height, in_width, LetterboxRule(0, scale_up=enlarge))

    assert result.shape == (in_height, in_width, 3)
    rows = int((result == 255).any(axis=(1, 2)).sum())
    columns = int((result == 255).any(axis=(0, 2)).sum())
    assert rows == max(1, round(height * transform.gain))
    assert columns == max(1, round(width * transform.gain))


@given(
    size=st.tuples(st.integers(20, 3000), st.integers(20, 3000)),
    cells=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    enlarge=st.booleans(),
    corners=st.tuples(*[st.floats(0, 1, width=32)] * 4),
)
def test_boxes_survive_the_round_trip(
    size: tuple[int, int],
    cells: tuple[int, int],
    enlarge: bool,
    corners: tuple[float, float, float, float],
) -> None:
    """A box of the original, moved by gain and pad, comes back within float32 rounding."""
    height, width = size
    in_height, in_width = cells[0] * 32, cells[1] * 32
    image = np.broadcast_to(np.uint8(0), (height, width, 3))  # one byte: no pixels are looked at
    _, transform = letterbox(image, in_height, in_width, LetterboxRule(scale_up=enlarge))
    box = np.array([corners], np.float64) * [width, height, width, height]
    pad = np.array([transform.pad_x_px, transform.pad_y_px] * 2)

    back = transform.to_original((box * transform.gain + pad).astype(np.float32))

    # One rounding of an input coordinate, seen in original pixels, and one of the result
    tolerance = 4e-7 * (max(in_height, in_width) / transform.gain + max(height, width))
    assert np.abs(back - box).max() <= tolerance


def test_to_original_clips_to_the_image() -> None:
    """A box that reaches into the border ends at the edge of the image."""
    _, transform = letterbox(noise(20, 40), 40, 40, LetterboxRule())

    boxes = transform.to_original(np.array([[-5, 0, 50, 40]], np.float32))

    assert boxes.tolist() == [[0, 0, 40, 20]]
    assert boxes.dtype == np.float32


def test_to_original_uses_the_exact_pad() -> None:
    """The pad is half of what is left over, as the authors compute it, not whole rows."""
    _, transform = letterbox(noise(33, 50), 32, 32, LetterboxRule())

    boxes = transform.to_original(np.array([[16, 16, 16, 16]], np.float32))

    assert transform.pad_y_px == (32 - 33 * 0.64) / 2
    assert boxes == pytest.approx(np.array([[25, 16.5, 25, 16.5]]), abs=1e-5)


def test_to_original_takes_no_boxes() -> None:
    """No boxes stay no boxes."""
    _, transform = letterbox(noise(4, 4), 8, 8, LetterboxRule())

    assert transform.to_original(np.zeros((0, 4), np.float32)).shape == (0, 4)


@given(height=SIDES, width=SIDES, new_height=SIDES, new_width=SIDES)
def test_resize_stays_within_the_range_of_the_image(
    height: int, width: int, new_height: int, new_width: int
) -> None:
    """Interpolation makes nothing brighter than the brightest or darker than the darkest pixel."""
    image = noise(height, width)

    result = resize_bilinear(image, new_height, new_width)

    assert result.shape == (new_height, new_width, 3)
    assert int(result.max()) <= int(image.max())
    assert int(result.min()) >= int(image.min()) - 1  # the bits dropped between the steps


def test_resize_of_one_colour_is_that_colour() -> None:
    """Every grey level is kept by a resize over many bands of rows."""
    levels = np.arange(256, dtype=np.uint8)
    image = np.broadcast_to(levels[np.newaxis, np.newaxis, :], (50, 30, 256))

    result = resize_bilinear(image, 77, 41)

    assert (result == levels).all()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_tensor_from_images_has_the_form_of_the_spec(
    dtype: InputDtype, layout: InputLayout
) -> None:
    """Type, order of axes and range are those of the spec, and channels stay RGB."""
    images = [noise(8, 12, seed=1), noise(8, 12, seed=2)]
    spec = InputSpec(height=8, width=12, dtype=dtype, layout=layout)

    tensor = tensor_from_images(images, spec)

    channels_last = tensor if layout == "NHWC" else tensor.transpose(0, 2, 3, 1)
    scale = np.float32(255) if dtype == "float32" else np.uint8(1)
    expected = np.stack(images) / scale if dtype == "float32" else np.stack(images)
    assert tensor.shape == spec.shape(2)
    assert tensor.dtype == dtype
    assert tensor.flags.c_contiguous
    assert np.array_equal(channels_last, expected)


# How a camera that was held so has stored the scene: the inverse of what EXIF tells a viewer to do
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_load_image_applies_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    """Whatever way the camera was held, the red corner of the scene is at the top left."""
    scene = np.full((24, 40, 3), 128, np.uint8)
    scene[:8, :8] = (255, 0, 0)
    stored = Image.fromarray(scene)
    if orientation in _TURNED:
        stored = stored.transpose(_TURNED[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"scene{suffix}"
    stored.save(path, exif=exif)

    image = load_image(path)

    assert image.shape == scene.shape
    assert np.abs(image[2:6, 2:6].astype(int) - (255, 0, 0)).max() < 12  # JPEG, WebP: lossy
    assert np.abs(image[-6:, -6:].astype(int) - 128).max() < 12


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_load_image_converts_to_rgb(tmp_path: Path, mode: str) -> None:
    """A white pixel is white and a black one black, whatever the file stores."""
    scene = np.zeros((4, 6, 3), np.uint8)
    scene[:, 3:] = 255
    path = tmp_path / "scene.tif"
    Image.fromarray(scene).convert(mode).save(path)

    image = load_image(path)

    assert np.array_equal(image, scene)
    assert image.dtype == np.uint8


def test_load_image_drops_alpha(tmp_path: Path) -> None:
    """A transparent pixel keeps its colour: nothing is laid under it."""
    pixels = np.full((2, 2, 4), (10, 20, 30, 0), np.uint8)
    path = tmp_path / "clear.png"
    Image.fromarray(pixels).save(path)

    assert (load_image(path) == (10, 20, 30)).all()


def test_load_image_takes_a_palette_with_transparency(tmp_path: Path) -> None:
    """Transparency by palette entry is dropped without a warning."""
    picture = Image.new("P", (3, 2), 1)
    picture.putpalette([0, 0, 0, 40, 50, 60])
    path = tmp_path / "palette.png"
    picture.save(path, transparency=bytes([255, 100]))

    assert (load_image(path) == (40, 50, 60)).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_load_image_keeps_the_upper_bits(tmp_path: Path, suffix: str) -> None:
    """Of 16 bits the upper 8 are kept: 0x12ff becomes 0x12, as OpenCV does."""
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(np.full((2, 3), 0x12FF, np.uint16)).save(path)

    assert (load_image(path) == 0x12).all()


def test_load_image_refuses_pixels_without_a_range(tmp_path: Path) -> None:
    """A float image is refused: nobody knows what is white in it."""
    path = tmp_path / "heat.tif"
    Image.fromarray(np.zeros((2, 2), np.float32)).save(path)

    with pytest.raises(EvaluationError, match="mode F, expected 8 or 16 bits"):
        load_image(path)


def test_load_image_refuses_32_bit_integers(tmp_path: Path) -> None:
    """An integer image beyond 16 bits is refused, and not cut to some range."""
    path = tmp_path / "counts.tif"
    Image.fromarray(np.full((2, 2), 70_000, np.int32)).save(path)

    with pytest.raises(EvaluationError, match="mode I, expected 8 or 16 bits"):
        load_image(path)


def test_load_image_reports_a_missing_file(tmp_path: Path) -> None:
    """A missing file is named."""
    path = tmp_path / "nowhere.png"

    with pytest.raises(EvaluationError, match="no such image") as caught:
        load_image(path)

    assert caught.value.where == str(path)


def test_load_image_refuses_a_folder(tmp_path: Path) -> None:
    """A folder is not an image."""
    with pytest.raises(EvaluationError, match="cannot be read"):
        load_image(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not an image at all", id="text"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", id="postscript"),
    ],
)
def test_load_image_refuses_other_files(tmp_path: Path, content: bytes) -> None:
    """What is no image is refused by content, PostScript included, which Pillow would run."""
    path = tmp_path / "file.png"
    path.write_bytes(content)

    with pytest.raises(EvaluationError, match="not an image"):
        load_image(path)


def encoded(kind: str) -> bytes:
    """Return an image file of that format, of 40 x 40 pixels of noise."""
    stream = io.BytesIO()
    Image.fromarray(noise(40, 40)).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_load_image_refuses_a_truncated_file(tmp_path: Path, kind: str) -> None:
    """An image of which the second half is missing is refused; its header is still read."""
    content = encoded(kind)
    path = tmp_path / "half"
    path.write_bytes(content[: len(content) // 2])

    with pytest.raises(EvaluationError) as caught:
        load_image(path)

    assert caught.value.where == str(path)


def png_of_size(side: int) -> bytes:
    """Return a PNG whose header declares a square, with pixels of one row."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = zlib.crc32(name + body).to_bytes(4, "big")
        return len(body).to_bytes(4, "big") + name + body + checksum

    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    body = zlib.compress(bytes(1 + 3 * side))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def test_load_image_refuses_a_decompression_bomb(tmp_path: Path) -> None:
    """A few bytes that declare ten gigabytes of pixels are refused before memory is taken."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of_size(60_000))

    for read in (load_image, image_format):
        with pytest.raises(EvaluationError, match="too large"):
            read(path)


@given(data=st.data(), kind=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP"]))
def test_load_image_reads_or_refuses_damaged_bytes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str
) -> None:
    """Any bytes give an image or our error: never another exception."""
    content = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        position = data.draw(st.integers(0, min(len(content) - 1, 120)))
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "image"
    path.write_bytes(content)

    try:
        image = load_image(path)
    except EvaluationError:
        return

    assert image.dtype == np.uint8
    assert image.shape[2] == 3


def test_image_format_reads_the_content(tmp_path: Path) -> None:
    """The format is that of the bytes, not of the suffix."""
    path = tmp_path / "really_a.png"
    path.write_bytes(encoded("JPEG"))

    assert image_format(path) == "JPEG"


def test_rgb_from_pil_equals_load_image(tmp_path: Path) -> None:
    """A Pillow image gives the same pixels as its file, orientation included."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.png"
    Image.fromarray(noise(5, 9)).save(path, exif=exif)

    with Image.open(path) as image:
        pixels = rgb_from_pil(image)

    assert pixels.shape == (9, 5, 3)
    assert np.array_equal(pixels, load_image(path))


def test_rgb_from_pil_reports_a_truncated_file(tmp_path: Path) -> None:
    """A Pillow image reads its pixels late; what is missing then is our error too."""
    path = tmp_path / "half.png"
    content = encoded("PNG")
    path.write_bytes(content[: len(content) // 2])

    with Image.open(path) as image, pytest.raises(EvaluationError) as caught:
        rgb_from_pil(image)

    assert caught.value.where == str(path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_size_is_that_of_the_loaded_image(tmp_path: Path, orientation: int) -> None:
    """The header tells the size after the EXIF orientation is applied."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (30, 20)).save(path, exif=exif)

    assert image_size(path) == load_image(path).shape[:2]


def test_image_size_refuses_other_files(tmp_path: Path) -> None:
    """A file that is not an image is named."""
    path = tmp_path / "text.png"
    path.write_text("no image")

    with pytest.raises(EvaluationError, match="not an image") as caught:
        image_size(path)

    assert caught.value.where == str(path)


def test_resized_transform_undoes_both_steps() -> None:
    """Each axis has its own factor, and boxes end where the original image ends."""
    placed = LetterboxTransform(0.5, 4.0, 6.0, original_height=20, original_width=40)
    transform = ResizedTransform(placed, original_height=50, original_width=120)

    boxes = transform.to_original(np.array([[9, 7, 14, 11], [-5, 0, 99, 99]], np.float32))

    # to 10, 2, 20, 10 of 40 x 20 pixels, then by 3 and 2.5
    assert boxes.dtype == np.float32
    assert boxes.tolist() == [[30, 5, 60, 25], [0, 0, 120, 50]]
