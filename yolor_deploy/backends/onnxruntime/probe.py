"""Look at the raw maps inside an artifact, whatever it ends in."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from yolor_deploy.backends.onnxruntime.session import inference_session
from yolor_deploy.backends.onnxruntime.threads import granted_cores
from yolor_deploy.core.artifact import Artifact, output_names
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import NmsConfig


class RawMapProbe:
    """A model loaded with its raw maps as outputs beside its own.

    The bytes that run are those of the file with a few more behind them.

    Args:
        artifact: A model, with weights inside or in a file beside it.

    Raises:
        ArtifactError: ONNX Runtime refuses the file.
    """

    def __init__(self, artifact: Artifact) -> None:
        raw = output_names("raw", num_levels=len(artifact.meta.spec.levels))
        self._names = list(dict.fromkeys((*artifact.output_names, *raw)))
        self._has_thresholds = artifact.meta.output == "detections"
        if set(raw) <= set(artifact.output_names):
            self._runtime = inference_session(artifact, threads=granted_cores())
            return
        with _copy_that_ends_in(artifact.path, raw) as path:
            self._runtime = inference_session(replace(artifact, path=path), threads=granted_cores())

    def run(self, images: Array, nms: NmsConfig) -> RawOutput:
        """Run the network on one batch.

        Args:
            images: As ``Session.run`` takes them.
            nms: Thresholds, for artifacts that detect.

        Returns:
            Outputs by name; ``raw_0 ..`` are among them.
        """
        feed = {"images": images}
        if self._has_thresholds:
            feed |= {key: np.array([getattr(nms, key)], np.float32) for key in THRESHOLD_INPUTS}
        return dict(zip(self._names, self._runtime.run(self._names, feed), strict=True))


@contextmanager
def _copy_that_ends_in(path: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Yield a copy of a model in which these values are outputs too.

    A protobuf message goes on where another one is appended to its bytes: lists are joined. So
    the weights are copied from disk to disk, and never parsed.
    """
    from onnx import GraphProto, ModelProto, TensorProto, helper  # noqa: PLC0415 - slow to load

    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    suffix = ModelProto(graph=GraphProto(output=outputs)).SerializeToString()
    try:
        folder = tempfile.TemporaryDirectory(prefix=".probe-", dir=path.parent)
    except OSError:  # the folder may be read-only; weights in a second file are not found then
        folder = tempfile.TemporaryDirectory(prefix="yolor-deploy-")
    with folder as name:
        copy = Path(name) / path.name
        shutil.copyfile(path, copy)
        data = path.with_name(path.name + ".data")
        if data.exists():
            copy.with_name(data.name).hardlink_to(data)
        with copy.open("ab") as file:
            file.write(suffix)
        yield copy
