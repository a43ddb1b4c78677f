"""What is noted of a GPU, and what becomes of queries that it refuses."""

from __future__ import annotations

import logging
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tests.measure.latency.fake_nvml import HANDLE, PCI_BUS_ID, FakeNvml, T
from yolor_deploy.measure.latency import gpu_monitor
from yolor_deploy.measure.latency.gpu_monitor import GpuMonitor, open_gpu_monitor
from yolor_deploy.measure.latency.nvml import Nvml
from yolor_deploy.measure.latency.record import GpuCondition, GpuFacts

PID = 4711
NAMES = sorted(
    {name for name in vars(Nvml) if name.startswith("nvml")}
    | {name for name in Nvml.__annotations__ if name.lower().startswith("nvml")}
)
QUERIES = {name for name in NAMES if "Get" in name} | {"nvmlDeviceGetMemoryInfo_v2"}


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    """A folder of processes, as ``/proc`` is one, without any."""
    return tmp_path


def monitor_of(fake: FakeNvml, processes: Path = Path("/nowhere")) -> GpuMonitor:
    """Return a monitor of the card in the process ``PID``."""
    return GpuMonitor(HANDLE, nvml=fake, pid=PID, processes=processes)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_the_real_module(name: str) -> None:
    """What we call is there in NVIDIA's bindings, and so is what the fake stands in for."""
    real = pytest.importorskip("pynvml")

    assert hasattr(real, name)
    assert hasattr(FakeNvml(), name)


def test_fake_has_the_constants_of_the_real_module() -> None:
    """A clock, a sensor and a counter have the same number in both."""
    real = pytest.importorskip("pynvml")
    constants = [name for name in Nvml.__annotations__ if name != "NVMLError"]

    assert {name: getattr(FakeNvml(), name) for name in constants} == {
        name: getattr(real, name) for name in constants
    }


def test_reasons_have_the_bits_of_the_real_module() -> None:
    """Each bit that NVIDIA names has our name of it, idleness apart."""
    real = pytest.importorskip("pynvml")
    prefix = "nvmlClocksThrottleReason"
    theirs = {
        getattr(real, name): name[len(prefix) :].lower()
        for name in dir(real)
        if name.startswith(prefix) and not name.endswith(("All", "None", "UserDefinedClocks"))
    }

    ours = {bit: name.replace("_", "") for bit, name in gpu_monitor._REASONS.items()}

    assert theirs.pop(gpu_monitor._GPU_IDLE) == "gpuidle"
    assert ours == theirs


def test_real_module_without_a_driver_gives_no_monitor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The bindings raise what we expect of them where there is no NVML."""
    real = pytest.importorskip("pynvml")
    monkeypatch.setattr(real, "nvmlLib", None)
    monkeypatch.setattr(real, "CDLL", lambda _: (_ for _ in ()).throw(OSError("no such library")))

    with caplog.at_level(logging.WARNING):
        monitor = open_gpu_monitor(PCI_BUS_ID)

    assert monitor is None
    assert "NVML does not start: NVML Shared Library Not Found" in caplog.text


def test_machine_without_the_bindings_gives_no_monitor(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What to install is said."""
    monkeypatch.setitem(sys.modules, "pynvml", None)

    with caplog.at_level(logging.WARNING):
        monitor = open_gpu_monitor(PCI_BUS_ID)

    assert monitor is None
    assert "pip install 'yolor-deploy[cuda]'" in caplog.text


def test_gpu_that_nvml_does_not_know_gives_no_monitor(caplog: pytest.LogCaptureFixture) -> None:
    """The reason names the GPU, and NVML is ended again."""
    fake = FakeNvml()

    with caplog.at_level(logging.WARNING):
        monitor = open_gpu_monitor("0000:99:00.0", nvml=fake)

    assert monitor is None
    assert "NVML has no GPU 0000:99:00.0: Not Found" in caplog.text
    assert fake.started == 0


def test_monitor_is_of_the_gpu_at_the_address_and_ends_what_it_started() -> None:
    """The card is found by its place on the bus, and ``close`` ends NVML once."""
    fake = FakeNvml()
    monitor = open_gpu_monitor(PCI_BUS_ID, nvml=fake)
    assert monitor is not None
    assert monitor.facts().name == "NVIDIA H200"
    assert fake.started == 1

    monitor.close()

    assert fake.started == 0


def test_end_that_nvml_refuses_is_no_error() -> None:
    """A benchmark does not fail in its last line."""
    fake = FakeNvml(refused={"nvmlShutdown"})

    monitor_of(fake).close()

    assert fake.started == 0


def test_facts_are_in_the_units_of_the_record() -> None:
    """Versions are text, memory is bytes, clocks are MHz."""
    assert monitor_of(FakeNvml(is_divided=True)).facts() == GpuFacts(
        name="NVIDIA H200",
        uuid="GPU-1-2",
        driver="580.95.05",
        cuda="12.8",
        compute_capability="9.0",
        memory_bytes=141 << 30,
        max_sm_clock_mhz=1980.0,
        max_memory_clock_mhz=3201.0,
        ecc=True,
        mig=True,
    )


def test_condition_is_in_the_units_of_the_record() -> None:
    """Milliwatts become watts, millijoules joules, and per cent a part of one."""
    fake = FakeNvml(computing=[PID], uncorrected=3)

    assert monitor_of(fake).condition() == GpuCondition(
        sm_clock_mhz=1980.0,
        memory_clock_mhz=3201.0,
        temperature_c=61.0,
        power_w=642.5,
        power_limit_w=700.0,
        throttle_reasons=(),
        other_processes=(),
        utilisation=0.97,
        ecc_errors=3,
        energy_j=1234.5,
        memory_used_bytes=1000 << 20,
    )


def test_condition_is_asked_anew_each_time() -> None:
    """A clock that falls and a limit that is lowered are seen."""
    fake = FakeNvml()
    monitor = monitor_of(fake)
    monitor.condition()
    fake.sm_clock, fake.milliwatts_allowed = 1200, 350_000

    condition = monitor.condition()

    assert (condition.sm_clock_mhz, condition.power_limit_w) == (1200.0, 350.0)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        pytest.param("nvmlDeviceGetClockInfo", "sm_clock_mhz", id="clock"),
        pytest.param("nvmlDeviceGetClockInfo", "memory_clock_mhz", id="memory-clock"),
        pytest.param("nvmlDeviceGetPowerUsage", "power_w", id="power"),
        pytest.param("nvmlDeviceGetEnforcedPowerLimit", "power_limit_w", id="power-limit"),
        pytest.param("nvmlDeviceGetUtilizationRates", "utilisation", id="utilisation"),
        pytest.param("nvmlDeviceGetTotalEccErrors", "ecc_errors", id="ecc"),
        pytest.param("nvmlDeviceGetTotalEnergyConsumption", "energy_j", id="energy"),
    ],
)
def test_refused_query_is_not_known_and_the_others_are(name: str, field: str) -> None:
    """One query that a card does not support takes nothing else away."""
    condition = monitor_of(FakeNvml(refused={name})).condition()

    assert getattr(condition, field) is None
    assert condition.temperature_c == 61.0
    assert condition.memory_used_bytes == 1000 << 20


def test_card_that_refuses_everything_has_empty_facts_and_conditions() -> None:
    """A GPU that is lost in the middle of a benchmark is no error."""
    monitor = monitor_of(FakeNvml(refused=QUERIES, computing=[1, 2], reasons=0x4))

    facts, condition = monitor.facts(), monitor.condition()

    assert condition == GpuCondition()
    assert facts.name == "unknown GPU"
    assert {getattr(facts, f.name) for f in fields(facts) if f.name != "name"} == {None}


def test_driver_without_the_newer_functions_is_asked_by_the_older() -> None:
    """Temperature and reasons are known either way; memory with what the driver reserves."""
    fake = FakeNvml(reasons=0x4)
    fake.refused = {
        "nvmlDeviceGetTemperatureV",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetMemoryInfo_v2",
    }

    condition = monitor_of(fake).condition()

    assert condition.temperature_c == 61.0
    assert condition.throttle_reasons == ("sw_power_cap",)
    assert condition.memory_used_bytes == 1600 << 20


def test_bindings_without_the_newer_functions_are_asked_for_the_older(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A module that lacks a name is the same as a driver that lacks it."""
    monkeypatch.delattr(FakeNvml, "nvmlDeviceGetTemperatureV")
    monkeypatch.delattr(FakeNvml, "nvmlDeviceGetCurrentClocksEventReasons")

    condition = monitor_of(FakeNvml(reasons=0x20)).condition()

    assert condition.temperature_c == 61.0
    assert condition.throttle_reasons == ("sw_thermal_slowdown",)


@pytest.mark.parametrize(
    ("bits", "names"),
    [
        pytest.param(0x0, (), id="none"),
        pytest.param(0x1, (), id="idle-is-none"),
        pytest.param(0x1 | 0x4, ("sw_power_cap",), id="idle-and-power"),
        pytest.param(0x8 | 0x40, ("hw_slowdown", "hw_thermal_slowdown"), id="two"),
        pytest.param(0x2, ("applications_clocks_setting",), id="locked-clocks"),
        pytest.param(0x4 | 0x1000, ("sw_power_cap", "unknown_0x1000"), id="newer-than-we-know"),
    ],
)
def test_reasons_are_named(bits: int, names: tuple[str, ...]) -> None:
    """Every bit that is set has a name; that of an idle card is left out."""
    assert monitor_of(FakeNvml(reasons=bits)).condition().throttle_reasons == names


@pytest.mark.parametrize(
    ("computing", "drawing", "others", "only_draw"),
    [
        pytest.param([], [], (), (), id="none"),
        pytest.param([PID], [], (), (), id="only-this"),
        pytest.param([900, PID, 12], [], (12, 900), (), id="others-compute"),
        pytest.param([PID], [300], (), (300,), id="other-draws"),
        pytest.param([PID, 300], [300, PID], (300,), (), id="both-kinds-count-once"),
        pytest.param([77], [], (), (), id="one-under-a-foreign-number-is-this"),
        pytest.param([77, 78], [], (77, 78), (), id="which-of-several-is-this-is-not-known"),
    ],
)
def test_other_processes_are_those_that_are_not_this(
    processes: Path,
    computing: list[int],
    drawing: list[int],
    others: tuple[int, ...],
    only_draw: tuple[int, ...],
) -> None:
    """This process is left out, by its number or as the only one of a number nobody has here."""
    monitor = monitor_of(FakeNvml(computing=computing, drawing=drawing), processes)

    condition = monitor.condition()

    assert condition.other_processes == others
    assert condition.graphics_processes == only_draw


def test_single_process_that_the_system_shows_is_another(processes: Path) -> None:
    """A number that somebody has here is not ours under a foreign number."""
    (processes / "77").mkdir()

    monitor = monitor_of(FakeNvml(computing=[77]), processes)

    assert monitor.condition().other_processes == (77,)


def test_processes_that_the_driver_does_not_list_are_none() -> None:
    """Rights that are missing on a divided card are no error."""
    fake = FakeNvml(computing=[1, 2], drawing=[3, 4])
    fake.refused = {
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetGraphicsRunningProcesses",
    }

    assert monitor_of(fake).condition().other_processes == ()


class RecordingNvml(FakeNvml):
    """Notes what it is asked, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def _answer(self, name: str, answer: T, handle: object) -> T:
        self.asked.append(name)
        return super()._answer(name, answer, handle)


def test_what_falls_after_a_run_is_asked_first() -> None:
    """Clocks, reasons and power are of the moment; memory and processes take long."""
    fake = RecordingNvml()

    monitor_of(fake).condition()

    assert fake.asked[:3] == [
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetPowerUsage",
    ]
    assert fake.asked[-3:] == [
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetComputeRunningProcesses",
        "nvmlDeviceGetGraphicsRunningProcesses",
    ]
