"""Tests that need what not every machine has: they skip, or fail where it is required.

``--require=gpu`` turns every skip of a test with that marker into a failure, so that a machine that
ought to run it cannot pass by leaving it out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.tensorrt import bindings
from tests.benchmark.report import chromium
from tests.plugins import host_library, plugin_library
from yolor_deploy.backends import tensorrt_rtx
from yolor_deploy.cuda import device

_WHY_UNAVAILABLE: dict[str, Callable[[], str | None]] = {
    "browser": chromium.why_unavailable,
    "gpu": device.why_unavailable,
    "nms_build": host_library.why_unavailable,
    "tensorrt_names": bindings.why_unavailable,
    "tensorrt_plugin": plugin_library.why_unavailable,
    "tensorrt_rtx": tensorrt_rtx.why_unavailable,
}
"""By marker: why tests that carry it cannot run here, or None if they can."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--nms-library`` and ``--require``."""
    parser.addoption(
        "--nms-library",
        type=Path,
        help="libyolor_nms.so for tests on a GPU, instead of the one that the package has",
    )
    parser.addoption(
        "--require",
        action="append",
        default=[],
        choices=sorted(_WHY_UNAVAILABLE),
        help="fail where a test with this marker would be skipped; may be repeated",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose runtime is not there."""
    for marker, why_unavailable in _WHY_UNAVAILABLE.items():
        if item.get_closest_marker(marker) is not None:
            reason = why_unavailable()
            if reason is not None:
                pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where the marker of the test is required."""
    report = yield
    required: list[Any] = item.config.getoption("--require")
    markers = [name for name in required if item.get_closest_marker(name) is not None]
    if markers and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but --require={markers[0]}: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def host_library_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the NMS library, built here without CUDA; for tests with the marker ``nms_build``."""
    return host_library.build_host(tmp_path_factory.mktemp("nms-host"))
