"""How images are brought to the input size when AP is measured, and what that implies.

``letterbox`` is what the artifact does when it detects. ``yolor`` is the AP test of the authors,
whose input is a step larger than its nominal size; published numbers were measured so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from yolor_deploy.core.artifact import ArtifactMeta
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.image import (
    BoxTransform,
    ImageArray,
    ResizedTransform,
    letterbox,
    resize_bilinear,
)
from yolor_deploy.core.resize_area import resize_area
from yolor_deploy.core.spec import DetectorSpec, LetterboxRule, NmsConfig
from yolor_deploy.families.catalogue import CATALOGUE

ProtocolName = Literal["letterbox", "yolor"]

# Source: the authors' test scripts
YOLOR_NMS = NmsConfig(score_threshold=0.001, iou_threshold=0.65, max_detections=300)
_YOLOR_RULE = LetterboxRule(pad_value=114, scale_up=False)
_DARKNET_STEP = 64
_COCO_CLASSES = 80
_NOTE_OF_SHAPE = (
    "the authors test in rectangular batches of the same scale; here the input is a square with "
    "more border"
)
_NOTE_OF_RATIO = (
    "boxes go back to the image by the ratio of each axis; the authors use that of the heights "
    "for both"
)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How images were brought to the input size.

    Attributes:
        name: ``letterbox`` or ``yolor``.
        input_height: Pixels.
        input_width: Pixels.
        nominal_size: The long side that images are resized to before they are placed, pixels;
            None if they are placed at once.
        scale_up: Whether a small image is enlarged when it is placed.
        pad_value: Grey level of the border.
        notes: How this differs from what the name stands for.
    """

    name: ProtocolName
    input_height: int
    input_width: int
    nominal_size: int | None
    scale_up: bool
    pad_value: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def placement(self) -> Callable[[ImageArray], tuple[ImageArray, BoxTransform]]:
        """Return what brings an image to the input size, with the way back for boxes."""
        rule = LetterboxRule(pad_value=self.pad_value, scale_up=self.scale_up)
        height, width, nominal_size = self.input_height, self.input_width, self.nominal_size

        def place(image: ImageArray) -> tuple[ImageArray, BoxTransform]:
            if nominal_size is None:
                return letterbox(image, height, width, rule)
            resized = resize_long_side(image, nominal_size)
            placed, transform = letterbox(resized, height, width, rule)
            return placed, ResizedTransform(transform, *image.shape[:2])

        return place


def resize_long_side(image: ImageArray, size: int) -> ImageArray:
    """Resize an image so that its long side has ``size`` pixels, less what is cut off.

    Args:
        image: uint8 [h, w, 3].
        size: Pixels.

    Source: the authors' data loader: means of areas when shrinking, bilinear when growing, sides
    cut to whole numbers. Where that leaves no row of a very long image, one is kept.
    """
    original_height, original_width = image.shape[:2]
    gain = size / max(original_height, original_width)
    if gain == 1:
        return image
    height, width = max(1, int(original_height * gain)), max(1, int(original_width * gain))
    resize = resize_area if gain < 1 else resize_bilinear
    return resize(image, height, width)


def letterbox_protocol(spec: DetectorSpec) -> Protocol:
    """Return the protocol that is the artifact's own way of detecting."""
    return Protocol(
        name="letterbox",
        input_height=spec.input.height,
        input_width=spec.input.width,
        nominal_size=None,
        scale_up=spec.letterbox.scale_up,
        pad_value=spec.letterbox.pad_value,
    )


def yolor_protocol(meta: ArtifactMeta, *, where: str) -> Protocol:
    """Return the authors' AP test as far as a square artifact can follow it.

    Their test pads the nominal size by a step and more: 1280 to 1344 at a stride of 64, 1536 to
    1664 at 128, 896 to 928 at 32, and 640 to 704 for models of a cfg, whose step is always 64.

    Args:
        meta: Of the artifact.
        where: The artifact, for messages.

    Raises:
        EvaluationError: The artifact is not square, not of a size of that test, or suppresses
            boxes in another way.
    """
    spec = meta.spec
    size, step = spec.input.height, _step(spec)
    if spec.input.width != size:
        raise EvaluationError(
            f"input is {size}x{spec.input.width} (height x width), expected a square",
            where=where,
            hint="export with one number, such as --size 1344",
        )
    _require_size(spec, size, step, where=where)
    _require_nms(meta.nms or NmsConfig(), where=where)
    return Protocol(
        name="yolor",
        input_height=size,
        input_width=size,
        nominal_size=size - step,
        scale_up=_YOLOR_RULE.scale_up,
        pad_value=_YOLOR_RULE.pad_value,
        notes=(_NOTE_OF_SHAPE, _NOTE_OF_RATIO),
    )


def _step(spec: DetectorSpec) -> int:
    # Their cfg test has no other step than 64, which no input of a seventh level is a multiple of
    return max(_DARKNET_STEP, spec.max_stride) if spec.family == "darknet" else spec.max_stride


def _require_size(spec: DetectorSpec, size: int, step: int, *, where: str) -> None:
    """Refuse sizes that the test does not have; 1280, the nominal size, is the usual mistake."""
    published = {model.name: model.size for model in CATALOGUE}
    native = published.get(spec.variant) if spec.num_classes == _COCO_CLASSES else None
    if native is not None and size != native + step:
        raise EvaluationError(
            f"input is {size}x{size}, but the authors test {spec.variant} at "
            f"{native + step}x{native + step}",
            where=where,
            hint=f"export with --size {native + step}, or use --protocol letterbox",
        )
    if native is None and size in published.values():
        raise EvaluationError(
            f"input is {size}x{size}, a nominal size; the authors' test has a step of {step} more",
            where=where,
            hint=f"export with --size {size + step}, or use --protocol letterbox",
        )
    if size % step or size == step:
        raise EvaluationError(
            f"input is {size}x{size}, expected a multiple of {step} from {2 * step} on",
            where=where,
            hint=f"export with --size {max(2, round(size / step)) * step}, or use "
            "--protocol letterbox",
        )


def _require_nms(nms: NmsConfig, *, where: str) -> None:
    for name, is_same, option in (
        ("max_detections", nms.max_detections == YOLOR_NMS.max_detections, "--max-detections 300"),
        (
            "max_candidates",
            nms.max_candidates >= YOLOR_NMS.max_candidates,
            f"--max-candidates {YOLOR_NMS.max_candidates}",
        ),
        ("multi_label", nms.multi_label, "--multi-label"),
        ("class_agnostic", not nms.class_agnostic, "classes that do not suppress each other"),
    ):
        if not is_same:
            raise EvaluationError(
                f"{name} is {getattr(nms, name)}, expected {getattr(YOLOR_NMS, name)}",
                where=where,
                hint=f"export with {option}, or use --protocol letterbox",
            )
