"""Where a GPU is, asked of a driver that is Python."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from yolor_deploy.cuda import driver


class DriverLibrary:
    """The functions of libcuda that are asked, of a machine with two GPUs."""

    def __init__(self, *, init_code: int = 0) -> None:
        self.init_code = init_code

    def cuInit(self, flags: int) -> int:  # noqa: N802 - libcuda's name
        """Return the code of a driver that works, or not."""
        assert flags == 0
        return self.init_code

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        """Give a handle, which is not the ordinal; return 101 without such a GPU."""
        device._obj.value = 40 + ordinal
        return 0 if ordinal in {0, 1} else 101

    def cuDeviceGetPCIBusId(self, text: Any, size: int, device: Any) -> int:  # noqa: N802
        """Write where a handle's GPU is."""
        assert size == ctypes.sizeof(text)
        text.value = f"0000:{device.value}:00.0".encode()
        return 0


def test_bus_id_is_that_of_the_ordinal() -> None:
    """The driver tells, and NVML takes it as it is."""
    assert driver.pci_bus_id(1, library=DriverLibrary()) == "0000:41:00.0"


def test_gpu_that_is_not_there_is_nowhere() -> None:
    """Neither a GPU too many nor a driver that does not work raises anything."""
    assert driver.pci_bus_id(2, library=DriverLibrary()) is None
    assert driver.pci_bus_id(0, library=DriverLibrary(init_code=100)) is None


def test_machine_without_a_driver_has_no_bus_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library is not there."""

    def missing(_: str) -> None:
        raise OSError

    monkeypatch.setattr(ctypes, "CDLL", missing)

    assert driver.pci_bus_id(0) is None
