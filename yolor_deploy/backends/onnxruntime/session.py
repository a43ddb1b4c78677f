"""An artifact loaded into ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.run_input import require_images, require_threshold
from yolor_deploy.core.runtime import Array, RawOutput

_ONLY_ERRORS = 3  # severity of ONNX Runtime's log; it warns of every input that has a default

# Else the threads of a session wait in a loop for some 25 ms after a run, on cores that the next
# stage, or another session, needs; runs one after the other take as long with it as without.
_ALWAYS = {"session.force_spinning_stop": "1"}


class OnnxRuntimeSession:
    """A ``core.runtime.Session`` of ONNX Runtime, on the CPU if not told otherwise.

    Args:
        artifact: A portable model.
        threads: Threads of one run, at least 1.
        runtime: What ``inference_session`` gave for another form of the same model, or a
            ``CudaRuntime``; its further outputs are returned too. None to load the artifact's own
            file on the CPU.
        shares_memory: As of ``inference_session``, for the artifact's own file.

    Attributes:
        shares_memory: As it was told.

    Raises:
        ArtifactError: ONNX Runtime refuses the file, or its inputs and outputs are not those that
            its metadata tell.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        threads: int,
        runtime: Any = None,
        shares_memory: bool = False,
    ) -> None:
        self._artifact = artifact
        self.shares_memory = shares_memory
        if runtime is None:
            runtime = inference_session(artifact.path, threads=threads, shares_memory=shares_memory)
            require_signature(runtime, artifact)
        self._runtime = runtime
        self._threads = threads
        self._names = [value.name for value in runtime.get_outputs()]

    @property
    def artifact(self) -> Artifact:
        """What was loaded."""
        return self._artifact

    @property
    def threads(self) -> int:
        """Threads of one run."""
        return self._threads

    @property
    def runtime(self) -> Any:
        """What runs the network: an ``InferenceSession``, or a ``CudaRuntime``; None if closed."""
        return self._runtime

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
        require_images(self._artifact, images.dtype, images.shape)
        feed = {"images": np.ascontiguousarray(images)}
        for name, value in zip(THRESHOLD_INPUTS, (score_threshold, iou_threshold), strict=True):
            if value is not None:
                require_threshold(self._artifact, name, value)
                feed[name] = np.array([value], np.float32)
        return dict(zip(self._names, self._runtime.run(self._names, feed), strict=True))

    def close(self) -> None:
        """Free the network; ``run`` cannot be called afterwards."""
        self._runtime = None


def inference_session(
    path: Path,
    *,
    threads: int,
    keeps_memory: bool = True,
    shares_memory: bool = False,
    settings: Mapping[str, str] | None = None,
    providers: Sequence[Any] = ("CPUExecutionProvider",),
    profile_prefix: Path | None = None,
) -> Any:
    """Load a model into ONNX Runtime, unchecked against its metadata.

    Args:
        path: An ONNX file; external data lies beside it.
        threads: Threads of one run, at least 1.
        keeps_memory: Whether memory of a run is kept for the next one.
        shares_memory: Whether what is kept is for the next run of any session that shares it, to
            the end of the process: for several that run one after the other.
        settings: Entries of the session's configuration.
        providers: Names, or names and options, of what computes it, the preferred one first.
        profile_prefix: Where the time of every node is written, with a time and ``.json`` behind;
            None for nowhere.

    Raises:
        ArtifactError: ONNX Runtime refuses the file.
    """
    import onnxruntime  # noqa: PLC0415 - takes a while to load
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415

    # One type for each way in which the runtime refuses a file; they share no base but Exception.
    refusals = (
        state.EPFail,
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
    options.enable_cpu_mem_arena = keeps_memory
    if shares_memory:
        _register_shared_memory()
        settings = {**(settings or {}), "session.use_env_allocators": "1"}
    _configure(options, settings or {}, profile_prefix)
    try:
        # Without its own second attempt, on the CPU, when a provider fails.
        return onnxruntime.InferenceSession(
            str(path), options, providers=list(providers), enable_fallback=0
        )
    except refusals as error:
        raise ArtifactError(
            f"ONNX Runtime {onnxruntime.__version__} refuses the file: {error}",
            where=str(path),
            hint="export the model again; keep the file of external data, if any, beside it",
        ) from error


@cache
def _register_shared_memory() -> None:
    """Register the memory that sessions share, which ONNX Runtime has once a process."""
    import onnxruntime  # noqa: PLC0415 - takes a while to load

    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    place = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    onnxruntime.create_and_register_allocator(place, None)


def _configure(options: Any, settings: Mapping[str, str], profile_prefix: Path | None) -> None:
    options.log_severity_level = _ONLY_ERRORS
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_prefix)
    for key, value in {**_ALWAYS, **settings}.items():
        options.add_session_config_entry(key, value)


def require_signature(runtime: Any, artifact: Artifact) -> None:
    """Check that inputs and outputs are those that the metadata tell.

    Raises:
        ArtifactError: They are not.
    """
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
