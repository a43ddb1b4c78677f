"""The density curve: what the post-processing is given, and what is kept of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from tests.graph.tiny_graphs import tiny_spec
from yolor_deploy.benchmark.density import density_curve, objects_for
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.density import candidates_in
from yolor_deploy.core.errors import BackendUnavailableError
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.runtime import (
    Array,
    Clock,
    LayerTime,
    Peak,
    RawOutput,
    RunConditions,
    SelfTest,
    Session,
)
from yolor_deploy.core.spec import BatchRange, DetectorSpec, NmsConfig

NMS = NmsConfig(max_detections=15)


@dataclass
class FakeInstruments:
    """Runs the reference, and tells 1 ms for the first run, 2 ms for the second, and so on."""

    spec: DetectorSpec
    unavailable: bool = False
    factor: float = 1.0
    given: list[tuple[int, ...]] = field(default_factory=list)

    clock: Clock = "host"
    stages: tuple[str, ...] = ("nms",)
    pci_bus_id: str | None = None

    def run_nms(self, raw_maps: Sequence[Array]) -> tuple[float, RawOutput]:
        """Count the candidates, and answer."""
        if self.unavailable:
            raise BackendUnavailableError("inside the engine", where="nms", hint="build without")
        self.given.append(candidates_in(raw_maps, self.spec, NMS))
        predictions = predictions_from_raw(raw_maps, self.spec)
        return self.factor * len(self.given), non_max_suppression(predictions, NMS)

    def conditions(self) -> RunConditions:
        """Not called."""
        raise NotImplementedError

    def memory_bytes(self) -> Mapping[str, int]:
        """Not called."""
        raise NotImplementedError

    def run_stages(self, images: Array) -> tuple[Mapping[str, float], RawOutput]:
        """Not called."""
        raise NotImplementedError

    def profile(self, images: Array, runs: int) -> tuple[LayerTime, ...]:
        """Not called."""
        raise NotImplementedError

    def another(self) -> Session:
        """Not called."""
        raise NotImplementedError

    def self_test(self) -> SelfTest:
        """Not called."""
        raise NotImplementedError

    def peak(self) -> Peak:
        """Not called."""
        raise NotImplementedError

    def close(self) -> None:
        """Not called."""


def test_curve_has_a_point_for_each_density() -> None:
    """The first run of each density is not kept, and the objects are those that came out."""
    spec = tiny_spec(size=(128, 192), levels=3)
    instruments = FakeInstruments(spec)

    points = density_curve(instruments, spec, NMS, counts=(0, 10, 100), repeats=3)

    assert instruments.given == [(0,)] * 4 + [(10,)] * 4 + [(100,)] * 4
    assert [(point.candidates, point.objects) for point in points] == [(0, 0), (10, 1), (100, 10)]
    assert [point.samples_ms for point in points] == [(2, 3, 4), (6, 7, 8), (10, 11, 12)]


def test_slow_processor_runs_fewer_times() -> None:
    """Three runs in any case, and no more once they have taken a second together."""
    spec = tiny_spec(size=(128, 192), levels=3)

    points = density_curve(
        FakeInstruments(spec, factor=200.0), spec, NMS, counts=(0, 10), repeats=20
    )

    assert [point.samples_ms for point in points] == [(400, 600, 800), (1200, 1400, 1600)]


def test_density_that_does_not_fit_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """A small detector has a shorter curve."""
    spec = tiny_spec(size=(128, 192), levels=3)

    with caplog.at_level(logging.INFO, logger="yolor_deploy"):
        points = density_curve(FakeInstruments(spec), spec, NMS, counts=(10, 10_000), repeats=1)

    assert [point.candidates for point in points] == [10]
    assert "density of 10000 candidates left out: 10000 candidates, custom has" in caplog.text


def test_post_processing_inside_an_engine_has_no_curve(caplog: pytest.LogCaptureFixture) -> None:
    """Where it cannot be run alone there is no point, and the reason is noted."""
    spec = tiny_spec(size=(128, 192), levels=3)

    with caplog.at_level(logging.INFO, logger="yolor_deploy"):
        points = density_curve(FakeInstruments(spec, unavailable=True), spec, NMS)

    assert points == ()
    assert "no density curve: inside the engine" in caplog.text


def test_least_batch_is_filled() -> None:
    """An artifact for two images gets the same maps twice."""
    spec = tiny_spec(size=(128, 192), levels=3, batch=BatchRange(2, 2, 2))
    instruments = FakeInstruments(spec)

    points = density_curve(instruments, spec, NMS, counts=(10,), repeats=1)

    assert instruments.given == [(10, 10)] * 2
    assert points[0].objects == 1


def test_objects_are_a_tenth_within_limits() -> None:
    """There are no more objects than rows, and never more than three hundred."""
    assert [objects_for(n, NmsConfig()) for n in (0, 1, 10, 1000, 30_000)] == [0, 1, 1, 100, 300]
    assert objects_for(1000, NMS) == 15
    assert objects_for(30_000, NmsConfig(max_detections=5000)) == 300
