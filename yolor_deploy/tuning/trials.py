"""The models of ``tune``: each is built, opened, run and gone before the next."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from yolor_deploy.backends import open_for_accuracy
from yolor_deploy.build_limits import target_of
from yolor_deploy.calibration.file import Calibration
from yolor_deploy.core.artifact import METADATA_KEY, Artifact, output_names
from yolor_deploy.core.precision import GraphTarget, Precision
from yolor_deploy.core.runtime import Array, Session
from yolor_deploy.measure.ranges import CalibrationMethod
from yolor_deploy.precision_stages import lower

_WORTH_FREEING_BYTES = 20_000_000  # freeing takes half a second, with torch loaded
_LARGEST_DB = 200.0  # of equal maps


class TrialModels:
    """Builds the variants of one float model.

    Args:
        source: The float model.
        precision: Of the result, quantised.
        target: Runtime that it is for.
        calibration: Distributions of its values.
        method: How ranges are chosen.
    """

    def __init__(
        self,
        source: Artifact,
        precision: Precision,
        *,
        target: GraphTarget,
        calibration: Calibration,
        method: CalibrationMethod,
    ) -> None:
        self.source = source
        self.precision = precision
        self.target = target
        self.calibration = calibration
        self.method = method

    @contextmanager
    def opened_float(self, *, with_raw: bool = False) -> Iterator[Session]:
        """Open the float model, and free it afterwards."""
        with closing(open_for_accuracy(self.source, with_raw=with_raw)) as session:
            yield session

    @contextmanager
    def opened(
        self, keep: Collection[str], *, precision: Precision | None = None, with_raw: bool = False
    ) -> Iterator[Session]:
        """Build a variant as ``build`` does, open it as ``eval`` does, and free it afterwards.

        Args:
            keep: Names of the layers that stay float.
            precision: Instead of that of the result.
            with_raw: Whether ``raw_0 ..`` are among its outputs.
        """
        with tempfile.TemporaryDirectory(prefix="yolor-deploy-") as folder:
            path = Path(folder) / self.source.path.name
            artifact = self._written(keep, precision or self.precision, path)
            self._free()
            with closing(open_for_accuracy(artifact, with_raw=with_raw)) as session:
                self._free()
                yield session

    def _free(self) -> None:
        """Free graphs at once: they are cyclic, and their weights would stay while a model runs."""
        if self.source.path.stat().st_size > _WORTH_FREEING_BYTES:
            gc.collect()

    def _written(self, keep: Collection[str], precision: Precision, path: Path) -> Artifact:
        from yolor_deploy.graph.nms_head import attach_nms, detach_head  # noqa: PLC0415 - onnx
        from yolor_deploy.graph.read import read_model  # noqa: PLC0415 - onnx
        from yolor_deploy.graph.write import write_model  # noqa: PLC0415 - onnx

        meta = self.source.meta
        network = read_model(self.source.path)
        detach_head(network)
        network, _ = lower(
            network,
            precision,
            target=self.target,
            calibration=self.calibration,
            method=self.method,
            keep=keep,
            float_outputs=meta.output != "detections",
        )
        if meta.output == "detections":
            assert meta.nms is not None
            attach_nms(network, meta.spec, meta.nms)
        meta = replace(
            meta,
            precision=precision.name,
            output="detections" if meta.output == "detections" else "raw",
            target=target_of(precision, self.target),
        )
        network.metadata_props[METADATA_KEY] = meta.to_json()
        write_model(network, path)
        return Artifact.read(path)


class NoiseOfUnits:
    """How much each unit disturbs the raw maps if it alone is quantised: a cheap first look.

    Args:
        models: Builds the variants.
        layers: Names of all convolutions that can be quantised.
        tensors: A few inputs.
    """

    def __init__(
        self, models: TrialModels, layers: Sequence[str], tensors: Sequence[Array]
    ) -> None:
        self._models = models
        self._layers = layers
        spec = models.source.meta.spec
        self._names = output_names("raw", num_levels=len(spec.levels))
        self._batches = [np.repeat(item, spec.input.batch.minimum, axis=0) for item in tensors]
        with models.opened_float(with_raw=True) as session:
            self._expected = [self._maps(session, batch) for batch in self._batches]

    def of(self, unit: Collection[str]) -> float:
        """Return the signal-to-noise ratio in dB: the levels' noise powers, relative, averaged."""
        keep = [name for name in self._layers if name not in unit]
        # In float32 beside it: rounding to half is the same for all units
        precision = replace(self._models.precision, base="fp32")
        levels = len(self._names)
        signal, noise = np.zeros(levels), np.zeros(levels)
        with self._models.opened(keep, precision=precision, with_raw=True) as session:
            for batch, expected in zip(self._batches, self._expected, strict=True):
                for level, found in enumerate(self._maps(session, batch)):
                    error = found.astype(np.float64) - expected[level]
                    signal[level] += np.square(expected[level], dtype=np.float64).sum()
                    noise[level] += np.square(error).sum()
        ratio = float(np.mean(noise / np.maximum(signal, np.finfo(np.float64).tiny)))
        return min(_LARGEST_DB, -10 * float(np.log10(ratio))) if ratio > 0 else _LARGEST_DB

    def _maps(self, session: Session, batch: Array) -> list[Array]:
        outputs = session.run(batch)
        return [outputs[name][:1] for name in self._names]
