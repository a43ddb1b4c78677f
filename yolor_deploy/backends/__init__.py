"""Runtimes that execute artifacts: one folder each, and the table of them.

Importing this package loads no runtime; a backend loads its own when it is asked for something.
"""

from __future__ import annotations

from yolor_deploy.backends.onnxruntime import OnnxRuntimeBackend
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError
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
            hint="give the portable model that it was built from",
        )
    return BACKENDS[name].open(artifact)
