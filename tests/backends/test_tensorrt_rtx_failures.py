"""What TensorRT-RTX refuses, how its process may end, and what is said of it."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.graph.tiny_graphs import tiny_spec, written_artifact
from yolor_deploy.backends import tensorrt
from yolor_deploy.backends.tensorrt.messages import first_cause
from yolor_deploy.backends.tensorrt.targets import supports
from yolor_deploy.backends.tensorrt_rtx.build import BuiltPlan, build_file, build_plan
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError, BuildError
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import BatchRange, InputSpec

NEEDED = pytest.mark.tensorrt_rtx
CUDA = (
    "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
    "/_src/checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient))"
)
KERNEL = np.ones((4, 3, 1, 1), np.float32)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A detector of one convolution a level."""
    return written_artifact(tmp_path / "model.onnx", tiny_spec())


def convolution(path: Path, kernel: Array, *, op_type: str = "Conv", batch: Any = 1) -> Path:
    """Write a file of one float32 convolution, or of another operator in its place."""
    images, raw = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, channels, 16, 16])
        for name, channels in (("images", 3), ("raw_0", 4))
    )
    node = helper.make_node(op_type, ["images", "kernel"], ["raw_0"], name="model.7.conv")
    weights = [numpy_helper.from_array(kernel, "kernel")]
    graph = helper.make_graph([node], "net", [images], [raw], weights)
    opset = helper.make_operatorsetid("", 17)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


def build(path: Path, precision: str = "fp32", *targets: str, batch: int = 1) -> BuiltPlan:
    """Build a file for 16 x 16 pixels as it is, for SM 8.0 if none are given."""
    return build_file(
        path,
        image=InputSpec(16, 16, batch=BatchRange(1, 1, batch)),
        precision=Precision.from_name(precision),
        compute_capabilities=targets or ["8.0"],
        timeout_s=60,
    )


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that runs instead of the interpreter of the child process."""
    script = tmp_path / "python"
    script.touch()
    script.chmod(0o755)
    tensorrt.load_module("tensorrt_rtx")  # by this process, whose interpreter stays what it is
    monkeypatch.setattr(sys, "executable", str(script))
    return script


@NEEDED
def test_well_typed_file_builds(tmp_path: Path) -> None:
    """What the refused files below are made from is not refused."""
    result = build(convolution(tmp_path / "net.onnx", KERNEL))

    assert result.report.layers > 0
    assert result.report.inputs == {"images": ["FLOAT", [1, 3, 16, 16]]}
    assert result.report.outputs == {"raw_0": ["FLOAT", [1, 4, 16, 16]]}
    assert result.plan


@NEEDED
def test_operator_of_mixed_types_is_named(tmp_path: Path) -> None:
    """A half kernel on a float image is refused; nothing is said of CUDA, which is not there."""
    path = convolution(tmp_path / "mixed.onnx", KERNEL.astype(np.float16))

    with pytest.raises(BuildError) as error:
        build(path)

    assert "must be of same type" in error.value.problem
    assert "Half" in error.value.problem
    assert error.value.where == "mixed.onnx, Conv model.7.conv"
    assert "cuda" not in str(error.value).lower()
    assert "_src" not in str(error.value)


@NEEDED
def test_unknown_operator_is_named(tmp_path: Path) -> None:
    """TensorRT-RTX looks for a plugin, and has none."""
    with pytest.raises(BuildError, match="Plugin not found") as error:
        build(convolution(tmp_path / "net.onnx", KERNEL, op_type="Convolve"))

    assert error.value.where == "net.onnx, Convolve model.7.conv"


@NEEDED
@pytest.mark.parametrize("content", [b"", b"hello" * 100, bytes(range(256))])
def test_garbage_is_refused(tmp_path: Path, artifact: Artifact, content: bytes) -> None:
    """Neither as a file nor behind the back of an artifact does it become a plan."""
    path = tmp_path / "garbage.onnx"
    path.write_bytes(content)

    with pytest.raises(BuildError, match="refuses the network") as error:
        build(path)
    with pytest.raises(ArtifactError, match=r"not a readable ONNX file|0 raw maps, .* tell 2"):
        build_plan(replace(artifact, path=path), compute_capabilities=["8.0"])

    assert error.value.where == "garbage.onnx"


@NEEDED
def test_type_that_a_target_lacks_is_found_by_the_builder_too(tmp_path: Path) -> None:
    """The table of capabilities says what TensorRT-RTX says."""
    one = np.ones((), np.float32)
    path = convolution(tmp_path / "net.onnx", KERNEL)
    model = onnx.load(path)
    model.opset_import[0].version = 19
    model.graph.node[0].input[0] = "rounded"
    zero = helper.make_tensor("zero", TensorProto.FLOAT8E4M3FN, [], [0.0])
    model.graph.initializer.extend([numpy_helper.from_array(one, "scale"), zero])
    for name, source, result in (
        ("QuantizeLinear", "images", "quantised"),
        ("DequantizeLinear", "quantised", "rounded"),
    ):
        node = helper.make_node(name, [source, "scale", "zero"], [result], name=f"/{name}")
        model.graph.node.insert(len(model.graph.node) - 1, node)
    onnx.save(model, path)

    with pytest.raises(BuildError, match=r"sm80.*fp8_e4m3"):
        build(path, "fp32", "8.0", "8.9")
    with pytest.raises(BuildError, match=r"8\.0 has no fp8, which begins with 8\.9"):
        build(path, "fp8", "8.0", "8.9")

    assert build(path, "fp8", "8.9").plan


@NEEDED
@pytest.mark.parametrize(
    ("precision", "targets", "problem"),
    [
        pytest.param("fp32", ["9.0"], r"does not build for '9\.0', only for 7\.5, 8\.0", id="9.0"),
        pytest.param("fp32", ["8.6", "sm89"], "'sm89'", id="spelling"),
        pytest.param("fp32", ["current"], "'current'", id="current"),
        pytest.param("fp32", [], "no compute capability", id="none"),
        pytest.param("int8+bf16", ["8.0", "7.5"], r"7\.5 has no bf16", id="bf16"),
        pytest.param("fp8+fp16", ["8.9", "8.6"], r"8\.6 has no fp8", id="fp8"),
    ],
)
def test_impossible_targets_are_refused_first(
    artifact: Artifact, interpreter: Path, precision: str, targets: list[str], problem: str
) -> None:
    """No process is started for a GPU that cannot run the result."""
    interpreter.unlink()
    meta = replace(artifact.meta, precision=precision, target="tensorrt")

    with pytest.raises(BuildError, match=problem) as error:
        build_plan(replace(artifact, meta=meta), compute_capabilities=targets)

    assert error.value.where == "--compute-capability"


@NEEDED
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("script", "problem", "hint"),
    [
        pytest.param("kill -KILL $$", "ended with signal SIGKILL", "memory", id="killed"),
        pytest.param("kill -SEGV $$", "ended with signal SIGSEGV", "report", id="crashed"),
        pytest.param("echo gone >&2; exit 3", r"exit status 3 \(gone\)", "report", id="ended"),
        pytest.param("echo full >&2; exit 74", "temporary files: full", "TMPDIR", id="disk-full"),
        pytest.param("exec sleep 60", r"not finished within 0\.2 s", "more time", id="hangs"),
    ],
)
def test_end_of_the_child_is_told(
    artifact: Artifact, interpreter: Path, script: str, problem: str, hint: str
) -> None:
    """A process that crashes, is killed or hangs becomes an error with its cause."""
    interpreter.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")

    with pytest.raises(BuildError, match=problem) as error:
        build_plan(artifact, compute_capabilities=["8.0"], timeout_s=0.2 if "60" in script else 60)

    assert hint in error.value.hint


@NEEDED
@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell")
def test_bug_in_the_child_keeps_its_traceback(artifact: Artifact, interpreter: Path) -> None:
    """What is not the user's fault is not dressed up as it."""
    interpreter.write_text("#!/bin/sh\necho Traceback: KeyError >&2; exit 1\n", encoding="utf-8")

    with pytest.raises(RuntimeError, match="Traceback: KeyError"):
        build_plan(artifact, compute_capabilities=["8.0"])


@NEEDED
def test_child_ignores_modules_in_the_folder_of_the_user(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that happens to be called like a module is not run."""
    for name in ("tensorrt_rtx", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('run')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    plan = build_plan(artifact, compute_capabilities=["8.0"], timeout_s=60)

    assert plan


@pytest.mark.parametrize(("kind", "target"), [("engine", "tensorrt"), ("model", "onnxruntime")])
def test_artifacts_for_others_are_refused(artifact: Artifact, kind: Any, target: str) -> None:
    """A layout for another runtime would be refused late, or run slowly."""
    meta = replace(artifact.meta, kind=kind, target=target)

    with pytest.raises(ArtifactError, match=f"{kind} for {target}") as error:
        build_plan(replace(artifact, meta=meta), compute_capabilities=["8.0"])

    assert "--target tensorrt" in error.value.hint


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        pytest.param(None, "No module named", id="missing"),
        pytest.param("raise OSError('libtensorrt_rtx.so.1')", "libtensorrt_rtx", id="library"),
        pytest.param("raise ValueError('damaged')", "damaged", id="damaged"),
        pytest.param("", "no Builder", id="another-module"),
        pytest.param("Builder = 1", "no ComputeCapability", id="not-rtx"),
    ],
)
def test_missing_or_broken_package_says_how_to_get_it(
    artifact: Artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str | None,
    reason: str,
) -> None:
    """Whatever its import raises is a reason, and the hint installs it."""
    name = f"rtx_of_{tmp_path.name.replace('-', '_')}"
    if code is not None:
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(tensorrt._MODULES, "tensorrt_rtx", (name,))

    with pytest.raises(BackendUnavailableError, match=reason) as error:
        build_plan(artifact, compute_capabilities=["8.0"])

    assert "pip install" in error.value.hint
    assert "tensorrt-rtx" in error.value.hint


@pytest.mark.parametrize(
    ("precision", "supporting"),
    [
        ("fp32", ["7.5", "8.0", "8.6", "8.9", "12.0"]),
        ("int8+fp16", ["7.5", "8.0", "8.6", "8.9", "12.0"]),
        ("bf16", ["8.0", "8.6", "8.9", "12.0"]),
        ("fp8", ["8.9", "12.0"]),
        ("fp8+bf16", ["8.9", "12.0"]),
    ],
)
def test_capabilities_have_the_types_of_a_precision(precision: str, supporting: list[str]) -> None:
    """12.0 comes after 8.9."""
    wanted = Precision.from_name(precision)

    found = [text for text in ("7.5", "8.0", "8.6", "8.9", "12.0") if supports(wanted, text)]

    assert found == supporting


@pytest.mark.parametrize(
    ("messages", "cause"),
    [
        pytest.param(
            ["Invalid Node - a\nA::b: Error Code 4: API Usage Error (a: x. In f at /s/c.cpp:8)"],
            "a: x",
            id="node",
        ),
        pytest.param([CUDA, "plain text"], "plain text", id="cuda-first"),
        pytest.param(
            ["B: Error Code 1: Myelin ([pass.cpp:1: run] Cannot compile for sm80)"],
            "[pass.cpp:1: run] Cannot compile for sm80",
            id="builder",
        ),
        pytest.param([CUDA], CUDA, id="cuda-only"),
        pytest.param(["", "\n"], "no reason is given", id="nothing"),
    ],
)
def test_first_cause_is_what_a_reader_needs(messages: list[str], cause: str) -> None:
    """Codes, source positions and what only follows are left out, but never everything."""
    assert first_cause(messages) == cause
