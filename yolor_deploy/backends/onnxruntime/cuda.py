"""The CUDA provider of ONNX Runtime: a GPU, or an error that says why not, never the CPU instead.

``session.disable_cpu_ep_fallback`` stays off: it refuses every graph that has a single node on the
CPU. The head has some on purpose, as ONNX Runtime computes shapes there, and some of need: in
opset 17 it has no CUDA kernel that pads int32, which ``class_ids`` are.
Source: ``docs/OperatorKernels.md`` of ONNX Runtime, and its ``GetCpuPreferredNodes``.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yolor_deploy.backends.onnxruntime.cuda_messages import cause_of
from yolor_deploy.backends.onnxruntime.session import inference_session, require_signature
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError, RunError
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.runtime import Array
from yolor_deploy.cuda import driver

logger = logging.getLogger(__name__)

PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"
INSTALL = (
    "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxruntime-gpu[cuda,cudnn]'"
)
"""Both packages are the same module: one of them has to go, and takes files of the other along."""

_OTHER_RUNTIMES = (
    "build an engine of the float model with `yolor-deploy build --backend tensorrt`, or run this "
    "one with `--device cpu`"
)
_WITHOUT_KERNELS = ("bf16", "fp8")
_ONLY_FATAL, _WARNINGS = 4, 2  # severities of its log; the latter is what it starts with
_LIBRARY = "libonnxruntime_providers_cuda.so"


class CudaRuntime:
    """A network on a GPU, as ``OnnxRuntimeSession`` uses one; its failures are ours.

    Args:
        artifact: A portable model of a precision that ``require_kernels`` passes.
        device: Which GPU.
        threads: Threads of the few nodes that stay on the CPU, at least 1.

    Raises:
        ArtifactError: ONNX Runtime refuses the file, its inputs and outputs are not those of its
            metadata, or its precision has no kernels for a GPU.
        BackendUnavailableError: No such GPU, or ONNX Runtime cannot use it.
        RunError: The GPU has not enough memory for the network.
    """

    def __init__(self, artifact: Artifact, device: RuntimeDevice, *, threads: int) -> None:
        require_kernels(artifact)
        require_gpu(device)
        self._device = device
        self._where = f"{artifact.path} on {device.name}"
        self._session = session_on_gpu(artifact.path, device, threads=threads)
        require_signature(self._session, artifact)

    @property
    def device(self) -> RuntimeDevice:
        """Which GPU."""
        return self._device

    @property
    def inference_session(self) -> Any:
        """The session of ONNX Runtime; what it raises is not ours."""
        return self._session

    def get_outputs(self) -> Any:
        """Return what the network's outputs are, as ``InferenceSession`` does."""
        return self._session.get_outputs()

    def run(self, names: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        """Run the network; arrays are copied to the GPU, and back.

        Raises:
            RunError: The GPU has not enough memory, or failed.
        """
        return run_on_gpu(self._session, names, feed, where=self._where)


def require_kernels(artifact: Artifact) -> None:
    """Refuse a model that a GPU would not compute, or not as it is meant.

    Raises:
        ArtifactError: Its precision is bf16 or fp8, or 8 bits in the layout for the CPU.
    """
    meta = artifact.meta
    precision = Precision.from_name(meta.precision)
    lacking = [name for name in (precision.base, precision.quantised) if name in _WITHOUT_KERNELS]
    if lacking:
        raise ArtifactError(
            f"precision is {meta.precision}, and ONNX Runtime has CUDA kernels of {lacking[0]} for "
            "some operators only: it would compute the others on the CPU",
            where=str(artifact.path),
            hint=_OTHER_RUNTIMES,
        )
    if precision.quantised is not None and meta.target in {None, "onnxruntime"}:
        raise ArtifactError(
            f"precision is {meta.precision} in the layout for the CPU, whose integer kernels a GPU "
            "does not have",
            where=str(artifact.path),
            hint=_OTHER_RUNTIMES,
        )


def require_gpu(device: RuntimeDevice) -> None:
    """Check what can be known before anything is loaded on a GPU.

    Raises:
        BackendUnavailableError: ONNX Runtime is built without CUDA, or there is no such GPU.
    """
    import onnxruntime  # noqa: PLC0415 - takes a while to load

    where = f"--device {device.name}"
    if PROVIDER not in onnxruntime.get_available_providers():
        raise BackendUnavailableError(
            f"ONNX Runtime {onnxruntime.__version__} is built without CUDA",
            where=where,
            hint=f"run `{INSTALL}`",
        )
    found = driver.gpus()
    if not found.gpus:
        raise BackendUnavailableError(
            str(found.problem),
            where=where,
            hint="install NVIDIA's driver, run where there is a GPU, or leave out --device",
        )
    if device.index >= len(found.gpus):
        names = ", ".join(f"cuda:{index} ({gpu.name})" for index, gpu in enumerate(found.gpus))
        raise BackendUnavailableError(
            f"there is no GPU {device.index}, only {names}",
            where=where,
            hint="give one of them; CUDA_VISIBLE_DEVICES hides the others if it is set",
        )


def provider_options(device: RuntimeDevice) -> dict[str, str]:
    """Return how CUDA is used.

    TF32 would round the inputs of convolutions to 10 bits. Algorithms are chosen by cuDNN's rules
    and not by a race (EXHAUSTIVE, what ONNX Runtime does if not told): a race is run anew for each
    batch size, and its winner, and with it the last bits of the results, changes from run to run.
    """
    return {
        "device_id": str(device.index),
        "use_tf32": "0",
        "cudnn_conv_algo_search": "HEURISTIC",
    }


def run_on_gpu(
    session: Any, names: Sequence[str], feed: Mapping[str, Array], *, where: str
) -> list[Array]:
    """Run a network that ``session_on_gpu`` loaded.

    Raises:
        RunError: The GPU has not enough memory, or failed.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # noqa: PLC0415 - slow

    try:
        outputs: list[Array] = session.run(names, feed)
    except (state.Fail, state.EPFail, state.RuntimeException, RuntimeError) as error:
        batch = len(next(iter(feed.values())))
        raise failed_run(str(error), where=where, batch=batch) from error
    return outputs


def failed_run(text: str, *, where: str, batch: int | None = None) -> RunError:
    """Return our error for what ONNX Runtime said of a failure on a GPU.

    Args:
        text: Its message.
        where: What ran, and on which GPU.
        batch: Number of images; None while the network was loaded.
    """
    cause = cause_of(text)
    of_batch = "" if batch is None else f" with a batch of {batch}"
    if cause.is_memory:
        return RunError(
            f"not enough memory on the GPU{of_batch}{cause.detail}",
            where=where,
            hint="export with a smaller --batch or --size, or build with --fp16; `nvidia-smi` "
            "shows what else is on the GPU",
        )
    return RunError(
        f"the GPU failed{of_batch}{cause.detail}",
        where=where,
        hint="run `yolor-deploy doctor`: the libraries of CUDA and cuDNN must be those that this "
        "ONNX Runtime was built for",
    )


def session_on_gpu(path: Path, device: RuntimeDevice, *, threads: int) -> Any:
    """Load a model on a GPU that is there, unchecked against its metadata.

    Raises:
        ArtifactError: ONNX Runtime refuses the file.
        BackendUnavailableError: ONNX Runtime took the CPU instead.
        RunError: The GPU has not enough memory, or failed.
    """
    where = f"--device {device.name}"
    providers = ((PROVIDER, provider_options(device)), CPU_PROVIDER)
    try:
        with _quiet():
            session = inference_session(path, threads=threads, providers=providers)
    except ArtifactError as error:
        if cause_of(error.problem).is_device:
            raise failed_run(error.problem, where=f"{path} on {device.name}") from error
        raise
    except (RuntimeError, ValueError) as error:  # of the options, or of CUDA's initialisation
        raise _unusable(str(error), where) from error
    if PROVIDER not in session.get_providers():
        raise _unusable(_library_problem(), where)
    return session


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Load CUDA's libraries of Python packages, and keep what ONNX Runtime says off the screen.

    What it says of a provider that does not load goes to stderr and nowhere else, warnings of
    things that are well among it; ``_library_problem`` finds out the reason again.
    """
    import onnxruntime  # noqa: PLC0415 - takes a while to load

    said = io.StringIO()
    onnxruntime.set_default_logger_severity(_ONLY_FATAL)
    try:
        with contextlib.redirect_stdout(said):
            if hasattr(onnxruntime, "preload_dlls"):  # from 1.21
                onnxruntime.preload_dlls()
            yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)
        if said.getvalue():
            logger.debug("ONNX Runtime said: %s", said.getvalue().strip())


def _library_problem() -> str | None:
    """Return why the provider's library does not load; None if it does, or is not there.

    Only after ONNX Runtime has tried: if it were loaded before, it would not find its host.
    """
    import onnxruntime  # noqa: PLC0415 - takes a while to load

    path = Path(onnxruntime.__file__).parent / "capi" / _LIBRARY
    if not path.is_file():
        return None
    try:
        ctypes.CDLL(str(path))
    except OSError as error:
        return str(error)
    return None


def _unusable(reason: str | None, where: str) -> BackendUnavailableError:
    import onnxruntime  # noqa: PLC0415 - takes a while to load

    because = f": {reason.strip()}" if reason else ""
    return BackendUnavailableError(
        f"ONNX Runtime {onnxruntime.__version__} cannot use CUDA here{because}",
        where=where,
        hint=f"run `{INSTALL}`, which brings its CUDA and cuDNN, or install those that it asks "
        "for; `yolor-deploy doctor` tells which CUDA the driver runs",
    )
