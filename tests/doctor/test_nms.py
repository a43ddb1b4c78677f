"""What ``doctor`` says of the NMS library."""

from __future__ import annotations

from pathlib import Path

import pytest

from yolor_deploy.cuda.driver import Driver, Gpu
from yolor_deploy.cuda.library import NmsLibrary
from yolor_deploy.doctor.nms import examine_nms

NO_DRIVER = Driver(0, (), "no NVIDIA driver")
BUILT = "7.5 8.0 8.6 8.9 9.0 10.0 12.0"


def driver_of(*capability: int) -> Driver:
    """Return a machine with one GPU."""
    return Driver(13000, (Gpu("a GPU", (capability[0], capability[1]), 2**33),), None)


def test_library_that_was_not_built_is_missing(tmp_path: Path) -> None:
    """Nothing is broken where the package was installed without a compiler."""
    (found,) = examine_nms(NO_DRIVER, tmp_path / "libyolor_nms.so")

    assert (found.state, found.detail) == ("missing", "the NMS library was not built")
    assert found.hint is not None
    assert "nvcc" in found.hint


def test_library_that_does_not_load_is_broken(tmp_path: Path) -> None:
    """A file that is there and no library is an error."""
    path = tmp_path / "libyolor_nms.so"
    path.write_text("no library", encoding="utf-8")

    (found,) = examine_nms(NO_DRIVER, path)

    assert found.state == "broken"


@pytest.mark.nms_build
def test_host_build_says_that_kernels_are_missing(host_library_path: Path) -> None:
    """A library that was built without nvcc has no GPU part, and says how to get one."""
    host, kernels = examine_nms(NO_DRIVER, host_library_path)

    assert (host.state, kernels.state) == ("ok", "missing")
    assert kernels.detail == "built without CUDA"


@pytest.mark.nms_build
@pytest.mark.parametrize(
    ("capability", "is_covered"),
    [
        pytest.param((9, 0), True, id="the-same"),
        pytest.param((8, 7), True, id="newer-of-its-generation"),
        pytest.param((13, 0), True, id="newer-by-ptx"),
        pytest.param((7, 0), False, id="older"),
    ],
)
def test_gpu_is_compared_with_what_the_library_was_built_for(
    monkeypatch: pytest.MonkeyPatch,
    host_library_path: Path,
    capability: tuple[int, int],
    *,
    is_covered: bool,
) -> None:
    """Machine code runs on its generation from its minor version on, PTX on all that came later."""
    monkeypatch.setattr(NmsLibrary, "cuda_architectures", tuple(BUILT.split()))

    found = examine_nms(driver_of(*capability), host_library_path)

    assert found[0].state == "ok"
    assert ([finding.state for finding in found[1:]] == ["broken"]) == (not is_covered)
    if not is_covered:
        assert "-DCMAKE_CUDA_ARCHITECTURES=70" in str(found[1].hint)
