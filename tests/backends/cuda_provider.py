"""An ONNX Runtime that says it has CUDA, and computes on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnxruntime
import pytest

from yolor_deploy.backends.onnxruntime import cuda
from yolor_deploy.core.runtime import Array
from yolor_deploy.cuda import driver as driver_module
from yolor_deploy.cuda.driver import Driver, Gpu

BOTH = (cuda.PROVIDER, cuda.CPU_PROVIDER)
TWO_GPUS = Driver(
    13000, (Gpu("NVIDIA H100", (9, 0), 80 * 2**30), Gpu("NVIDIA L4", (8, 9), 24 * 2**30)), None
)
NO_DRIVER = Driver(0, (), "no NVIDIA driver: libcuda.so.1 was not found")


@dataclass
class FakeCuda:
    """What the package pretends, and what it was told.

    Attributes:
        available: Providers that it was built with.
        taken: Providers that a session says it has.
        open_error: Raised when a session is made.
        run_error: Raised when it is run.
        providers: Given for each session.
        options: Further arguments of each session.
    """

    available: tuple[str, ...] = BOTH
    taken: tuple[str, ...] = BOTH
    open_error: Exception | None = None
    run_error: Exception | None = None
    providers: list[Sequence[Any]] = field(default_factory=list)
    options: list[Mapping[str, Any]] = field(default_factory=list)


def install(monkeypatch: pytest.MonkeyPatch, driver: Driver = TWO_GPUS) -> FakeCuda:
    """Put such a runtime, and a driver, in the place of the real ones."""
    fake = FakeCuda()

    class FakeSession(onnxruntime.InferenceSession):  # type: ignore[misc] # no stubs
        def __init__(
            self, path: str, settings: Any, *, providers: Sequence[Any], **options: Any
        ) -> None:
            fake.providers.append(providers)
            fake.options.append(options)
            if fake.open_error is not None:
                raise fake.open_error
            super().__init__(path, settings, providers=[cuda.CPU_PROVIDER])

        def get_providers(self) -> list[str]:
            return list(fake.taken)

        def run(self, names: Sequence[str], feed: Mapping[str, Array]) -> Any:
            if fake.run_error is not None:
                raise fake.run_error
            return super().run(names, feed)

    monkeypatch.setattr(onnxruntime, "InferenceSession", FakeSession)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(fake.available))
    monkeypatch.setattr(driver_module, "gpus", lambda: driver)
    return fake
