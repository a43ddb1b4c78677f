"""What several tests of the check of engines take."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.tensorrt.engines import stand_in
from tests.benchmarks.engine_bench import V8, Bench


@pytest.fixture
def bench(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, host_library_path: Path
) -> Iterator[Bench]:
    """Return engines of the stand-in, as the version that the check is for."""
    with stand_in(monkeypatch, STAND_IN=V8, STAND_IN_VERSION="8.6.0") as trt:
        yield Bench(trt, tmp_path, host_library_path)
