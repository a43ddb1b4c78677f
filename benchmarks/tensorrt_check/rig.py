"""Where engines are opened, and what they are compared with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yolor_deploy.backends.onnxruntime.probe import RawMapProbe
from yolor_deploy.backends.tensorrt.open import open_engine
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.core.artifact import Artifact, output_names
from yolor_deploy.core.nms_exact import exact_detections
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.cuda.device import Device
from yolor_deploy.cuda.library import NmsLibrary
from yolor_deploy.proof import busy_nms, seeded_images, tensor_from_pixels

_SEED = 3


@dataclass(frozen=True, slots=True)
class Rig:
    """Opens engines on a GPU.

    Attributes:
        device: The GPU.
        plugin: Library of the plugin; None for the one of the package.
        library: Of the NMS kernels; None for the one of the package.
    """

    device: Device
    plugin: Path | None = None
    library: NmsLibrary | None = None

    def open(self, engine: Path, *, raw: bool = False) -> TensorRTSession:
        """Open an engine.

        Args:
            engine: The plan.
            raw: Whether to see the raw maps of a plan that our kernels run behind.
        """
        artifact = Artifact.read(engine)
        if raw:
            artifact = Artifact(engine, replace(artifact.meta, output="raw", nms=None))
        return open_engine(
            artifact, "tensorrt", device=self.device, plugin=self.plugin, library=self.library
        )


@dataclass(frozen=True, slots=True)
class Reference:
    """What ONNX Runtime computes in float32.

    Attributes:
        maps: Raw maps, finest stride first, float32 [n, channels, h, w].
        score_threshold: That some hundred pairs of the first image pass.
    """

    maps: tuple[Array, ...]
    score_threshold: float

    @staticmethod
    def compute(model: Path, count: int) -> Reference:
        """Run a float32 model on drawn images, one at a time.

        Args:
            model: What ``export`` wrote, for batches of 1 too.
            count: Images.
        """
        artifact = Artifact.read(model)
        spec = artifact.meta.spec
        names = output_names("raw", num_levels=len(spec.levels))
        probe = RawMapProbe(artifact)
        found = [probe.run(image[None]) for image in images_of(spec, count)]
        maps = tuple(np.concatenate([outputs[name] for outputs in found]) for name in names)
        return Reference(maps, busy_nms(artifact, maps).score_threshold)

    @staticmethod
    def load(file: Path) -> Reference:
        """Read what ``save`` wrote."""
        with np.load(file) as value:
            maps = tuple(value[f"raw_{level}"] for level in range(len(value.files) - 1))
            return Reference(maps, float(value["score_threshold"]))

    def save(self, file: Path) -> None:
        """Write it."""
        arrays: dict[str, Any] = {f"raw_{level}": raw for level, raw in enumerate(self.maps)}
        np.savez(file, score_threshold=self.score_threshold, **arrays)

    def rows(self, spec: DetectorSpec, nms: NmsConfig) -> RawOutput:
        """Return the detections that are in the maps, by post-processing from ``busy``."""
        return exact_detections(self.maps, spec, nms)

    def busy(self, nms: NmsConfig | None) -> NmsConfig:
        """Return post-processing with the threshold of this reference."""
        return replace(nms or NmsConfig(), score_threshold=self.score_threshold)


def images_of(spec: DetectorSpec, count: int) -> Array:
    """Return drawn images as the network takes them, the same in every process."""
    pixels = seeded_images(count, spec.input.height, spec.input.width, seed=_SEED)
    return tensor_from_pixels(pixels, spec)
