"""Look at the raw maps inside an artifact, whatever it ends in."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from yolor_deploy.backends.onnxruntime.session import inference_session
from yolor_deploy.core.artifact import Artifact, output_names
from yolor_deploy.core.cgroup import granted_cores
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import NmsConfig

_COPY_BYTES = 1 << 20


class RawMapProbe:
    """A model loaded with its raw maps as outputs beside its own.

    The bytes that run are those of the file with a few more behind them.

    Args:
        artifact: A model, with weights inside or in a file beside it.

    Raises:
        ArtifactError: ONNX Runtime refuses the file, or there is no place for a copy of it.
    """

    def __init__(self, artifact: Artifact) -> None:
        raw = output_names("raw", num_levels=len(artifact.meta.spec.levels))
        self._artifact, self._raw = artifact, raw
        self._names = list(dict.fromkeys((*artifact.output_names, *raw)))
        self._has_thresholds = artifact.meta.output == "detections"
        self._runtime = session_with_raw(artifact)

    def run(self, images: Array, nms: NmsConfig | None = None) -> RawOutput:
        """Run the network on one batch.

        Args:
            images: As ``Session.run`` takes them.
            nms: Thresholds, for artifacts that detect; None for the defaults inside the file.

        Returns:
            Outputs by name; ``raw_0 ..`` are among them.

        Raises:
            ArtifactError: The graph does not take or give what its metadata tell.
        """
        from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415 - slow

        feed = {"images": images}
        if self._has_thresholds and nms is not None:
            feed |= {key: np.array([getattr(nms, key)], np.float32) for key in THRESHOLD_INPUTS}
        try:
            values = self._runtime.run(self._names, feed)
        except (state.Fail, state.InvalidArgument, state.RuntimeException) as error:
            raise self._changed(f"ONNX Runtime cannot run the file: {error}") from error
        outputs = dict(zip(self._names, values, strict=True))
        spec = self._artifact.meta.spec
        for name, level in zip(self._raw, spec.levels, strict=True):
            shape = (len(images), *spec.head_shape(level))
            if outputs[name].shape != shape:
                raise self._changed(f"{name} is {outputs[name].shape}, its metadata tell {shape}")
        return outputs

    def _changed(self, problem: str) -> ArtifactError:
        return ArtifactError(
            problem,
            where=str(self._artifact.path),
            hint="the graph was changed after it was written; export the model again",
        )


def session_with_raw(artifact: Artifact) -> Any:
    """Load a model whose raw maps are float32, with them as outputs beside its own.

    Raises:
        ArtifactError: ONNX Runtime refuses the file, or there is no place for a copy of it.
    """
    raw = output_names("raw", num_levels=len(artifact.meta.spec.levels))
    if set(raw) <= set(artifact.output_names):
        return inference_session(artifact.path, threads=granted_cores())
    with _copy_that_ends_in(artifact.path, raw) as path:
        return inference_session(path, threads=granted_cores())


@contextmanager
def _copy_that_ends_in(path: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Yield a copy of a model in which these values are outputs too.

    A protobuf message goes on where another one is appended to its bytes: lists are joined. So
    the weights are copied from disk to disk, and never parsed. The copy lies beside the file, where
    its weights are found if they are in a file of their own.

    Raises:
        ArtifactError: The copy cannot be written.
    """
    from onnx import GraphProto, ModelProto, TensorProto, helper  # noqa: PLC0415 - slow to load

    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names]
    suffix = ModelProto(graph=GraphProto(output=outputs)).SerializeToString()
    with ExitStack() as stack:
        try:
            copy = _empty_file_for(path, stack)
            with path.open("rb") as source, copy.open("wb") as file:
                shutil.copyfileobj(source, file, _COPY_BYTES)
                file.write(suffix)
        except OSError as error:
            raise ArtifactError(
                f"cannot write a copy to look inside: {error.strerror or error}",
                where=str(path),
                hint="free some space, or copy the model to where there is some",
            ) from error
        yield copy


def _empty_file_for(path: Path, stack: ExitStack) -> Path:
    """Return a new file that finds the external data of a model; it goes with the stack.

    Raises:
        OSError: There is no place to write to.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=".probe-", suffix=".onnx", dir=path.parent)
    except OSError:  # a read-only folder
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="yolor-deploy-")))
        data = path.with_name(f"{path.name}.data")
        if data.exists():
            shutil.copyfile(data, folder / data.name)
        return folder / "probe.onnx"
    os.close(handle)
    stack.callback(Path(name).unlink, missing_ok=True)
    return Path(name)
