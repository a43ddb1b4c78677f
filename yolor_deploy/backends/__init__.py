"""Runtimes that execute artifacts: one folder each, and the table of them.

Importing this package loads no runtime; a backend loads its own when it is asked for something.
"""

from __future__ import annotations

from yolor_deploy.backends.onnxruntime import (
    OnnxRuntimeBackend,
    OnnxRuntimeSession,
    granted_cores,
)
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError
from yolor_deploy.core.runtime import Backend, Session

BACKENDS: dict[str, Backend] = {
    OnnxRuntimeBackend.name: OnnxRuntimeBackend(),
}
"""Every backend by its name, which is also the ``target`` of an artifact made for it."""

DEFAULT_BACKEND = OnnxRuntimeBackend.name
"""Runs portable artifacts."""


def open_session(artifact: Artifact) -> Session:
    """Load an artifact into the runtime that it is for; a portable one into ONNX Runtime.

    Raises:
        ArtifactError: Made for a runtime that is not in ``BACKENDS``, or damaged.
        BackendUnavailableError: Its runtime is not installed.
    """
    name = artifact.meta.target or DEFAULT_BACKEND
    if name not in BACKENDS:
        raise ArtifactError(
            f"made for runtime {name!r}, expected one of {', '.join(map(repr, BACKENDS))}",
            where=str(artifact.path),
            hint="give the portable model that it was built from; `eval` and `diff` check this one",
        )
    return BACKENDS[name].open(artifact)


def open_for_accuracy(artifact: Artifact, *, with_raw: bool = False) -> Session:
    """Load an artifact such that it computes what it computes on its target, however slowly.

    A model that is for ONNX Runtime on the CPU runs as it is. Any other of fewer than 32 bits runs
    in its reference form: ONNX Runtime would leave out the roundings to half precision, and its
    8-bit kernels are not those of a GPU.

    Args:
        artifact: A model, not an engine.
        with_raw: Whether ``raw_0 ..`` are among the outputs of a run, whatever the model ends in.

    Raises:
        ArtifactError: An engine, or damaged.
        BackendUnavailableError: ONNX Runtime is not installed.
    """
    if artifact.meta.kind != "model":
        return open_session(artifact)
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
