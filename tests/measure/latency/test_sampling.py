"""Samples are taken in turns, and the clock sees the work alone."""

from __future__ import annotations

import gc
import time

import pytest

from tests.measure.latency.fake_clock import FakeClock, timed_work
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.runtime import Array
from yolor_deploy.measure.latency.record import Settings
from yolor_deploy.measure.latency.sampling import (
    Sampler,
    Series,
    Turn,
    Work,
    harness_overhead_us,
)

_SHORT = Settings(min_samples=6, max_samples=6, warmup_s=0.0, time_limit_s=1000.0)


def _sampled(clock: FakeClock, *works: Work, settings: Settings = _SHORT) -> list[Series]:
    series = [Series() for _ in works]
    assert Sampler(works, series, settings, clock_ns=clock).run()
    return series


def test_sampler_keeps_every_sample_with_its_moment() -> None:
    """Each sample has the time of preprocessing, of the run, and the moment when it began."""
    clock = FakeClock()
    work = timed_work("a", clock, lambda _: 10.0, prepare_ms=2.0)

    (series,) = _sampled(clock, work)

    assert series.run_ms == [10.0] * 6
    assert series.preprocess_ms == [2.0] * 6
    begins = [later - earlier for earlier, later in zip(series.at_s, series.at_s[1:], strict=False)]
    assert begins == pytest.approx([0.012] * 5)


def test_sampler_runs_artifacts_in_turns_back_and_forth() -> None:
    """Every second round goes backwards, so that none always follows the same one."""
    clock, log = FakeClock(), list[str]()
    works = [timed_work(name, clock, lambda _: 10.0, log=log) for name in "abc"]

    series = _sampled(clock, *works)

    sampled = log[sum(len(item.warmup_ms) for item in series) :]
    assert "".join(sampled) == "abccba" * 3


def test_sampler_warms_up_until_times_have_settled() -> None:
    """Runs that still become faster are warm-up, and are kept as such."""
    clock = FakeClock()
    work = timed_work("a", clock, lambda number: 10.0 + max(0.0, 20.0 - number))

    (series,) = _sampled(clock, work)

    assert series.warmup_settled
    assert series.warmup_ms[0] == 30.0
    assert set(series.run_ms) == {10.0}


def test_sampler_says_when_times_never_settle() -> None:
    """A warm-up that never settles ends after its share of the time, and says so."""
    clock = FakeClock()
    work = timed_work("a", clock, lambda number: 10.0 * 1.2**number if number < 40 else 10.0)

    (series,) = _sampled(clock, work, settings=Settings(6, 6, 6, 20.0, 0.0))

    assert not series.warmup_settled


def test_sampler_stops_at_the_time_limit_after_a_whole_round() -> None:
    """The limit ends it when all artifacts have the same number of samples."""
    clock = FakeClock()
    works = [timed_work(name, clock, lambda n: 1000.0 + 500.0 * (n % 2)) for name in "ab"]

    series = _sampled(clock, *works, settings=Settings(0.001, 5, 1000, 40.0, 0.0))

    assert {item.stopped_by for item in series} == {"timeout"}
    assert len(series[0].run_ms) == len(series[1].run_ms) > 3


def test_sampler_stops_when_the_median_is_known() -> None:
    """Quiet series end by the noise target, long before the limit."""
    clock = FakeClock()
    work = timed_work("a", clock, lambda number: 10.0 + 0.01 * (number % 3))

    (series,) = _sampled(clock, work, settings=Settings(0.01, 20, 10_000, 1000.0, 0.0))

    assert series.stopped_by == "noise"
    assert 20 <= len(series.run_ms) < 200


def test_sampler_keeps_what_was_measured_when_interrupted() -> None:
    """Ctrl-C ends it, the sample that was cut off is dropped, all others stay."""
    clock = FakeClock()

    def run_ms(number: int) -> float:
        if number == 12:
            raise KeyboardInterrupt
        return 10.0

    series = [Series()]
    sampler = Sampler(
        [timed_work("a", clock, run_ms)],
        series,
        Settings(1e-9, 100, 100, 1000.0, 0.0),
        clock_ns=clock,
    )

    is_finished = sampler.run()

    assert not is_finished
    assert series[0].stopped_by == "interrupted"
    assert len(series[0].warmup_ms) + len(series[0].run_ms) == 12
    assert len(series[0].at_s) == len(series[0].preprocess_ms) == len(series[0].run_ms)


def test_sampler_goes_on_where_an_earlier_session_ended() -> None:
    """Samples of before count, and later ones have later moments."""
    clock = FakeClock()
    series = [Series(at_s=[0.0, 1.0], preprocess_ms=[0.0, 0.0], run_ms=[10.0, 10.0])]
    work = timed_work("a", clock, lambda _: 10.0)

    Sampler([work], series, _SHORT, clock_ns=clock, offset_s=5.0).run()

    assert len(series[0].run_ms) == 6
    assert series[0].at_s[2] > 5.0


def test_sampler_takes_no_sample_more_where_there_are_enough() -> None:
    """An earlier session that had all its samples leaves none to take."""
    clock = FakeClock()
    series = [Series(at_s=[0.0] * 6, preprocess_ms=[0.0] * 6, run_ms=[10.0] * 6)]

    Sampler([timed_work("a", clock, lambda _: 10.0)], series, _SHORT, clock_ns=clock).run()

    assert (len(series[0].run_ms), series[0].stopped_by) == (6, "noise")


def test_sampler_does_not_count_the_warm_up_in_the_time_limit() -> None:
    """A network whose warm-up takes long has its samples all the same."""
    clock = FakeClock()
    work = timed_work("a", clock, lambda number: 3000.0 if number < 1 else 1000.0)

    (series,) = _sampled(clock, work, settings=Settings(1e-9, 6, 6, 6.5, 0.0))

    assert len(series.run_ms) == 6


def test_sampler_without_stages_has_none() -> None:
    """Where stages cannot be timed there is no sample of them."""
    clock = FakeClock()
    plain = timed_work("a", clock, lambda _: 10.0)
    work = Work("a", plain.prepare, plain.run, lambda _images: {})

    (series,) = _sampled(clock, work)

    assert (series.stage_at_s, series.stages_ms) == ([], {})


def test_sampler_times_stages_in_runs_of_their_own() -> None:
    """Stages have their own samples, preprocessing is one of them, and they are a small part."""
    clock = FakeClock()
    work = timed_work(
        "a", clock, lambda _: 10.0, prepare_ms=2.0, stages_ms={"model": 9.0, "nms": 1.0}
    )

    (series,) = _sampled(clock, work, settings=Settings(1e-9, 100, 100, 1000.0, 0.0))

    assert list(series.stages_ms) == ["preprocess", "model", "nms"]
    assert {name: set(values) for name, values in series.stages_ms.items()} == {
        "preprocess": {2.0},
        "model": {9.0},
        "nms": {1.0},
    }
    assert 3 <= len(series.stage_at_s) < 50


def test_sampler_keeps_no_first_run_with_stages() -> None:
    """What it loads and allocates is in no sample."""
    clock, runs = FakeClock(), 0

    def run_stages(_images: Array) -> dict[str, float]:
        nonlocal runs
        runs += 1
        return {"model": 100.0 if runs == 1 else 9.0}

    plain = timed_work("a", clock, lambda _: 10.0)

    (series,) = _sampled(clock, Work("a", plain.prepare, plain.run, run_stages))

    assert set(series.stages_ms["model"]) == {9.0}


def test_sampler_refuses_a_clock_that_goes_back() -> None:
    """A time below zero is no time, and no other is believed after it."""
    clock = FakeClock()
    work = timed_work("a", clock, lambda number: -3.0 if number == 5 else 10.0)

    with pytest.raises(EvaluationError, match="the clock went back by 3 ms"):
        _sampled(clock, work)


def test_sampler_collects_no_garbage_while_it_times() -> None:
    """The collector is off during runs, and on again afterwards."""
    clock, seen = FakeClock(), set[bool]()

    def run_ms(_number: int) -> float:
        seen.add(gc.isenabled())
        return 10.0

    _sampled(clock, timed_work("a", clock, run_ms))

    assert seen == {False}
    assert gc.isenabled()


def test_sampler_tells_turns_outside_of_samples() -> None:
    """What is done between samples is in no sample, however long it takes."""
    clock, told = FakeClock(), list[Turn]()
    work = timed_work("a", clock, lambda _: 10.0)
    series = [Series()]

    def between(turn: Turn) -> None:
        told.append(turn)
        clock.advance_ms(777.0)

    Sampler([work], series, _SHORT, between=between, clock_ns=clock).run()

    assert {turn.phase for turn in told} == {"warm-up", "sampling"}
    assert set(series[0].run_ms) == {10.0}


def test_harness_overhead_counts_the_clock_itself() -> None:
    """A clock that takes a microsecond to read is what a run of nothing seems to take."""
    now = 0

    def clock() -> int:
        nonlocal now
        now += 1000
        return now

    overhead = harness_overhead_us(clock_ns=clock)

    assert overhead == {"clock": 1.0, "sample": 3.0}


def test_harness_overhead_is_measured_with_the_real_clock() -> None:
    """With the clock of the machine both parts are there, and are no negative time."""
    overhead = harness_overhead_us(clock_ns=time.perf_counter_ns)

    assert all(value >= 0 for value in overhead.values())
    assert set(overhead) == {"clock", "sample"}
