"""What a GPU does during a benchmark, as NVML tells.

A card that does not support a query has None there: GeForce cards have no ECC, a divided card (MIG)
has no utilisation, Jetson boards have no NVML at all.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

from yolor_deploy.measure.latency.nvml import MemoryInfo, Nvml
from yolor_deploy.measure.latency.record import GpuCondition, GpuFacts

logger = logging.getLogger(__name__)
T = TypeVar("T")

_INSTALL_HINT = "pip install 'yolor-deploy[cuda]'"
_GPU_IDLE = 0x1  # clocks are low because there is nothing to do: no throttling
_REASONS = {  # bits of the reasons, named as nvidia-smi does
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}


def open_gpu_monitor(pci_bus_id: str, *, nvml: Nvml | None = None) -> GpuMonitor | None:
    """Return a monitor of a GPU; None, with the reason in the log, where there can be none.

    Args:
        pci_bus_id: As CUDA gives it, such as ``0000:0b:00.0``. The ordinal of CUDA is not what NVML
            counts: CUDA sorts by speed, and leaves out what ``CUDA_VISIBLE_DEVICES`` hides.
        nvml: What stands in for ``pynvml``.
    """
    try:
        nvml = nvml or cast("Nvml", importlib.import_module("pynvml"))
    except ImportError as error:
        logger.warning("the GPU is not monitored: %s; %s", error, _INSTALL_HINT)
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        logger.warning("the GPU is not monitored: NVML does not start: %s", error)
        return None
    try:
        return GpuMonitor(nvml.nvmlDeviceGetHandleByPciBusId(pci_bus_id), nvml=nvml)
    except nvml.NVMLError as error:
        logger.warning("the GPU is not monitored: NVML has no GPU %s: %s", pci_bus_id, error)
        _shut_down(nvml)
        return None


class GpuMonitor:
    """Asks NVML about one GPU.

    Args:
        handle: Of the GPU.
        nvml: Started; ``close`` ends it.
        pid: Of this process.
        processes: Where the system shows a folder for each process that this one can see.
    """

    def __init__(
        self,
        handle: object,
        *,
        nvml: Nvml,
        pid: int | None = None,
        processes: Path = Path("/proc"),
    ) -> None:
        self._handle = handle
        self._nvml = nvml
        self._pid = os.getpid() if pid is None else pid
        self._processes = processes

    def facts(self) -> GpuFacts:
        """Return what does not change."""
        nvml, handle = self._nvml, self._handle
        capability = self._known(lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
        cuda = self._known(nvml.nvmlSystemGetCudaDriverVersion)
        memory = self._memory()
        return GpuFacts(
            name=self._known(lambda: nvml.nvmlDeviceGetName(handle)) or "unknown GPU",
            uuid=self._known(lambda: nvml.nvmlDeviceGetUUID(handle)),
            driver=self._known(nvml.nvmlSystemGetDriverVersion),
            cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
            compute_capability=".".join(map(str, capability)) if capability else None,
            memory_bytes=int(memory.total) if memory else None,
            max_sm_clock_mhz=self._known(
                lambda: float(nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM))
            ),
            max_memory_clock_mhz=self._known(
                lambda: float(nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM))
            ),
            ecc=self._known(lambda: bool(nvml.nvmlDeviceGetEccMode(handle)[0])),
            mig=self._known(lambda: bool(nvml.nvmlDeviceGetMigMode(handle)[0])),
        )

    def condition(self) -> GpuCondition:
        """Return the condition now. Reasons and clocks are those of this moment.

        Between runs a GPU lowers its clocks: ask right after a run, before the next. What falls is
        asked first; memory and processes take the driver longest, and come last.
        """
        nvml, handle = self._nvml, self._handle
        running = GpuCondition(
            sm_clock_mhz=self._known(
                lambda: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
            ),
            throttle_reasons=self._throttle_reasons(),
            power_w=self._known(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            memory_clock_mhz=self._known(
                lambda: float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM))
            ),
            energy_j=self._known(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000),
            temperature_c=self._temperature_c(),
            utilisation=self._known(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
            ecc_errors=self._known(
                lambda: nvml.nvmlDeviceGetTotalEccErrors(
                    handle, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
                )
            ),
            power_limit_w=self._known(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
        )
        memory = self._memory()
        computing, drawing = self._other_processes()
        return replace(
            running,
            memory_used_bytes=int(memory.used) if memory else None,
            other_processes=computing,
            graphics_processes=drawing,
        )

    def close(self) -> None:
        """End NVML for this monitor."""
        _shut_down(self._nvml)

    def _known(self, *queries: Callable[[], T]) -> T | None:
        """Return what the first query that is answered says; None if none is."""
        answers = (self._answer(query) for query in queries)
        return next((answer for answer in answers if answer is not None), None)

    def _answer(self, query: Callable[[], T]) -> T | None:
        """Return an answer of NVML; None if an older module lacks it, or driver or card refuse."""
        try:
            return query()
        except (AttributeError, self._nvml.NVMLError) as error:
            logger.debug("NVML: %s", error)
            return None

    def _memory(self) -> MemoryInfo | None:
        nvml, handle = self._nvml, self._handle
        return self._known(
            lambda: nvml.nvmlDeviceGetMemoryInfo(handle, nvml.nvmlMemory_v2),
            lambda: nvml.nvmlDeviceGetMemoryInfo(handle, 0),
        )

    def _temperature_c(self) -> float | None:
        nvml, handle = self._nvml, self._handle
        return self._known(
            lambda: float(nvml.nvmlDeviceGetTemperatureV(handle, nvml.NVML_TEMPERATURE_GPU)),
            lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        )

    def _throttle_reasons(self) -> tuple[str, ...]:
        """Return the reasons that are in force, ``gpu_idle`` left out; none if NVML has none."""
        nvml, handle = self._nvml, self._handle
        bits = self._known(
            lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(handle),
            lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle),
        )
        held = (bits or 0) & ~_GPU_IDLE
        unknown = held & ~sum(_REASONS)
        names = [name for bit, name in _REASONS.items() if held & bit]
        return (*names, f"unknown_{unknown:#x}") if unknown else tuple(names)

    def _other_processes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the processes that compute on the GPU, and those that only draw, without this one.

        In a container a driver lists numbers of the host, or those of the container, and of other
        containers' processes nothing: utilisation and memory tell of them. So, if this process is
        not listed:

        - one process is listed, and the system shows none of that number: it is this process, whose
          session is open, under its number on the host;
        - one is listed that the system shows: it is another, and this one has no context yet;
        - several: all are returned, for one is this, and which cannot be told.

        Under MPS the server is listed, and counts: others may compute through it. On a divided card
        (MIG) those in its other parts are listed where the driver permits: they share its power.
        """
        nvml, handle = self._nvml, self._handle
        compute = self._known(lambda: nvml.nvmlDeviceGetComputeRunningProcesses(handle)) or ()
        graphics = self._known(lambda: nvml.nvmlDeviceGetGraphicsRunningProcesses(handle)) or ()
        computing = {int(process.pid) for process in compute}
        drawing = {int(process.pid) for process in graphics} - computing
        listed = computing | drawing
        if self._pid in listed:
            own = {self._pid}
        elif len(listed) == 1 and not (self._processes / str(min(listed))).exists():
            own = listed
        else:
            own = set()
        return tuple(sorted(computing - own)), tuple(sorted(drawing - own))


def _shut_down(nvml: Nvml) -> None:
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        logger.debug("NVML does not end: %s", error)
