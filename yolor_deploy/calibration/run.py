"""Show a network its calibration images, one at a time, and keep how its values are distributed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from yolor_deploy.calibration.file import (
    Calibration,
    CalibrationManifest,
    read_calibration,
    require_same,
    require_same_image,
    write_calibration,
)
from yolor_deploy.calibration.images import (
    CalibrationImages,
    CalibrationKind,
    CalibrationTensor,
    preprocessing_of,
)
from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.runtime import Array
from yolor_deploy.measure.histogram import Histogram
from yolor_deploy.measure.input_check import (
    InputFinding,
    findings,
    swapped_channels_finding,
)
from yolor_deploy.measure.input_statistics import InputStatistics
from yolor_deploy.output_file import require_writable, unwritable

if TYPE_CHECKING:
    from yolor_deploy.backends.onnxruntime.observer import Observer

logger = logging.getLogger(__name__)

SAVE_EVERY_S = 30.0
_SAMPLES = 8  # inputs kept for the question whether their channels are swapped
_SAMPLE_BYTES = 64_000_000
_ERRORS_OF_ONE = frozenset({"not_finite", "normalised", "above_range"})  # one input proves them


def calibrate(
    artifact: Artifact,
    images: CalibrationImages,
    *,
    file: Path | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Calibration:
    """Run a float model on every calibration image, and count all its intermediate values.

    The network runs in pieces, one image at a time, so memory does not grow with the images, and
    little with the network. With a file, what was seen is stored now and then, and when the run is
    interrupted; the next run with the same file, model and images goes on from there.

    Args:
        artifact: A model of float32.
        images: From ``find_calibration_images``.
        file: Where the distributions are kept; None to keep them in memory only.
        progress: Called with the number of images done, and of all.

    Raises:
        EvaluationError: The file is of another model, other preprocessing or other images; more
            than 5 % of the images cannot be read; or their values cannot be right, such as 0..255
            for a network that takes 0..1.
        ArtifactError: The model cannot be run, or the file cannot be written.
    """
    from yolor_deploy.backends.onnxruntime.observer import Observer  # noqa: PLC0415 - slow

    begin = time.perf_counter()
    run = _Run(artifact, images, file)
    reused = len(run.done)
    observer: Observer | None = None
    try:
        for item in images.tensors(artifact.meta.spec):
            if run.is_new(item):
                if observer is None:
                    observer = Observer(artifact)
                run.see(item, observer)
            progress(run.position + len(images.skipped), len(images))
        run.finish()
    finally:
        run.save()
    seconds = time.perf_counter() - begin
    logger.info("calibrate: %d images, %d of them before, %.1f s", len(run.done), reused, seconds)
    return run.calibration


def load_calibration(artifact: Artifact, file: Path) -> Calibration:
    """Read a calibration that is complete, without its images.

    Raises:
        EvaluationError: Damaged, of another model, of another size or type of input, or not
            complete.
    """
    calibration = read_calibration(file)
    manifest = calibration.manifest
    kind: CalibrationKind = (
        "tensors" if manifest.preprocessing.get("kind") == "tensors" else "images"
    )
    require_same(
        manifest,
        model_sha256=sha256_of_file(artifact.path),
        preprocessing=preprocessing_of(artifact.meta.spec, kind=kind),
        path=file,
    )
    if not manifest.complete:
        raise EvaluationError(
            f"calibration was interrupted after {len(manifest.images)} images",
            where=str(file),
            hint="give the images with --calibration: it goes on from there",
        )
    return calibration


class _Run:
    """One pass over the images."""

    def __init__(self, artifact: Artifact, images: CalibrationImages, file: Path | None) -> None:
        self.artifact = artifact
        self.images = images
        self.file = file
        self.calibration = self._begin()
        self.done = list(self.calibration.manifest.images)
        self.position = 0
        self.changed = False
        self.saved = time.monotonic()
        self.statistics = InputStatistics(artifact.meta.spec)
        self.samples: list[Array] = []

    def _begin(self) -> Calibration:
        sha256 = sha256_of_file(self.artifact.path)
        preprocessing = preprocessing_of(self.artifact.meta.spec, kind=self.images.kind)
        if self.file is not None:
            require_writable(self.file, option="--calibration-file")
        if self.file is None or not self.file.exists():
            return Calibration(CalibrationManifest(sha256, preprocessing))
        found = read_calibration(self.file)
        require_same(
            found.manifest, model_sha256=sha256, preprocessing=preprocessing, path=self.file
        )
        if len(found.manifest.images) > len(self.images):
            raise EvaluationError(
                f"calibration is stale: it is of {len(found.manifest.images)} images, "
                f"{len(self.images)} are given",
                where=str(self.file),
                hint="give another file with --calibration-file, or remove this one",
            )
        return found

    def is_new(self, item: CalibrationTensor) -> bool:
        """Note one image, and tell whether the network has to see it."""
        self.statistics.add(item.tensor, image_size=item.image_size)
        if len(self.samples) < _SAMPLES and item.tensor.nbytes * _SAMPLES <= _SAMPLE_BYTES:
            self.samples.append(item.tensor)
        self.position += 1
        if self.position <= len(self.done):
            assert self.file is not None
            manifest = self.calibration.manifest
            require_same_image(manifest, self.position - 1, item.name, item.sha256, self.file)
            return False
        return True

    def see(self, item: CalibrationTensor, observer: Observer) -> None:
        """Run the network on one image."""
        if self.position == 1:
            self._require_usable(_ERRORS_OF_ONE)  # at once, not after an hour
        # Merged at the end: an interrupt must not leave half an image in the counts
        seen: dict[str, Histogram] = {}
        for name, values in observer.run(item.tensor):
            histogram = seen.setdefault(name, Histogram())
            histogram.add(values)
        known = self.calibration.histograms
        total = {
            name: known[name].merged(histogram) if name in known else histogram
            for name, histogram in seen.items()
        }
        self.calibration.histograms = total
        self.done.append((Path(item.name).name, item.sha256))
        # An earlier run may have been complete with fewer images
        self.calibration.manifest = replace(self.calibration.manifest, complete=False)
        self.changed = True
        if time.monotonic() - self.saved > SAVE_EVERY_S:
            self.save()

    def finish(self) -> None:
        """Judge the inputs once all were seen."""
        found = self._require_usable()
        if not self.done:
            raise EvaluationError(
                "no calibration image could be read",
                where="calibration images",
                hint="give images that other programs can open",
            )
        if self.position < len(self.done):
            raise EvaluationError(
                f"calibration is stale: it is of {len(self.done)} images, {self.position} of those "
                "given can be read",
                where=str(self.file),
                hint="give another file with --calibration-file, or remove this one",
            )
        swapped = self._swapped()
        if swapped is not None:
            found.append(swapped)
        for finding in found:
            logger.warning("calibration images: %s (hint: %s)", finding.problem, finding.hint)
        manifest = replace(
            self.calibration.manifest,
            skipped=tuple((name, reason) for name, reason in self.images.skipped),
            findings=tuple(finding.to_json() for finding in found),
            complete=True,
        )
        self.changed |= manifest != self.calibration.manifest
        self.calibration.manifest = manifest

    def save(self) -> None:
        """Store what was seen."""
        self.calibration.manifest = replace(self.calibration.manifest, images=tuple(self.done))
        self.saved = time.monotonic()
        if self.file is None or not self.changed or not self.done:
            return
        try:
            write_calibration(self.calibration, self.file)
        except OSError as error:
            raise unwritable(self.file, error, option="--calibration-file") from error
        self.changed = False

    def _require_usable(self, kinds: frozenset[str] | None = None) -> list[InputFinding]:
        found = findings(self.statistics, self.artifact.meta.spec)
        for finding in found:
            if finding.severity == "error" and (kinds is None or finding.kind in kinds):
                raise EvaluationError(
                    finding.problem, where="calibration images", hint=finding.hint
                )
        return found

    def _swapped(self) -> InputFinding | None:
        from yolor_deploy.backends import open_session  # noqa: PLC0415 - slow

        artifact = self.artifact
        if artifact.meta.output != "detections" or artifact.meta.spec.input.batch.minimum > 1:
            return None
        session = open_session(artifact)
        try:
            return swapped_channels_finding(
                lambda tensor: float(session.run(tensor)["scores"].sum()),
                self.samples,
                artifact.meta.spec,
            )
        finally:
            with suppress(ValueError):
                session.close()
