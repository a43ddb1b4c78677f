"""Stands in for ``pynvml``: a card whose every answer a test can set, and take away."""

# ruff: noqa: N802, N803, N815 - names are NVIDIA's

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
PCI_BUS_ID = "0000:0b:00.0"
HANDLE = "handle of 0b"


class FakeNvmlError(Exception):
    """Stands in for ``pynvml.NVMLError`` and all below it."""


@dataclass(frozen=True)
class Usage:
    """Stands in for ``c_nvmlUtilization_t``."""

    gpu: int


@dataclass(frozen=True)
class Bytes:
    """Stands in for ``c_nvmlMemory_t``."""

    total: int
    used: int


@dataclass(frozen=True)
class Process:
    """Stands in for ``c_nvmlProcessInfo_t``."""

    pid: int


@dataclass
class FakeNvml:
    """One card at ``PCI_BUS_ID``.

    Attributes:
        refused: Names of functions that the card does not support.
        reasons: Bits of the clocks' event reasons.
        computing: Processes with a CUDA context.
        drawing: Processes with a graphics context.
        started: How often NVML was started and not ended.
    """

    refused: set[str] = field(default_factory=set)
    sm_clock: int = 1980
    memory_clock: int = 3201
    temperature: int = 61
    milliwatts: int = 642_500
    milliwatts_allowed: int = 700_000
    millijoules: int = 1_234_500
    reasons: int = 0
    computing: list[int] = field(default_factory=list)
    drawing: list[int] = field(default_factory=list)
    gpu_percent: int = 97
    uncorrected: int = 0
    is_divided: bool = False
    started: int = 0

    NVMLError: type[Exception] = FakeNvmlError
    NVML_CLOCK_SM: int = 1
    NVML_CLOCK_MEM: int = 2
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED: int = 1
    NVML_TEMPERATURE_GPU: int = 0
    NVML_VOLATILE_ECC: int = 0
    nvmlMemory_v2: int = 0x02000028

    def nvmlInit(self) -> None:
        """Count a start."""
        self._answer("nvmlInit", None, HANDLE)
        self.started += 1

    def nvmlShutdown(self) -> None:
        """Count an end."""
        self._answer("nvmlShutdown", None, HANDLE)
        self.started -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        """A version."""
        return self._answer("nvmlSystemGetDriverVersion", "580.95.05", HANDLE)

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        """12.8."""
        return self._answer("nvmlSystemGetCudaDriverVersion", 12_080, HANDLE)

    def nvmlDeviceGetHandleByPciBusId(self, pciBusId: str, /) -> object:
        """The card, or the error of a card that is not there."""
        if pciBusId != PCI_BUS_ID:
            raise FakeNvmlError("Not Found")
        return HANDLE

    def nvmlDeviceGetName(self, handle: object, /) -> str:
        """A name."""
        return self._answer("nvmlDeviceGetName", "NVIDIA H200", handle)

    def nvmlDeviceGetUUID(self, handle: object, /) -> str:
        """A UUID."""
        return self._answer("nvmlDeviceGetUUID", "GPU-1-2", handle)

    def nvmlDeviceGetCudaComputeCapability(self, handle: object, /) -> tuple[int, int]:
        """9.0."""
        return self._answer("nvmlDeviceGetCudaComputeCapability", (9, 0), handle)

    def nvmlDeviceGetMemoryInfo(self, handle: object, version: int, /) -> Bytes:
        """Version 1 counts what the driver reserves as used: 600 MiB here."""
        name = "nvmlDeviceGetMemoryInfo_v2" if version else "nvmlDeviceGetMemoryInfo"
        used = 1000 << 20 if version else 1600 << 20
        return self._answer(name, Bytes(141 << 30, used), handle)

    def nvmlDeviceGetMaxClockInfo(self, handle: object, type: int, /) -> int:  # noqa: A002
        """Of one kind or the other."""
        clock = {self.NVML_CLOCK_SM: 1980, self.NVML_CLOCK_MEM: 3201}[type]
        return self._answer("nvmlDeviceGetMaxClockInfo", clock, handle)

    def nvmlDeviceGetClockInfo(self, handle: object, type: int, /) -> int:  # noqa: A002
        """Of one kind or the other."""
        clock = {self.NVML_CLOCK_SM: self.sm_clock, self.NVML_CLOCK_MEM: self.memory_clock}[type]
        return self._answer("nvmlDeviceGetClockInfo", clock, handle)

    def nvmlDeviceGetEccMode(self, handle: object, /) -> list[int]:
        """On."""
        return self._answer("nvmlDeviceGetEccMode", [1, 0], handle)

    def nvmlDeviceGetMigMode(self, handle: object, /) -> list[int]:
        """As set."""
        return self._answer("nvmlDeviceGetMigMode", [int(self.is_divided), 1], handle)

    def nvmlDeviceGetTemperatureV(self, handle: object, sensor: int, /) -> int:
        """Of the one sensor."""
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._answer("nvmlDeviceGetTemperatureV", self.temperature, handle)

    def nvmlDeviceGetTemperature(self, handle: object, sensor: int, /) -> int:
        """Of the one sensor."""
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._answer("nvmlDeviceGetTemperature", self.temperature, handle)

    def nvmlDeviceGetPowerUsage(self, handle: object, /) -> int:
        """As set."""
        return self._answer("nvmlDeviceGetPowerUsage", self.milliwatts, handle)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: object, /) -> int:
        """As set."""
        return self._answer("nvmlDeviceGetEnforcedPowerLimit", self.milliwatts_allowed, handle)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, /) -> int:
        """As set."""
        return self._answer("nvmlDeviceGetTotalEnergyConsumption", self.millijoules, handle)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object, /) -> int:
        """As set."""
        return self._answer("nvmlDeviceGetCurrentClocksEventReasons", self.reasons, handle)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: object, /) -> int:
        """As set."""
        return self._answer("nvmlDeviceGetCurrentClocksThrottleReasons", self.reasons, handle)

    def nvmlDeviceGetUtilizationRates(self, handle: object, /) -> Usage:
        """As set."""
        return self._answer("nvmlDeviceGetUtilizationRates", Usage(self.gpu_percent), handle)

    def nvmlDeviceGetTotalEccErrors(self, handle: object, kind: int, counter: int, /) -> int:
        """Those that were not corrected, as set."""
        assert (kind, counter) == (self.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, self.NVML_VOLATILE_ECC)
        return self._answer("nvmlDeviceGetTotalEccErrors", self.uncorrected, handle)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object, /) -> list[Process]:
        """As set."""
        found = [Process(pid) for pid in self.computing]
        return self._answer("nvmlDeviceGetComputeRunningProcesses", found, handle)

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: object, /) -> list[Process]:
        """As set."""
        found = [Process(pid) for pid in self.drawing]
        return self._answer("nvmlDeviceGetGraphicsRunningProcesses", found, handle)

    def _answer(self, name: str, answer: T, handle: object) -> T:
        assert handle == HANDLE
        if name in self.refused:
            raise FakeNvmlError("Not Supported")
        return answer
