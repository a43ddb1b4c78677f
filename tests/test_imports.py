"""What starting costs: heavy libraries are loaded by the commands that use them."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest

import yolor_deploy.core

TENSORRT_RTX = ("tensorrt_rtx", "tensorrt_rtx_bindings", "tensorrt_rtx_libs")
HEAVY = (
    *("torch", "onnx", "onnx_ir", "onnxruntime", "numpy", "safetensors", "pycocotools"),
    *("matplotlib", "cuda", "pynvml"),
    *TENSORRT_RTX,
)
CORE = sorted(module.name for module in pkgutil.iter_modules(yolor_deploy.core.__path__))


def modules_after(code: str) -> set[str]:
    """Run code in a fresh process, and return the top-level modules that it loaded."""
    report = (
        "import json, sys; "
        "print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    command = [sys.executable, "-c", f"{code}\n{report}"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(result.stdout.splitlines()[-1]))


def without_exit(*arguments: str) -> str:
    """Return code that runs the command line, and goes on."""
    return (
        "import sys\n"
        "from yolor_deploy.cli import main\n"
        f"sys.argv = ['yolor-deploy', *{list(arguments)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
    )


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import yolor_deploy", id="package"),
        pytest.param("import yolor_deploy.cli", id="cli"),
        pytest.param(without_exit("--help"), id="help"),
        pytest.param(without_exit("--version"), id="version"),
        *(
            pytest.param(without_exit(command, "--help"), id=f"{command}-help")
            for command in (
                *("export", "build", "tune", "verify", "eval", "diff"),
                *("bench", "detect", "info", "models", "doctor"),
            )
        ),
        pytest.param(without_exit("models", "--json"), id="models"),
    ],
)
def test_command_line_starts_without_heavy_libraries(code: str) -> None:
    """Neither help nor the list of models loads a tensor library."""
    loaded = modules_after(code)

    assert "yolor_deploy" in loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("module", CORE)
def test_core_needs_no_torch_and_no_onnx(module: str) -> None:
    """The vocabulary runs on a target that has NumPy and Pillow."""
    loaded = modules_after(f"import yolor_deploy.core.{module}")

    assert not loaded & {"torch", "onnx", "onnx_ir", "onnxruntime", "typer", "rich"}


def test_detector_needs_no_torch() -> None:
    """A machine that only runs what was exported has no torch."""
    loaded = modules_after("from yolor_deploy import Detector; import yolor_deploy.backends")

    assert "torch" not in loaded


def test_pipeline_loads_torch_only_when_it_runs() -> None:
    """Options can be checked before torch is there."""
    loaded = modules_after("import yolor_deploy.pipeline, yolor_deploy.verification")

    assert not loaded & {"torch", "onnx", "onnx_ir", "onnxruntime"}


def test_tensorrt_rtx_is_loaded_only_when_asked_for() -> None:
    """Its libraries take 230 MB, which its builder need not load to be there."""
    package = "yolor_deploy.backends.tensorrt"

    loaded = modules_after(f"import yolor_deploy.pipeline, {package}_rtx.build, {package}.child")

    assert not loaded & {"torch", "onnx", "onnx_ir", "onnxruntime", *TENSORRT_RTX}


@pytest.mark.tensorrt_rtx
def test_tensorrt_rtx_is_loaded_by_the_question_whether_it_is_there() -> None:
    """The names that the test above looks for are those of its modules."""
    code = "from yolor_deploy.backends import tensorrt_rtx; tensorrt_rtx.why_unavailable()"

    assert modules_after(code) >= {"tensorrt_rtx_bindings", "tensorrt_rtx_libs"}


def test_export_without_torch_says_how_to_get_it() -> None:
    """The base install reads no checkpoints, and says so."""
    code = (
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'torch' else real(name, *a)\n"
        "from yolor_deploy.core.errors import BackendUnavailableError\n"
        "from yolor_deploy.source import load_checkpoint\n"
        "try:\n    load_checkpoint('yolor-p6')\n"
        "except BackendUnavailableError as error:\n    assert '[export]' in error.hint\n"
        "else:\n    raise AssertionError\n"
    )

    assert "torch" not in modules_after(code)
