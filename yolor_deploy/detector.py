"""Images in, detections out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.detections import Detections
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import ArtifactError, EvaluationError
from yolor_deploy.core.image import (
    BoxTransform,
    ImageArray,
    letterbox,
    load_image,
    rgb_from_pil,
    tensor_from_images,
)
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.runtime import Array, RawOutput, Session
from yolor_deploy.core.spec import DetectorSpec, NmsConfig

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing only from Python 3.11

logger = logging.getLogger(__name__)

ImageLike = Path | str | Image.Image | ImageArray
"""An image: a file, a Pillow image, or uint8 [h, w, 3] in RGB."""

Placement = Callable[[ImageArray], tuple[ImageArray, BoxTransform]]
"""From an image to what the network sees, uint8 [height, width, 3], and the way back for boxes."""


def open_session(
    artifact: Artifact | Path | str,
    *,
    for_accuracy: bool = False,
    device: RuntimeDevice | str | None = None,
    trust: bool = False,
) -> Session:
    """Load an artifact into the runtime that it is for.

    Args:
        artifact: Or the path of one.
        for_accuracy: Whether a model of fewer bits runs with every rounding that its target makes,
            however slowly; a model for another runtime can be opened so too. A GPU that is asked
            for is taken for its target.
        device: ``cpu``, ``cuda`` or ``cuda:N``; None for the runtime's own choice, which is the
            CPU for a portable model.
        trust: Whether an engine is opened, which is code, that is not the one of its passport; or
            that has none, as one of the model ``<stem>.onnx`` beside it.

    Raises:
        ArtifactError: Not a file that this project wrote, or damaged, or not for the device.
        BackendUnavailableError: Its runtime is not installed, or cannot use the device.
        RunError: The device has not enough memory.
    """
    from yolor_deploy import backends  # noqa: PLC0415 - a runtime takes a while to load

    chosen = RuntimeDevice.parse(device) if isinstance(device, str) else device
    if not isinstance(artifact, Artifact):
        artifact = backends.read_artifact(Path(artifact), trust=trust)
    if for_accuracy:
        return backends.open_for_accuracy(artifact, device=chosen, trust=trust)
    return backends.open_session(artifact, device=chosen, trust=trust)


class Detector:
    """A loaded model that finds objects in images of any size.

    ::

        with Detector("yolor-p6.onnx") as detector:
            found = detector("street.jpg")
            names = [detector.class_names[i] for i in found.class_ids]

    Whatever the artifact ends in (detections, predictions or raw head maps), the result has the
    same form; what its graph does not do is done here.

    Args:
        model: Path of an artifact, or a session; a session that is handed in is not closed.
        score_threshold: 0..1, instead of the artifact's.
        iou_threshold: 0..1, instead of the artifact's.
        place: How images are brought to the input size, instead of the artifact's letterbox.
        device: As of ``open_session``; a session that is handed in has its own.
        trust: As of ``open_session``.

    Raises:
        ArtifactError: Not a file that this project wrote, or damaged, or not for the device.
        BackendUnavailableError: Its runtime is not installed, or cannot use the device.
        BuildError: A threshold is not within 0..1.
        RunError: The device has not enough memory.
        ValueError: A session is handed in, and a device too.
    """

    def __init__(
        self,
        model: Path | str | Session,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        place: Placement | None = None,
        device: RuntimeDevice | str | None = None,
        trust: bool = False,
    ) -> None:
        self._owns_session = isinstance(model, (str, Path))
        if isinstance(model, (str, Path)):
            self._session = open_session(model, device=device, trust=trust)
        elif device is None:
            self._session = model
        else:
            raise ValueError(f"device {device!r} given with a session, which has its own")
        meta = self._session.artifact.meta
        self.nms = _with_thresholds(meta.nms or NmsConfig(), score_threshold, iou_threshold)
        self._place = place or self._letterboxed
        if meta.spec.random_weights:
            logger.warning(
                "%s has random weights: what it detects means nothing", self.artifact.path
            )

    @property
    def artifact(self) -> Artifact:
        """What was loaded."""
        return self._session.artifact

    @property
    def spec(self) -> DetectorSpec:
        """The detector without its weights."""
        return self.artifact.meta.spec

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names, by class id."""
        return self.spec.class_names

    @property
    def batch_size(self) -> int:
        """Images per run of the network; ``batch`` cuts longer sequences into such pieces."""
        return self.spec.input.batch.optimum

    def __call__(self, image: ImageLike) -> Detections:
        """Find objects in one image: a file, a Pillow image, or uint8 [h, w, 3] in RGB.

        Raises:
            EvaluationError: The image cannot be read, or is an array of another form.
            ArtifactError: The network computed NaN.
        """
        return self.batch([image])[0]

    def batch(self, images: Sequence[ImageLike]) -> list[Detections]:
        """Find objects in each of several images, of any sizes.

        Raises:
            EvaluationError: An image cannot be read, or is an array of another form.
            ArtifactError: The network computed NaN.
        """
        found: list[Detections] = []
        for begin in range(0, len(images), self.batch_size):
            found += self._run([_as_rgb(item) for item in images[begin : begin + self.batch_size]])
        return found

    def close(self) -> None:
        """Free what the runtime holds; the detector cannot be used afterwards."""
        if self._owns_session:
            self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, images: Sequence[ImageArray]) -> list[Detections]:
        spec = self.spec
        height, width = spec.input.height, spec.input.width
        placed = [self._place(image) for image in images]
        pixels = [image for image, _ in placed]
        missing = spec.input.batch.minimum - len(pixels)
        grey = np.full((height, width, 3), spec.letterbox.pad_value, np.uint8)
        tensor = tensor_from_images([*pixels, *[grey] * missing], spec.input)
        rows = self._rows_by_image(self._postprocessed(tensor))
        transforms = [transform for _, transform in placed]
        # Not strict: the rows of grey images that fill a batch are left over
        return [
            self._detections(*row, transform)
            for row, transform in zip(rows, transforms, strict=False)
        ]

    def _letterboxed(self, image: ImageArray) -> tuple[ImageArray, BoxTransform]:
        spec = self.spec
        return letterbox(image, spec.input.height, spec.input.width, spec.letterbox)

    def _postprocessed(self, tensor: Array) -> RawOutput:
        """Run the network, and in NumPy whatever of the head its graph leaves out."""
        output = self.artifact.meta.output
        if output == "detections":
            return self._session.run(
                tensor,
                score_threshold=self.nms.score_threshold,
                iou_threshold=self.nms.iou_threshold,
            )
        outputs = self._session.run(tensor)
        maps = [outputs[name] for name in self.artifact.output_names]
        predictions = maps[0] if output == "predictions" else predictions_from_raw(maps, self.spec)
        return non_max_suppression(predictions, self.nms)

    @staticmethod
    def _rows_by_image(output: RawOutput) -> Iterator[tuple[Array, Array, Array]]:
        """Yield boxes, scores and class ids of each image, without the padding."""
        for image, count in enumerate(output["num_detections"].reshape(-1)):
            used = slice(0, int(count))
            yield (
                output["boxes_xyxy"][image, used],
                output["scores"][image, used],
                output["class_ids"][image, used],
            )

    def _detections(
        self, boxes: Array, scores: Array, class_ids: Array, transform: BoxTransform
    ) -> Detections:
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise ArtifactError(
                "the network computed boxes or scores that are NaN or infinite",
                where=str(self.artifact.path),
                hint="run `yolor-deploy verify` on it; half precision may have overflowed",
            )
        return Detections(
            transform.to_original(boxes.astype(np.float32, copy=False)),
            scores.astype(np.float32, copy=False),
            class_ids.astype(np.int32, copy=False),
        )


def _with_thresholds(
    nms: NmsConfig, score_threshold: float | None, iou_threshold: float | None
) -> NmsConfig:
    if score_threshold is not None:
        nms = replace(nms, score_threshold=score_threshold)
    if iou_threshold is not None:
        nms = replace(nms, iou_threshold=iou_threshold)
    return nms


def _as_rgb(image: ImageLike) -> ImageArray:
    if isinstance(image, (str, Path)):
        return load_image(image)
    if isinstance(image, Image.Image):
        return rgb_from_pil(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:  # noqa: PLR2004
        raise EvaluationError(
            f"image is {image.dtype} {list(image.shape)}, expected uint8 [h, w, 3]",
            where="image array",
            hint="give RGB pixels in 0..255, height before width, colours last",
        )
    return image
