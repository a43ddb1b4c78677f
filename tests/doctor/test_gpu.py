"""What ``doctor`` says of the driver and its GPUs, asked of a driver that is Python."""

from __future__ import annotations

import ctypes
from typing import Any

from yolor_deploy.cuda.driver import Driver, Gpu, ask, version_from
from yolor_deploy.doctor.gpu import examine_gpus

H200 = Gpu("NVIDIA H200", (9, 0), 143771 * 2**20)
ORIN = Gpu("Orin", (8, 7), 32 * 2**30)


class DriverLibrary:
    """The functions of libcuda that are asked."""

    def __init__(self, *gpus: Gpu, init_code: int = 0) -> None:
        self.gpus = gpus
        self.init_code = init_code
        self.memory_code = 0
        self.current: list[int] = []
        self.released: list[int] = []

    def __getattr__(self, name: str) -> Any:
        """Return the function of a name of libcuda."""
        return getattr(self, f"_{name[2].lower()}{name[3:]}")

    def _init(self, flags: int) -> int:
        assert flags == 0
        return self.init_code

    def _driverGetVersion(self, version: Any) -> int:  # noqa: N802 - libcuda's name
        version._obj.value = 13000
        return 0

    def _deviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.gpus)
        return 0

    def _deviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = 40 + ordinal
        return 0

    def _deviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        assert size == ctypes.sizeof(name)
        name.value = self.gpus[device.value - 40].name.encode()
        return 0

    def _deviceTotalMem_v2(self, memory: Any, device: Any) -> int:  # noqa: N802
        memory._obj.value = self.gpus[device.value - 40].memory_bytes
        return 0

    def _deviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        value._obj.value = self.gpus[device.value - 40].compute_capability[attribute - 75]
        return 0

    def _devicePrimaryCtxRetain(self, context: Any, device: Any) -> int:  # noqa: N802
        context._obj.value = 1000 + device.value
        return 0

    def _ctxPushCurrent_v2(self, context: Any) -> int:  # noqa: N802
        self.current.append(context.value - 1040)
        return 0

    def _memGetInfo_v2(self, free: Any, total: Any) -> int:  # noqa: N802
        gpu = self.gpus[self.current[-1]]
        free._obj.value, total._obj.value = gpu.memory_bytes // 4, gpu.memory_bytes
        return self.memory_code

    def _ctxPopCurrent_v2(self, context: Any) -> int:  # noqa: N802
        context._obj.value = 1040 + self.current.pop()
        return 0

    def _devicePrimaryCtxRelease_v2(self, device: Any) -> int:  # noqa: N802
        self.released.append(device.value - 40)
        return 0


def test_driver_tells_free_memory_where_it_is_asked() -> None:
    """It is that of each device, and no context stays."""
    library = DriverLibrary(H200, ORIN)

    driver = ask(library, with_free_memory=True)

    assert [gpu.free_bytes for gpu in driver.gpus] == [143771 * 2**18, 32 * 2**28]
    assert library.released == [0, 1]
    assert not library.current
    details = [finding.detail for finding in examine_gpus(driver)]
    assert details[2] == "Orin, compute capability 8.7, 32.0 GiB, 8.0 GiB free"
    library.memory_code = 2
    assert ask(library, with_free_memory=True).gpus[0].free_bytes is None


class ManagementLibrary:
    """The functions of libnvidia-ml that are asked."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.is_open = False

    def nvmlInit_v2(self) -> int:  # noqa: N802
        """Open it."""
        self.is_open = True
        return 0

    def nvmlSystemGetDriverVersion(self, text: Any, size: int) -> int:  # noqa: N802
        """Write the version."""
        assert size == ctypes.sizeof(text) >= 80
        text.value = b"580.159.03"
        return self.code

    def nvmlShutdown(self) -> None:  # noqa: N802
        """Close it."""
        self.is_open = False


def test_driver_has_a_version_of_its_own() -> None:
    """The management library is asked and closed; without an answer it is empty."""
    library = ManagementLibrary()

    assert version_from(library) == "580.159.03"
    assert not library.is_open
    assert version_from(ManagementLibrary(code=3)) == ""
    finding = examine_gpus(Driver(13000, (H200,), None, "580.159.03"))[0]
    assert finding.detail == "580.159.03, runs CUDA up to 13.0"


def test_driver_tells_its_gpus() -> None:
    """Name, compute capability and memory are those of each device."""
    driver = ask(DriverLibrary(H200, ORIN))

    assert driver == Driver(13000, (H200, ORIN), None)
    assert [(found.name, found.detail) for found in examine_gpus(driver)] == [
        ("driver", "runs CUDA up to 13.0"),
        ("GPU 0", "NVIDIA H200, compute capability 9.0, 140.4 GiB"),
        ("GPU 1", "Orin, compute capability 8.7, 32.0 GiB"),
    ]


def test_driver_that_does_not_start_is_told_with_its_code() -> None:
    """100 is CUDA_ERROR_NO_DEVICE."""
    (found,) = examine_gpus(ask(DriverLibrary(H200, init_code=100)))

    assert found.state == "missing"
    assert "cuInit: 100" in found.detail


def test_driver_without_gpus_is_no_failure() -> None:
    """A machine may have a driver alone."""
    (found,) = examine_gpus(ask(DriverLibrary()))

    assert (found.state, found.detail) == ("missing", "the driver found no GPU")
