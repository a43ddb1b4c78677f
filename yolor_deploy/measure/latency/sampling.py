"""Taking samples: artifacts in turns, one run in flight, until their times are known well."""

from __future__ import annotations

import gc
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.runtime import Array
from yolor_deploy.measure.latency.record import Settings, StoppedBy
from yolor_deploy.measure.latency.stopping import StoppingRule, WarmUp

_STAGE_SHARE = 0.25  # of the time of all samples, that runs with timed stages may take
_MIN_STAGE_SAMPLES = 3
_WARMUP_SHARE = 0.3  # of the time limit, for the warm-ups of all artifacts together
_MIN_WARMUP_RUNS = 3  # an engine is run, captured as a graph, and replayed
_OVERHEAD_ROUNDS = 2000
_TELL_EVERY_S = 0.1
_TOLD_VALUES = 200  # of the end of a series, whose median is shown: a longer one takes its time
_NS_PER_MS = 1e6
_NS_PER_S = 1e9

_NO_IMAGES: Array = np.zeros(0, np.uint8)

ClockNs = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Work:
    """What is timed of an artifact.

    Attributes:
        name: Of the artifact in tables.
        prepare: From the number of a sample to the tensor of its batch; batches take turns.
        run: From the tensor, in host memory, to outputs in host memory.
        run_stages: Likewise with every stage timed apart, milliseconds by stage, none where that
            cannot be done; None for no stages.
    """

    name: str
    prepare: Callable[[int], Array]
    run: Callable[[Array], object]
    run_stages: Callable[[Array], Mapping[str, float]] | None = None


@dataclass(slots=True)
class Series:
    """Samples of one artifact; times in milliseconds, moments in seconds since the beginning.

    Attributes:
        warmup_ms: Runs of the warm-up.
        warmup_settled: Whether it ended because times had settled.
        at_s: When each sample began.
        preprocess_ms: From decoded pixels to the tensor.
        run_ms: From the tensor to the outputs.
        stage_at_s: When each run with timed stages began.
        stages_ms: By stage, ``preprocess`` among them.
        stopped_by: Why sampling ended; ``running`` while it has not.
    """

    warmup_ms: list[float] = field(default_factory=list)
    warmup_settled: bool = False
    at_s: list[float] = field(default_factory=list)
    preprocess_ms: list[float] = field(default_factory=list)
    run_ms: list[float] = field(default_factory=list)
    stage_at_s: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)
    stopped_by: StoppedBy = "running"


@dataclass(frozen=True, slots=True)
class Turn:
    """What is told between samples, outside of everything that is timed.

    Attributes:
        phase: ``warm-up``, ``sampling`` or ``timing stages``.
        name: Of the artifact that was run last.
        samples: Of it, so far.
        median_ms: Of its runs; None before the first.
        noise: Of its median, as ``StoppingRule`` knows it; None before it does.
        elapsed_s: Since sampling began, that of earlier sessions included; 0 before.
    """

    phase: str
    name: str
    samples: int
    median_ms: float | None
    noise: float | None
    elapsed_s: float


class Sampler:
    """Samples several artifacts in turns, so that a machine that drifts drifts for all.

    Every second round goes backwards: no artifact always follows the same one. Nothing else is done
    while a run is timed, and no garbage is collected before the end.

    Args:
        works: The artifacts; each has its own series in the same place.
        series: What is there already, of an earlier session, as many of each; empty ones at the
            beginning.
        settings: When to stop.
        between: Told of turns now and then; may take its time.
        clock_ns: Of the host, monotonic, nanoseconds.
        began_ns: By the clock, where the moments are counted from; None for now.
        offset_s: Added to every moment: how long earlier sessions took.
    """

    def __init__(
        self,
        works: Sequence[Work],
        series: Sequence[Series],
        settings: Settings,
        *,
        between: Callable[[Turn], None] = lambda _turn: None,
        clock_ns: ClockNs = time.perf_counter_ns,
        began_ns: int | None = None,
        offset_s: float = 0.0,
    ) -> None:
        self._works = works
        self._series = series
        self._settings = settings
        self._between = between
        self._clock_ns = clock_ns
        self._offset_s = offset_s
        self._began_ns = clock_ns() if began_ns is None else began_ns
        self._sampling_s = 0.0  # moment from which the time limit counts
        self._told_s = float("-inf")
        self._rules = [StoppingRule(settings) for _ in works]

    def run(self) -> bool:
        """Warm up and sample to the end.

        Returns:
            Whether it came to its end; False if the user interrupted it, which is in ``stopped_by``
            too. The samples up to there are kept, and the one that was cut off is not.

        Raises:
            EvaluationError: The clock went back.
        """
        try:
            with _no_garbage_collection():
                self._warm_up()
                self._sample()
                self._sample_stages()
        except KeyboardInterrupt:
            self._end("interrupted")
            return False
        return True

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first session began, breaks not counted."""
        return self._seconds(self._clock_ns())

    def _seconds(self, now_ns: int) -> float:
        return (now_ns - self._began_ns) / _NS_PER_S + self._offset_s

    def _warm_up(self) -> None:
        share_s = _WARMUP_SHARE * self._settings.time_limit_s / max(1, len(self._works))
        for work, series in zip(self._works, self._series, strict=True):
            rule = WarmUp(self._settings.warmup_s)
            most_s = max(share_s, self._settings.warmup_s)
            began_s = self.elapsed_s
            while True:
                at_s, _, run_ms = self._timed(work, len(series.warmup_ms))
                series.warmup_ms.append(run_ms)
                rule.add(at_s - began_s, run_ms)
                self._tell("warm-up", work, series.warmup_ms, None)
                is_late = self.elapsed_s - began_s > most_s
                if len(series.warmup_ms) < _MIN_WARMUP_RUNS and not is_late:
                    continue
                if rule.settled or rule.gave_up or is_late:
                    break
            series.warmup_settled = rule.settled

    def _sample(self) -> None:
        moments = [moment for series in self._series for moment in series.at_s]
        self._sampling_s = self.elapsed_s - (max(moments) - min(moments) if moments else 0.0)
        for number in itertools.count(max(len(series.at_s) for series in self._series)):
            if number and self._is_over():
                return
            for index in self._order(number):
                work, series = self._works[index], self._series[index]
                at_s, preprocess_ms, run_ms = self._timed(work, number)
                series.at_s.append(at_s)
                series.preprocess_ms.append(preprocess_ms)
                series.run_ms.append(run_ms)
                self._tell("sampling", work, series.run_ms, self._rules[index].noise)

    def _is_over(self) -> bool:
        """Whether all are known well enough or the time is over, which their series then tell."""
        elapsed_s = self.elapsed_s - self._sampling_s
        reasons = [
            rule.reason(series.run_ms, elapsed_s)
            for rule, series in zip(self._rules, self._series, strict=True)
        ]
        if not all(reasons) and "timeout" not in reasons:
            return False
        for series, reason in zip(self._series, reasons, strict=True):
            series.stopped_by = reason or "timeout"
        return True

    def _order(self, number: int) -> range:
        forwards = range(len(self._works))
        return forwards if number % 2 == 0 else forwards[::-1]

    def _sample_stages(self) -> None:
        """Run with timed stages, for a part of the time that the samples took.

        After all samples: while what is loaded for it was there, a model that was opened second was
        a little slower on a CPU than its own twin.
        """
        works = [(w, s) for w, s in zip(self._works, self._series, strict=True) if w.run_stages]
        share_s = _STAGE_SHARE * (self.elapsed_s - self._sampling_s)
        rounds = max(len(series.at_s) for series in self._series)
        done = max((len(series.stage_at_s) for _, series in works), default=rounds)
        if done < rounds:
            for work, _ in works:  # what it loads, and its first run, are no samples
                self._staged(work, done)
        began_s = self.elapsed_s
        for number in range(done, rounds):
            if number >= _MIN_STAGE_SAMPLES and self.elapsed_s - began_s > share_s:
                return
            for work, series in works if number % 2 == 0 else reversed(works):
                moment_s, stages = self._staged(work, number)
                if len(stages) > 1:
                    series.stage_at_s.append(moment_s)
                    for name, value in stages.items():
                        series.stages_ms.setdefault(name, []).append(value)
                self._tell("timing stages", work, [sum(stages.values())], None)

    def _staged(self, work: Work, number: int) -> tuple[float, dict[str, float]]:
        """Return when a run with timed stages began, and milliseconds of each."""
        assert work.run_stages is not None
        began = self._clock_ns()
        images = work.prepare(number)
        ready = self._clock_ns()
        stages = work.run_stages(images)
        return self._seconds(began), {"preprocess": (ready - began) / _NS_PER_MS, **stages}

    def _timed(self, work: Work, number: int) -> tuple[float, float, float]:
        """Return when a sample began, and its milliseconds before and in the run."""
        began, ready, ended = timed_sample(work, number, self._clock_ns)
        if not began <= ready <= ended:
            raise EvaluationError(
                f"the clock went back by {(max(began, ready) - min(ready, ended)) / _NS_PER_MS:g} "
                "ms during a run",
                where=work.name,
                hint="keep the machine from being suspended or moved, and measure again",
            )
        return (
            self._seconds(began),
            (ready - began) / _NS_PER_MS,
            (ended - ready) / _NS_PER_MS,
        )

    def _tell(self, phase: str, work: Work, values: Sequence[float], noise: float | None) -> None:
        now_s = self.elapsed_s
        if now_s - self._told_s < _TELL_EVERY_S:  # most rounds of a GPU are shorter
            return
        self._told_s = now_s
        median = statistics.median(values[-_TOLD_VALUES:])
        sampling_s = now_s - self._sampling_s if phase == "sampling" else 0.0
        self._between(Turn(phase, work.name, len(values), median, noise, sampling_s))

    def _end(self, reason: StoppedBy) -> None:
        for series in self._series:
            if series.stopped_by == "running":
                series.stopped_by = reason


def timed_sample(work: Work, number: int, clock_ns: ClockNs) -> tuple[int, int, int]:
    """Run one sample; return the clock before, between preprocessing and run, and after."""
    prepare, run = work.prepare, work.run
    began = clock_ns()
    images = prepare(number)
    ready = clock_ns()
    run(images)
    return began, ready, clock_ns()


def harness_overhead_us(*, clock_ns: ClockNs = time.perf_counter_ns) -> dict[str, float]:
    """Measure what the harness adds to each sample, by sampling nothing.

    Returns:
        Microseconds, medians: ``clock``, what a run that does nothing is said to take; ``sample``,
        what taking and keeping one sample takes besides.
    """
    series = Series()
    nothing = Work("nothing", prepare=_no_images, run=_nothing)
    inside, whole = [], []
    with _no_garbage_collection():
        for number in range(_OVERHEAD_ROUNDS):
            before = clock_ns()
            began, ready, ended = timed_sample(nothing, number, clock_ns)
            series.at_s.append((began - before) / _NS_PER_S)
            series.preprocess_ms.append((ready - began) / _NS_PER_MS)
            series.run_ms.append((ended - ready) / _NS_PER_MS)
            whole.append(clock_ns() - before)
            inside.append(ended - ready)
    clock, sample = statistics.median(inside), statistics.median(whole)
    return {"clock": clock / 1000, "sample": (sample - clock) / 1000}


def _no_images(_number: int) -> Array:
    return _NO_IMAGES


def _nothing(_images: object) -> None:
    return None


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
