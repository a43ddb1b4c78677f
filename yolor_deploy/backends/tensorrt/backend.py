"""TensorRT and TensorRT-RTX as runtimes of engines."""

from __future__ import annotations

from yolor_deploy.backends.tensorrt import Flavour, why_unavailable
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.runtime import Session


class TensorRTBackend:
    """One of the two.

    Args:
        name: Which.
    """

    def __init__(self, name: Flavour) -> None:
        self.name: str = name
        self._flavour: Flavour = name

    def why_unavailable(self) -> str | None:
        """Return why it cannot be used here, or None if it can be imported."""
        return why_unavailable(self._flavour)

    def open(
        self, artifact: Artifact, *, device: RuntimeDevice | None = None, trust: bool = False
    ) -> Session:
        """Load an engine; see ``open_engine``.

        Raises:
            ArtifactError: A model, or an engine that does not fit this machine, or is damaged.
            BackendUnavailableError: TensorRT, the GPU, or a library is missing.
            RunError: The GPU is short of memory.
        """
        if artifact.meta.kind != "engine":
            raise ArtifactError(
                f"a model for {self.name}, expected an engine",
                where=str(artifact.path),
                hint=f"run `yolor-deploy build {artifact.path.name} --backend {self.name}`; "
                "`eval` and `diff` check the model itself",
            )
        from yolor_deploy.backends.tensorrt.open import open_engine  # noqa: PLC0415 - rarer

        ordinal = device.index if device else 0
        return open_engine(artifact, self._flavour, ordinal=ordinal, trust=trust)
