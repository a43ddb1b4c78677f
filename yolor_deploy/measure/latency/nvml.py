"""What is asked of NVML: the names of ``pynvml``, NVIDIA's own bindings, that this project uses.

A table of types for a module that has none. Tests compare it with the real module, and what stands
in for the module with the table.
"""

# ruff: noqa: N802, N803, N815 - names are NVIDIA's

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Utilisation(Protocol):
    """Shares of the last sample period."""

    @property
    def gpu(self) -> int:
        """Per cent of the time in which a kernel ran."""
        ...


class MemoryInfo(Protocol):
    """Bytes of a GPU's memory."""

    @property
    def total(self) -> int:
        """All of it."""
        ...

    @property
    def used(self) -> int:
        """What processes hold."""
        ...


class ProcessInfo(Protocol):
    """A process with a context on a GPU."""

    @property
    def pid(self) -> int:
        """Its number; in which namespace depends on the driver."""
        ...


class Nvml(Protocol):
    """The module; older drivers and bindings lack some of it. A handle is opaque.

    Source: https://docs.nvidia.com/deploy/nvml-api, group "Device Queries".
    """

    NVMLError: type[Exception]
    NVML_CLOCK_MEM: int
    NVML_CLOCK_SM: int
    NVML_MEMORY_ERROR_TYPE_UNCORRECTED: int
    NVML_TEMPERATURE_GPU: int
    NVML_VOLATILE_ECC: int
    nvmlMemory_v2: int

    def nvmlInit(self) -> None:
        """Load the library; counted, so that each call needs its ``nvmlShutdown``."""

    def nvmlShutdown(self) -> None:
        """Undo one ``nvmlInit``."""

    def nvmlSystemGetDriverVersion(self) -> str:
        """Such as ``580.95.05``."""
        ...

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        """1000 * major + 10 * minor."""
        ...

    def nvmlDeviceGetHandleByPciBusId(self, pciBusId: str, /) -> object:
        """Of a domain of 4 or 8 digits, bus, device and function: ``0000:0b:00.0``."""
        ...

    def nvmlDeviceGetName(self, handle: object, /) -> str:
        """Of the product."""
        ...

    def nvmlDeviceGetUUID(self, handle: object, /) -> str:
        """Such as ``GPU-`` and a UUID."""
        ...

    def nvmlDeviceGetCudaComputeCapability(self, handle: object, /) -> Sequence[int]:
        """Major and minor."""
        ...

    def nvmlDeviceGetMemoryInfo(self, handle: object, version: int, /) -> MemoryInfo:
        """In version 2 without what the driver reserves, which version 1 counts as used."""
        ...

    def nvmlDeviceGetMaxClockInfo(self, handle: object, type: int, /) -> int:  # noqa: A002
        """MHz."""
        ...

    def nvmlDeviceGetClockInfo(self, handle: object, type: int, /) -> int:  # noqa: A002
        """MHz."""
        ...

    def nvmlDeviceGetEccMode(self, handle: object, /) -> Sequence[int]:
        """Now, and after the next restart: 1 if on."""
        ...

    def nvmlDeviceGetMigMode(self, handle: object, /) -> Sequence[int]:
        """Now, and after the next reset: 1 if divided."""
        ...

    def nvmlDeviceGetTemperatureV(self, handle: object, sensor: int, /) -> int:
        """Degrees Celsius; newer."""
        ...

    def nvmlDeviceGetTemperature(self, handle: object, sensor: int, /) -> int:
        """Degrees Celsius; older."""
        ...

    def nvmlDeviceGetPowerUsage(self, handle: object, /) -> int:
        """Milliwatts: of this moment on GA100 and older cards, of the last second on newer."""
        ...

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: object, /) -> int:
        """Milliwatts: the least of all limits."""
        ...

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object, /) -> int:
        """Millijoules since the driver was loaded; since Volta."""
        ...

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object, /) -> int:
        """Bits; newer."""
        ...

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: object, /) -> int:
        """The same bits; older."""
        ...

    def nvmlDeviceGetUtilizationRates(self, handle: object, /) -> Utilisation:
        """Over the last second, or a part of it; not of a divided card."""
        ...

    def nvmlDeviceGetTotalEccErrors(self, handle: object, kind: int, counter: int, /) -> int:
        """Errors; only where error correction is on."""
        ...

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object, /) -> Sequence[ProcessInfo]:
        """With a CUDA context."""
        ...

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: object, /) -> Sequence[ProcessInfo]:
        """With a graphics context."""
        ...
