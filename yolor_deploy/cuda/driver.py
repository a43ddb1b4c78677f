"""NVIDIA's driver and GPUs, asked of the driver itself: this works before anything is installed."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

_DRIVER = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_MANAGEMENT = "libnvidia-ml.so.1"
_NAME_BYTES = 128
_BUS_ID_BYTES = 16  # domain:bus:device.function, and its end
_VERSION_BYTES = 80  # NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of this machine.

    Attributes:
        name: As the driver calls it.
        compute_capability: Major and minor.
        memory_bytes: Of its own.
        free_bytes: Of these, now; None where it was not asked.
    """

    name: str
    compute_capability: tuple[int, int]
    memory_bytes: int
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Driver:
    """What the driver said.

    Attributes:
        cuda_version: Newest CUDA that it runs, such as 13000 for 13.0; 0 without a driver.
        gpus: In the order of their ordinals.
        problem: Why there is no driver or GPU; None if there is one.
        version: Of the driver itself, such as ``580.159.03``; empty where it is not known.
    """

    cuda_version: int
    gpus: tuple[Gpu, ...]
    problem: str | None
    version: str = ""

    @property
    def cuda_version_text(self) -> str:
        """The newest CUDA, as it is written; empty without a driver."""
        major, minor = divmod(self.cuda_version, 1000)
        return f"{major}.{minor // 10}" if self.cuda_version else ""


def gpus(*, with_free_memory: bool = False) -> Driver:
    """Ask the driver. Never raises.

    Args:
        with_free_memory: Whether each GPU is asked for it, which takes some tenths of a second.
    """
    try:
        library = ctypes.CDLL(_DRIVER)
    except OSError:
        return Driver(0, (), f"no NVIDIA driver: {_DRIVER} was not found")
    return replace(ask(library, with_free_memory=with_free_memory), version=_own_version())


def pci_bus_id(ordinal: int, *, library: Any = None) -> str | None:
    """Return where a GPU is, such as ``0000:65:00.0``, which NVML knows it by. Never raises.

    Args:
        ordinal: As CUDA counts.
        library: The driver, or what stands in for it; None for the one of this machine.

    Returns:
        None without a driver, or without such a GPU.
    """
    device, text = ctypes.c_int(), ctypes.create_string_buffer(_BUS_ID_BYTES)
    try:
        library = library or ctypes.CDLL(_DRIVER)
    except OSError:
        return None
    if library.cuInit(0) != 0 or library.cuDeviceGet(ctypes.byref(device), ordinal) != 0:
        return None
    code = library.cuDeviceGetPCIBusId(text, _BUS_ID_BYTES, device)
    return text.value.decode() if code == 0 else None


def version_from(management: Any) -> str:
    """Ask NVIDIA's management library, or what stands in for it, for the version of the driver."""
    text = ctypes.create_string_buffer(_VERSION_BYTES)
    if management.nvmlInit_v2() != 0:
        return ""
    code = management.nvmlSystemGetDriverVersion(text, _VERSION_BYTES)
    management.nvmlShutdown()
    return text.value.decode(errors="replace") if code == 0 else ""


def _own_version() -> str:
    try:
        return version_from(ctypes.CDLL(_MANAGEMENT))
    except (OSError, AttributeError):  # not on Jetson
        return ""


def ask(library: Any, *, with_free_memory: bool = False) -> Driver:
    """Ask a driver library, or what stands in for one."""
    version, count = ctypes.c_int(), ctypes.c_int()
    code = library.cuInit(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    if code != 0:
        return Driver(version.value, (), f"the driver found no GPU that works (cuInit: {code})")
    library.cuDeviceGetCount(ctypes.byref(count))
    found = tuple(_gpu(library, ordinal) for ordinal in range(count.value))
    if with_free_memory:
        found = tuple(
            replace(gpu, free_bytes=_free_bytes(library, i)) for i, gpu in enumerate(found)
        )
    return Driver(version.value, found, None if found else "the driver found no GPU")


def _gpu(library: Any, ordinal: int) -> Gpu:
    device, value = ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    memory = ctypes.c_size_t()
    library.cuDeviceGet(ctypes.byref(device), ordinal)
    library.cuDeviceGetName(name, _NAME_BYTES, device)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability.append(value.value)
    return Gpu(name.value.decode(), (capability[0], capability[1]), memory.value)


def _free_bytes(library: Any, ordinal: int) -> int | None:
    """Return what is free, which only a context can be asked for."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    library.cuDeviceGet(ctypes.byref(device), ordinal)
    if library.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) != 0:
        return None
    library.cuCtxPushCurrent_v2(context)
    code = library.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    library.cuCtxPopCurrent_v2(ctypes.byref(context))
    library.cuDevicePrimaryCtxRelease_v2(device)
    return free.value if code == 0 else None


def named(compute_capability: Sequence[int]) -> str:
    """Return a compute capability as it is written, such as 9.0."""
    return ".".join(map(str, compute_capability))
