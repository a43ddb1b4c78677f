"""ONNX Runtime on a GPU: how it is asked, and what is refused; numbers where there is a GPU."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnxruntime.capi import onnxruntime_pybind11_state as state

from tests.backends.cuda_provider import NO_DRIVER, FakeCuda, install
from tests.backends.test_onnxruntime import noise
from tests.graph.tiny_graphs import tiny_spec, written_artifact
from tests.sessions import FakeSession
from yolor_deploy import backends
from yolor_deploy.backends import open_for_accuracy, open_session
from yolor_deploy.backends.onnxruntime import cuda
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError, RunError
from yolor_deploy.core.runtime import Session
from yolor_deploy.cuda.driver import gpus

GPU = RuntimeDevice("cuda", 1)
CPU = RuntimeDevice("cpu")
LACK = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running "
    "Conv node. Name:'backbone.3' Status Message: bfc_arena.cc:358 void* "
    "onnxruntime::BFCArena::AllocateRawInternal(size_t) Failed to allocate memory for requested "
    "buffer of size 2081488896\n"
)
LIMIT = "Available memory of 1048576 is smaller than requested bytes of 3145728"


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A detector of one convolution a level, for one to eight images."""
    return written_artifact(tmp_path / "model.onnx", tiny_spec())


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """A runtime with CUDA, and two GPUs."""
    return install(monkeypatch)


def with_meta(artifact: Artifact, **changes: Any) -> Artifact:
    """Return the artifact with other metadata."""
    return replace(artifact, meta=replace(artifact.meta, **changes))


def test_session_asks_for_the_gpu_and_for_exact_float(
    artifact: Artifact, provider: FakeCuda
) -> None:
    """CUDA comes first, without TF32, without a race of algorithms, without a second attempt."""
    open_session(artifact, device=GPU)

    (providers,), (options,) = provider.providers, provider.options
    assert providers == [
        (
            "CUDAExecutionProvider",
            {"device_id": "1", "use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"},
        ),
        "CPUExecutionProvider",
    ]
    assert options == {"enable_fallback": 0}


@pytest.mark.usefixtures("provider")
def test_session_on_a_gpu_keeps_the_contract(artifact: Artifact) -> None:
    """Outputs, thresholds, refusals and closing are those of the session on the CPU."""
    expected = open_session(artifact).run(noise(2), score_threshold=0.5)
    session = open_session(artifact, device=GPU)

    outputs = session.run(noise(2), score_threshold=0.5)

    assert session.artifact is artifact
    assert tuple(outputs) == artifact.output_names
    for name, values in expected.items():
        np.testing.assert_array_equal(outputs[name], values)
    with pytest.raises(ArtifactError, match=r"expected float32 \[1 to 8, 3, 32, 64\]"):
        session.run(noise(9))
    with pytest.raises(ArtifactError, match="iou_threshold is 2"):
        session.run(noise(1), iou_threshold=2)
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(noise(1))


@pytest.mark.parametrize("device", [None, CPU], ids=str)
def test_session_without_a_gpu_asks_for_the_cpu(
    artifact: Artifact, provider: FakeCuda, device: RuntimeDevice | None
) -> None:
    """A GPU that is there is not taken unless it is asked for."""
    open_session(artifact, device=device)

    assert provider.providers == [["CPUExecutionProvider"]]


@pytest.mark.usefixtures("provider")
def test_session_on_a_gpu_checks_the_graph(artifact: Artifact) -> None:
    """Metadata that do not fit are found there too."""
    with pytest.raises(ArtifactError, match="its metadata tell"):
        open_session(with_meta(artifact, output="predictions", nms=None), device=GPU)


def test_package_without_cuda_is_refused(artifact: Artifact, provider: FakeCuda) -> None:
    """The package that `pip install` brings has no CUDA; the one line that changes it is told."""
    provider.available = ("AzureExecutionProvider", "CPUExecutionProvider")

    with pytest.raises(BackendUnavailableError, match="is built without CUDA") as caught:
        open_session(artifact, device=GPU)

    assert caught.value.where == "--device cuda:1"
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in caught.value.hint
    assert provider.providers == []


def test_machine_without_gpu_is_refused(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's own answer is told before anything is loaded."""
    provider = install(monkeypatch, NO_DRIVER)

    with pytest.raises(BackendUnavailableError, match="no NVIDIA driver"):
        open_session(artifact, device=GPU)

    assert provider.providers == []


def test_gpu_that_is_not_there_is_refused(artifact: Artifact, provider: FakeCuda) -> None:
    """Those that are there are listed."""
    with pytest.raises(BackendUnavailableError, match="there is no GPU 2, only cuda:0") as caught:
        open_session(artifact, device=RuntimeDevice("cuda", 2))

    assert "cuda:1 (NVIDIA L4)" in caught.value.problem
    assert provider.providers == []


def test_fallback_to_the_cpu_is_an_error(
    artifact: Artifact, provider: FakeCuda, capfd: pytest.CaptureFixture[str]
) -> None:
    """A session that says nothing and runs on the CPU is found out."""
    provider.taken = ("CPUExecutionProvider",)

    with pytest.raises(BackendUnavailableError, match="cannot use CUDA here") as caught:
        open_session(artifact, device=GPU)

    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in caught.value.hint
    assert capfd.readouterr() == ("", "")


def test_library_that_is_missing_is_named(
    artifact: Artifact, provider: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ONNX Runtime tells its log alone why it fell back; the loader of libraries is asked again."""
    provider.taken = ("CPUExecutionProvider",)
    (tmp_path / "capi").mkdir()
    (tmp_path / "capi" / "libonnxruntime_providers_cuda.so").touch()
    monkeypatch.setattr(onnxruntime, "__file__", str(tmp_path / "__init__.py"))
    reason = "libcublasLt.so.13: cannot open shared object file: No such file or directory"

    def refuse(path: str) -> None:
        assert path == str(tmp_path / "capi" / "libonnxruntime_providers_cuda.so")
        raise OSError(reason)

    monkeypatch.setattr(ctypes, "CDLL", refuse)

    with pytest.raises(BackendUnavailableError, match=reason):
        open_session(artifact, device=GPU)


def test_libraries_of_packages_are_loaded_in_silence(
    artifact: Artifact,
    provider: FakeCuda,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What ``preload_dlls`` prints would be in the middle of a command's result."""
    calls: list[str] = []
    severities: list[int] = []

    def preload() -> None:
        calls.append("preload")
        sys.stdout.write("Failed to load libcurand.so.10\n")

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload)
    monkeypatch.setattr(onnxruntime, "set_default_logger_severity", severities.append)

    open_session(artifact, device=GPU)

    assert calls == ["preload"]
    assert len(provider.providers) == 1
    assert severities == [4, 2]
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(RuntimeError("CUDA failure 35: driver version is insufficient"), id="cuda"),
        pytest.param(ValueError("Unknown provider option: use_tf32"), id="option"),
    ],
)
def test_provider_that_raises_is_unavailable(
    artifact: Artifact, provider: FakeCuda, error: Exception
) -> None:
    """A failure of the provider is not one of the file."""
    provider.open_error = error

    with pytest.raises(BackendUnavailableError, match=str(error)):
        open_session(artifact, device=GPU)


def test_network_that_does_not_fit_is_no_fault_of_the_file(
    artifact: Artifact, provider: FakeCuda
) -> None:
    """Weights are copied when the session is made; the type of the failure is that of any other."""
    provider.open_error = state.RuntimeException(LIMIT)

    with pytest.raises(RunError) as caught:
        open_session(artifact, device=GPU)

    assert caught.value.problem == (
        "not enough memory on the GPU: 3 MiB more were asked for, 1 MiB were free"
    )


def test_file_that_is_refused_stays_an_artifact_error(
    artifact: Artifact, provider: FakeCuda
) -> None:
    """What has nothing to do with the GPU is told as on the CPU."""
    provider.open_error = state.InvalidGraph("YolorNMS is not a registered function/op")

    with pytest.raises(ArtifactError, match="refuses the file: YolorNMS"):
        open_session(artifact, device=GPU)


def test_run_out_of_memory_tells_batch_node_and_size(
    artifact: Artifact, provider: FakeCuda
) -> None:
    """Whatever ONNX Runtime gives is there, without its own source lines."""
    session = open_session(artifact, device=GPU)
    provider.run_error = state.RuntimeException(LACK)

    with pytest.raises(RunError) as caught:
        session.run(noise(4))

    assert caught.value.problem == (
        "not enough memory on the GPU with a batch of 4 at Conv 'backbone.3': "
        "1,985 MiB more were asked for"
    )
    assert caught.value.where == f"{artifact.path} on cuda:1"
    assert "--batch" in caught.value.hint


def test_run_that_fails_otherwise_keeps_the_message(artifact: Artifact, provider: FakeCuda) -> None:
    """A GPU that failed is no bug of ours, and no lack of memory."""
    session = open_session(artifact, device=GPU)
    provider.run_error = state.EPFail("CUDA failure 700: an illegal memory access\n  was found")

    with pytest.raises(RunError, match="CUDA failure 700: an illegal memory access was found"):
        session.run(noise(1))


@pytest.mark.parametrize(
    ("precision", "target", "words"),
    [
        pytest.param("bf16", None, "CUDA kernels of bf16", id="bf16"),
        pytest.param("fp8", None, "CUDA kernels of fp8", id="fp8"),
        pytest.param("fp8+fp16", None, "CUDA kernels of fp8", id="fp8-fp16"),
        pytest.param("int8+bf16", None, "CUDA kernels of bf16", id="int8-bf16"),
        pytest.param("int8", "onnxruntime", "layout for the CPU", id="int8"),
    ],
)
def test_precision_that_a_gpu_lacks_is_refused(
    artifact: Artifact, provider: FakeCuda, precision: str, target: str | None, words: str
) -> None:
    """What would run on the CPU behind one's back is not opened, and what to do is told."""
    with pytest.raises(ArtifactError, match=words) as caught:
        open_session(with_meta(artifact, precision=precision, target=target), device=GPU)

    assert "--backend tensorrt" in caught.value.hint
    assert "--device cpu" in caught.value.hint
    assert provider.providers == []


def test_half_precision_runs_on_a_gpu(artifact: Artifact, provider: FakeCuda) -> None:
    """For accuracy too: there its roundings are real, and the reference form is not needed."""
    half = with_meta(artifact, precision="fp16")

    open_session(half, device=GPU)
    open_for_accuracy(half, device=GPU)

    assert [providers[0][0] for providers in provider.providers] == ["CUDAExecutionProvider"] * 2


def test_model_for_another_runtime_is_not_evaluated_on_a_gpu(
    artifact: Artifact, provider: FakeCuda
) -> None:
    """It runs there as an engine; without a device its reference form is right."""
    with pytest.raises(ArtifactError, match="as its engine only") as caught:
        open_for_accuracy(with_meta(artifact, precision="int8", target="tensorrt"), device=GPU)

    assert "leave out --device" in caught.value.hint
    assert provider.providers == []


class EngineBackend:
    """A runtime of engines that notes the device it is given."""

    name = "tensorrt"

    def __init__(self) -> None:
        self.devices: list[RuntimeDevice | None] = []
        self.trusts: list[bool] = []

    def why_unavailable(self) -> str | None:
        """Return None: it is there."""
        return None

    def open(
        self, artifact: Artifact, *, device: RuntimeDevice | None = None, trust: bool = False
    ) -> Session:
        """Return a session that is never run."""
        self.devices.append(device)
        self.trusts.append(trust)
        return FakeSession(artifact, lambda _images: {})


@pytest.mark.parametrize("for_accuracy", [False, True])
def test_engine_runs_on_gpus_only(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, *, for_accuracy: bool
) -> None:
    """A GPU is passed on to the backend, the CPU is refused."""
    engines = EngineBackend()
    monkeypatch.setitem(backends.BACKENDS, engines.name, engines)
    engine = with_meta(artifact, kind="engine", target=engines.name)
    opened = open_for_accuracy if for_accuracy else open_session

    opened(engine)
    opened(engine, device=GPU, trust=True)

    assert engines.devices == [None, GPU]
    assert engines.trusts == [False, True]
    with pytest.raises(ArtifactError, match="engine for tensorrt runs on a GPU"):
        opened(engine, device=CPU)


def test_opening_on_the_cpu_does_not_ask_the_driver() -> None:
    """The code for GPUs is loaded by those who want one."""
    code = (
        "import sys, yolor_deploy.backends;"
        "print('yolor_deploy.backends.onnxruntime.cuda' in sys.modules)"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "False"


@pytest.mark.gpu
def test_gpu_agrees_with_the_cpu(tmp_path: Path) -> None:
    """Float32 on a GPU is float32: raw maps agree to rounding, and so do the detections."""
    if cuda.PROVIDER not in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime is built without CUDA")
    for output in ("raw", "detections"):
        made = written_artifact(tmp_path / f"{output}.onnx", tiny_spec(), output=output)
        expected = open_session(made).run(noise(4))

        session = open_session(made, device=RuntimeDevice("cuda", len(gpus().gpus) - 1))
        outputs = session.run(noise(4))

        for name, values in expected.items():
            # Sums in another order; boxes are in pixels, up to 64. TF32 is off by 2e-3 or more.
            np.testing.assert_allclose(outputs[name], values, atol=1e-3, err_msg=name)
