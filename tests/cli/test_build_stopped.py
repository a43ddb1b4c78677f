"""`yolor-deploy build` as a process that the user stops, or whose build process crashes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.backends import stand_in
from tests.exports import names_in, silent
from tests.graph.tiny_graphs import tiny_spec, written_artifact
from yolor_deploy import pipeline
from yolor_deploy.pipeline import ExportConfig

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
ROOT = Path(__file__).parents[2]
LIBRARY = "libtensorrt_rtx"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small detector, alone in its folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    return written_artifact(folder / "model.onnx", tiny_spec()).path


@contextmanager
def build_of(model: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command as a program, in a session of its own."""
    command = [sys.executable, "-m", "yolor_deploy", "build", str(model)]
    options = ["--backend", "tensorrt_rtx", "--compute-capability", "8.6"]
    with subprocess.Popen(
        [*command, *options],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def stand_in_environment(folder: Path, how: str) -> dict[str, str]:
    """Return what lets the program find the stand-in, and that behave as said."""
    stand_in.written(folder, "tensorrt_rtx")
    return {
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "STAND_IN": how,
        "STAND_IN_FILE": str(folder / "pid"),
    }


def waited_for(what: Callable[[], int | None], *, seconds: float = 60.0) -> int:
    """Wait for the number of a process."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        found = what()
        if found:
            return found
        time.sleep(0.01)
    pytest.fail("the build did not begin")


def number_in(file: Path) -> int | None:
    """Return the number in a file, if it is there."""
    return int(file.read_text(encoding="utf-8") or 0) if file.exists() else None


def lives(pid: int) -> bool:
    """Return whether a process is there, and not only its end to be told."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def assert_stopped(process: subprocess.Popen[str], child: int, model: Path) -> None:
    """Check that the command ended as one that was stopped, and left nothing behind."""
    _, stderr = process.communicate(timeout=9)  # less than a build that is stuck is given
    assert process.returncode == 130, stderr
    assert "stopped; nothing was left half-written" in stderr
    assert "Traceback" not in stderr
    assert not lives(child)
    assert names_in(model.parent) == ["model.onnx"]


def to_the_group(process: subprocess.Popen[str]) -> None:
    """Interrupt as a terminal does: every process of it."""
    os.killpg(process.pid, signal.SIGINT)


def to_the_program(process: subprocess.Popen[str]) -> None:
    """Interrupt as a supervisor does: the process that it knows."""
    process.send_signal(signal.SIGINT)


def end(process: subprocess.Popen[str]) -> None:
    """Ask the program to end, as a container does that is stopped."""
    process.terminate()


@pytest.mark.parametrize("interrupt", [to_the_group, to_the_program, end])
def test_interrupt_ends_the_build_and_leaves_nothing(
    model: Path, tmp_path: Path, interrupt: Callable[[subprocess.Popen[str]], None]
) -> None:
    """The build is asked to stop, and stops; exit code 130."""
    with build_of(model, **stand_in_environment(tmp_path, "slow")) as process:
        child = waited_for(lambda: number_in(tmp_path / "pid"))

        interrupt(process)

        assert_stopped(process, child, model)


def test_second_interrupt_does_not_wait_for_the_build(model: Path, tmp_path: Path) -> None:
    """A build that does not listen is ended, and is not left to run on."""
    with build_of(model, **stand_in_environment(tmp_path, "stuck")) as process:
        child = waited_for(lambda: number_in(tmp_path / "pid"))

        to_the_group(process)
        time.sleep(0.5)
        to_the_group(process)

        assert_stopped(process, child, model)


def test_crash_of_the_build_is_an_error(model: Path, tmp_path: Path) -> None:
    """The command lives on, and says how the other process ended."""
    with build_of(model, **stand_in_environment(tmp_path, "crash")) as process:
        _, stderr = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "error: TensorRT-RTX crashed: its process ended with signal SIGSEGV" in stderr
    assert names_in(model.parent) == ["model.onnx"]


@pytest.fixture(scope="module")
def large_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published model of drawn weights, whose build takes a while."""
    folder = tmp_path_factory.mktemp("large")
    config = ExportConfig("yolor_csp", size=(64, 64), output=folder / "model.onnx")
    return pipeline.export(config, note=silent).artifact.path


def child_with_library(process: subprocess.Popen[str]) -> int | None:
    """Return the process that a program has started, once it has loaded TensorRT-RTX."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for pid in children.read_text(encoding="utf-8").split() if children.exists() else ():
        try:
            maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
        except OSError:
            continue
        if LIBRARY in maps:
            return int(pid)
    return None


@pytest.mark.slow
@pytest.mark.tensorrt_rtx
@pytest.mark.parametrize("delay_s", [0.0, 0.5])
def test_interrupt_ends_a_build_of_tensorrt_rtx(
    large_model: Path, tmp_path: Path, delay_s: float
) -> None:
    """While it loads, and while it builds."""
    folder = tmp_path / "models"
    folder.mkdir()
    model = Path(shutil.copyfile(large_model, folder / "model.onnx"))
    with build_of(model) as process:
        child = waited_for(lambda: child_with_library(process))
        time.sleep(delay_s)

        to_the_group(process)

        assert_stopped(process, child, model)
