"""ONNX Runtime: runs what `export` wrote as it is; on the CPU it is the numeric reference."""

from __future__ import annotations

from yolor_deploy.backends.onnxruntime.session import OnnxRuntimeSession
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.cgroup import granted_cores
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError

__all__ = ["OnnxRuntimeBackend", "OnnxRuntimeSession"]


class OnnxRuntimeBackend:
    """The CPU provider of ONNX Runtime, and its CUDA provider where that is asked for."""

    name = "onnxruntime"

    def why_unavailable(self) -> str | None:
        """Return why ONNX Runtime cannot be used here, or None if it can."""
        try:
            import onnxruntime  # noqa: F401, PLC0415 - takes a while to load
        except ImportError as error:  # also raised when a shared library is missing
            return f"onnxruntime cannot be imported: {error}"
        return None

    def open(
        self,
        artifact: Artifact,
        *,
        device: RuntimeDevice | None = None,
        trust: bool = False,
        threads: int | None = None,
        shares_memory: bool = False,
    ) -> OnnxRuntimeSession:
        """Load a portable artifact.

        Args:
            artifact: A ``model``; external data lies beside its file.
            device: None for the CPU.
            trust: Has no meaning here: a model is no code.
            threads: Threads of one run; None for the cores granted to this process.
            shares_memory: Whether sessions on the CPU share the memory of their runs; see
                ``inference_session``.

        Raises:
            ArtifactError: An engine of another runtime, or a file that ONNX Runtime refuses, or
                whose inputs and outputs are not those of its metadata, or whose precision the
                device does not have.
            BackendUnavailableError: ONNX Runtime is not installed, does not load, or cannot use
                the device.
            RunError: The device has not enough memory.
        """
        del trust
        reason = self.why_unavailable()
        if reason is not None:
            raise BackendUnavailableError(
                reason, where="backend onnxruntime", hint="run `pip install onnxruntime`"
            )
        if artifact.meta.kind != "model" or artifact.meta.target not in {None, self.name}:
            raise ArtifactError(
                f"{artifact.meta.kind} for {artifact.meta.target}, expected a portable model",
                where=str(artifact.path),
                hint="give the ONNX file that `yolor-deploy export` wrote",
            )
        threads = threads or granted_cores()
        if device is None or device.kind == "cpu":
            return OnnxRuntimeSession(artifact, threads=threads, shares_memory=shares_memory)
        from yolor_deploy.backends.onnxruntime.cuda import CudaRuntime  # noqa: PLC0415 - rarer

        runtime = CudaRuntime(artifact, device, threads=threads)
        return OnnxRuntimeSession(artifact, threads=threads, runtime=runtime)
