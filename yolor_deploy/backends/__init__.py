"""Runtimes that execute artifacts: one folder each, and the table of them.

Importing this package loads no runtime; a backend loads its own when it is asked for something.
"""

from __future__ import annotations

from pathlib import Path

from yolor_deploy.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession
from yolor_deploy.backends.tensorrt.backend import TensorRTBackend
from yolor_deploy.core.artifact import Artifact, is_engine, looks_like_plan
from yolor_deploy.core.cgroup import granted_cores
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError
from yolor_deploy.core.runtime import Backend, Instruments, Session

BACKENDS: dict[str, Backend] = {
    OnnxRuntimeBackend.name: OnnxRuntimeBackend(),
    "tensorrt": TensorRTBackend("tensorrt"),
    "tensorrt_rtx": TensorRTBackend("tensorrt_rtx"),
}
"""Every backend by its name, which is also the ``target`` of an artifact made for it."""

DEFAULT_BACKEND = OnnxRuntimeBackend.name
"""Runs portable artifacts."""


def read_artifact(path: Path, *, trust: bool = False) -> Artifact:
    """Read the metadata of an artifact.

    Args:
        path: A model or an engine.
        trust: Whether a plan without passport is taken too, as one of the model beside it.

    Raises:
        ArtifactError: Not a file that this project wrote, or damaged.
    """
    if trust and looks_like_plan(path) and not is_engine(path):
        from yolor_deploy.backends.tensorrt.open import untrusted_artifact  # noqa: PLC0415 - rare

        return untrusted_artifact(path)
    return Artifact.read(path)


def open_session(
    artifact: Artifact, *, device: RuntimeDevice | None = None, trust: bool = False
) -> Session:
    """Load an artifact into the runtime that it is for; a portable one into ONNX Runtime.

    Args:
        artifact: A model or an engine.
        device: What it is to run on; None for the runtime's own choice, which is the CPU for a
            portable model.
        trust: Whether an engine is opened that is not the one of its passport, or has none.

    Raises:
        ArtifactError: Made for a runtime that is not in ``BACKENDS``, or not for the device, or
            damaged.
        BackendUnavailableError: Its runtime is not installed, or cannot use the device.
        RunError: The device has not enough memory.
    """
    name = artifact.meta.target or DEFAULT_BACKEND
    if name not in BACKENDS:
        raise ArtifactError(
            f"made for runtime {name!r}, expected one of {', '.join(map(repr, BACKENDS))}",
            where=str(artifact.path),
            hint="give the portable model that it was built from; `eval` and `diff` check this one",
        )
    if artifact.meta.kind == "engine" and device is not None and device.kind == "cpu":
        raise ArtifactError(
            f"an engine for {name} runs on a GPU, and --device is cpu",
            where=str(artifact.path),
            hint="leave out --device, or give the portable model that it was built from",
        )
    return BACKENDS[name].open(artifact, device=device, trust=trust)


def instruments_for(session: Session) -> Instruments:
    """Return what a session that ``open_session`` gave offers to a benchmark.

    Close them before the session.
    """
    if isinstance(session, OnnxRuntimeSession):
        from yolor_deploy.backends.onnxruntime.instruments import (  # noqa: PLC0415 - late
            OnnxRuntimeInstruments,
        )

        return OnnxRuntimeInstruments(session)
    from yolor_deploy.backends.tensorrt.instruments import TensorRTInstruments  # noqa: PLC0415
    from yolor_deploy.backends.tensorrt.session import TensorRTSession  # noqa: PLC0415

    if not isinstance(session, TensorRTSession):
        raise TypeError(f"a {type(session).__name__} has no instruments")
    return TensorRTInstruments(session)


def open_in_turns(
    artifact: Artifact, *, device: RuntimeDevice | None = None, trust: bool = False
) -> Session:
    """Load an artifact as ``open_session`` does, one of several whose runs take turns.

    On the CPU they share the memory of their runs, which is that of the largest then, not the sum.

    Args:
        artifact: A model or an engine.
        device: As of ``open_session``.
        trust: As of ``open_session``.

    Raises:
        ArtifactError, BackendUnavailableError, RunError: As of ``open_session``.
    """
    backend = BACKENDS[DEFAULT_BACKEND]
    on_cpu = device is None or device.kind == "cpu"
    is_own = artifact.meta.kind == "model" and artifact.meta.target in {None, DEFAULT_BACKEND}
    if on_cpu and is_own and isinstance(backend, OnnxRuntimeBackend):
        return backend.open(artifact, device=device, shares_memory=True)
    return open_session(artifact, device=device, trust=trust)


def open_for_accuracy(
    artifact: Artifact,
    *,
    with_raw: bool = False,
    device: RuntimeDevice | None = None,
    trust: bool = False,
) -> Session:
    """Load an artifact such that it computes what it computes on its target, however slowly.

    A model that is for ONNX Runtime on the CPU runs as it is. Any other of fewer than 32 bits runs
    in its reference form: ONNX Runtime would leave out the roundings to half precision, and its
    8-bit kernels are not those of a GPU. On a GPU that is asked for, it runs as it is too.

    Args:
        artifact: A model, not an engine.
        with_raw: Whether ``raw_0 ..`` are among the outputs of a run, whatever the model ends in;
            not on a GPU.
        device: As of ``open_session``.
        trust: As of ``open_session``.

    Raises:
        ArtifactError: An engine, or damaged.
        BackendUnavailableError: ONNX Runtime is not installed.
    """
    if artifact.meta.kind != "model":
        return open_session(artifact, device=device, trust=trust)
    if device is not None and device.kind == "cuda":
        _require_own_target(artifact)
        return open_session(artifact, device=device)
    reason = BACKENDS[DEFAULT_BACKEND].why_unavailable()
    if reason is not None:
        raise BackendUnavailableError(
            reason, where="backend onnxruntime", hint="run `pip install onnxruntime`"
        )
    from yolor_deploy.backends.onnxruntime.probe import session_with_raw  # noqa: PLC0415 - late
    from yolor_deploy.backends.onnxruntime.reference import open_reference  # noqa: PLC0415 - onnx

    meta = artifact.meta
    is_native = (meta.precision, meta.target) == ("fp32", None) or meta.target == DEFAULT_BACKEND
    if not is_native:
        return open_reference(artifact, with_raw=with_raw)
    if not with_raw:
        return open_session(artifact)
    runtime = session_with_raw(artifact)
    return OnnxRuntimeSession(artifact, threads=granted_cores(), runtime=runtime)


def _require_own_target(artifact: Artifact) -> None:
    """Refuse a model that runs on a GPU as an engine of another runtime, and in no other way."""
    target = artifact.meta.target
    if target not in {None, DEFAULT_BACKEND}:
        raise ArtifactError(
            f"a model for {target} runs on a GPU as its engine only",
            where=str(artifact.path),
            hint="leave out --device: then every rounding is computed on the CPU; or build the "
            "engine and give that",
        )
