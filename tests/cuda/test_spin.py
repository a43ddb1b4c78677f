"""Whether events and the host see work of known length, and the kernel that is that work."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cuda.host_device import OWN_STREAM, HostDevice
from yolor_deploy.cuda.spin import ASKED_MS, PTX, self_test, verdict

NAN = float("nan")


@pytest.mark.parametrize(
    ("seen", "passed"),
    [
        pytest.param((2.0, 5.0, 10.0), True, id="exact"),
        pytest.param((2.01, 5.02, 10.03), True, id="launch"),
        pytest.param((1.0, 4.1, 9.0), True, id="coarse-timer"),
        pytest.param((0.0, 0.0, 0.0), False, id="nothing"),
        pytest.param((0.004, 0.004, 0.004), False, id="the-launch-alone"),
        pytest.param((2.0, 5.0, 12.0), False, id="one-is-wrong"),
        pytest.param((2000.0, 5000.0, 10000.0), False, id="other-unit"),
        pytest.param((2.0, NAN, 10.0), False, id="nan"),
        pytest.param((2.0, 5.0), False, id="one-is-missing"),
    ],
)
def test_verdict(seen: tuple[float, ...], passed: bool) -> None:
    """Every piece has to be seen, within what the GPU's own timer resolves."""
    found = verdict((2.0, 5.0, 10.0), seen)

    assert found.passed is passed
    assert (found.clock, found.seen_ms) == ("device", seen)


def test_verdict_on_nothing_is_no_pass() -> None:
    """A test that was not made proves nothing."""
    assert not verdict((), ()).passed


def test_self_test_passes_where_events_see_the_work() -> None:
    """What the kernel is asked for is what the events tell, and then the clock of the host."""
    device = HostDevice()

    found = self_test(device, OWN_STREAM, clock_ns=device.host_clock_ns)

    assert found.passed
    assert found.asked_ms == (*ASKED_MS, *ASKED_MS)
    assert found.seen_ms == pytest.approx(found.asked_ms)
    assert "first by events, then by the host's clock" in found.note
    assert device.events
    assert all(event.is_closed for event in device.events)


def test_self_test_fails_where_events_see_nothing() -> None:
    """A clock that is read without waiting is found out."""
    device = HostDevice()
    device.is_blind = True

    found = self_test(device, OWN_STREAM, clock_ns=device.host_clock_ns)

    assert not found.passed
    assert found.seen_ms == pytest.approx((0.0, 0.0, 0.0, *ASKED_MS))


def test_self_test_fails_where_the_host_does_not_wait() -> None:
    """Whole runs are timed by its clock, and would look as short as their launches."""
    device = HostDevice()
    device.never_waits = True

    found = self_test(device, OWN_STREAM, clock_ns=device.host_clock_ns)

    assert not found.passed
    assert found.seen_ms == pytest.approx((*ASKED_MS, 0.0, 0.0, 0.0))


def test_self_test_fails_where_time_runs_otherwise() -> None:
    """Work that takes half as long again is not what was asked for."""
    device = HostDevice()
    device.slowness = 1.5

    assert not self_test(device, OWN_STREAM, clock_ns=device.host_clock_ns).passed


def test_self_test_without_its_kernel_says_why() -> None:
    """A driver that compiles nothing is no proof of the clock."""
    device = HostDevice()
    device.compiles = False

    found = self_test(device, OWN_STREAM)

    assert not found.passed
    assert found.note == "not made: spin is not compiled"


@pytest.mark.parametrize("arch", ["75", "80", "86", "87", "89", "90", "100", "120"])
def test_kernel_is_assembled_for_every_gpu(tmp_path: Path, arch: str) -> None:
    """The text is what drivers compile, from Turing to Blackwell."""
    ptxas = shutil.which("ptxas")
    if ptxas is None:
        pytest.skip("no ptxas: the CUDA toolkit is not installed")
    source = tmp_path / "spin.ptx"
    source.write_text(PTX, encoding="ascii")
    command = [ptxas, f"-arch=sm_{arch}", "--warning-as-error", str(source), "-o", "spin.cubin"]

    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    if "is not defined for option" in result.stderr:
        pytest.skip(f"this ptxas does not know sm_{arch}")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "spin.cubin").stat().st_size > 0
