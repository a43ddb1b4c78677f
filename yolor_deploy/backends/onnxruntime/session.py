"""An artifact loaded into ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import BatchRange

_ONLY_ERRORS = 3  # severity of ONNX Runtime's log; it warns of every input that has a default


class OnnxRuntimeSession:
    """A ``core.runtime.Session`` on the CPU.

    Args:
        artifact: A portable model.
        threads: Threads of one run, at least 1.
        runtime: What ``inference_session`` gave for another form of the same model; its further
            outputs are returned too. None to load the artifact's own file.

    Raises:
        ArtifactError: ONNX Runtime refuses the file, or its inputs and outputs are not those that
            its metadata tell.
    """

    def __init__(self, artifact: Artifact, *, threads: int, runtime: Any = None) -> None:
        self._artifact = artifact
        if runtime is None:
            runtime = inference_session(artifact, threads=threads)
            _require_signature(runtime, artifact)
        self._runtime = runtime
        self._names = [value.name for value in runtime.get_outputs()]

    @property
    def artifact(self) -> Artifact:
        """What was loaded."""
        return self._artifact

    def run(
        self,
        images: Array,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
    ) -> RawOutput:
        """Run the network on one batch; see ``core.runtime.Session.run``.

        Raises:
            ArtifactError: The array has another shape or type than the artifact takes, or a
                threshold is not within 0..1 or given to an artifact that does not detect.
            ValueError: The session is closed.
        """
        if self._runtime is None:
            raise ValueError(f"session of {self._artifact.path} is closed")
        feed = {"images": self._checked_images(images)}
        for name, value in zip(THRESHOLD_INPUTS, (score_threshold, iou_threshold), strict=True):
            if value is not None:
                feed[name] = self._checked_threshold(name, value)
        return dict(zip(self._names, self._runtime.run(self._names, feed), strict=True))

    def close(self) -> None:
        """Free the network; ``run`` cannot be called afterwards."""
        self._runtime = None

    def _checked_images(self, images: Array) -> Array:
        spec = self._artifact.meta.spec.input
        batch = spec.batch
        is_right = (
            images.dtype == np.dtype(spec.dtype)
            and images.ndim == len(spec.shape(1))
            and images.shape[1:] == spec.shape(1)[1:]
            and batch.minimum <= images.shape[0] <= batch.maximum
        )
        if not is_right:
            sides = ", ".join(map(str, spec.shape(1)[1:]))
            raise ArtifactError(
                f"images are {images.dtype} {list(images.shape)}, "
                f"expected {spec.dtype} [{_batch_text(batch)}, {sides}]",
                where=str(self._artifact.path),
                hint="letterbox the images to this size, or export the model for another",
            )
        return np.ascontiguousarray(images)

    def _checked_threshold(self, name: str, value: float) -> Array:
        output = self._artifact.meta.output
        if output != "detections":
            raise ArtifactError(
                f"{name} given to an artifact whose output is {output!r}, expected 'detections'",
                where=str(self._artifact.path),
                hint="export with `--output detections`, or leave the threshold out",
            )
        if not 0.0 <= value <= 1.0:  # NaN fails too
            raise ArtifactError(
                f"{name} is {value}, expected 0 to 1",
                where=str(self._artifact.path),
                hint="give a fraction, such as 0.25",
            )
        return np.array([value], np.float32)


def inference_session(
    artifact: Artifact,
    *,
    threads: int,
    keeps_memory: bool = True,
    settings: Mapping[str, str] | None = None,
) -> Any:
    """Load a model into ONNX Runtime, unchecked against its metadata.

    Args:
        artifact: Whose file is loaded.
        threads: Threads of one run, at least 1.
        keeps_memory: Whether memory of a run is kept for the next one.
        settings: Entries of the session's configuration.

    Raises:
        ArtifactError: ONNX Runtime refuses the file.
    """
    import onnxruntime  # noqa: PLC0415 - takes a while to load
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415

    # One type for each way in which the runtime refuses a file; they share no base but Exception.
    refusals = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ONLY_ERRORS
    options.enable_cpu_mem_arena = keeps_memory
    for key, value in (settings or {}).items():
        options.add_session_config_entry(key, value)
    try:
        return onnxruntime.InferenceSession(
            str(artifact.path), options, providers=["CPUExecutionProvider"]
        )
    except refusals as error:
        raise ArtifactError(
            f"ONNX Runtime {onnxruntime.__version__} refuses the file: {error}",
            where=str(artifact.path),
            hint="export the model again; keep the file of external data, if any, beside it",
        ) from error


def _require_signature(runtime: Any, artifact: Artifact) -> None:
    """Raise unless inputs and outputs are those that the metadata tell."""
    spec = artifact.meta.spec.input
    batch = spec.batch.maximum if spec.batch.is_static else None
    inputs = {
        value.name: (value.type, [side if isinstance(side, int) else None for side in value.shape])
        for value in [*runtime.get_inputs(), *runtime.get_overridable_initializers()]
    }
    outputs = tuple(value.name for value in runtime.get_outputs())
    element = "tensor(float)" if spec.dtype == "float32" else "tensor(uint8)"
    expected = {"images": (element, [batch, *spec.shape(1)[1:]])}
    if artifact.meta.output == "detections":
        expected |= dict.fromkeys(THRESHOLD_INPUTS, ("tensor(float)", [1]))
    if inputs != expected or outputs != artifact.output_names:
        raise ArtifactError(
            f"graph has inputs {inputs} and outputs {outputs}; "
            f"its metadata tell {expected} and {artifact.output_names}",
            where=str(artifact.path),
            hint="the graph was changed after it was written; export the model again",
        )


def _batch_text(batch: BatchRange) -> str:
    if batch.is_static:
        return str(batch.minimum)
    return f"{batch.minimum} to {batch.maximum}"
