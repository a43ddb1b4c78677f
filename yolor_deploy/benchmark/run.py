"""Measuring artifacts side by side."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING

from yolor_deploy import __version__
from yolor_deploy.benchmark.extras import Extras, Surroundings, measure_extras
from yolor_deploy.benchmark.limits import (
    require_one_reference,
    require_own_gpu,
    require_reference,
    require_same_work,
)
from yolor_deploy.benchmark.options import BenchConfig
from yolor_deploy.benchmark.resume import (
    earlier_extras,
    earlier_series,
    elapsed_s,
    require_same_benchmark,
    unfinished,
)
from yolor_deploy.benchmark.subjects import OpenSubject, open_subjects
from yolor_deploy.core.errors import YolorDeployError
from yolor_deploy.core.runtime import SelfTest
from yolor_deploy.measure.environment import Environment, current_environment
from yolor_deploy.measure.latency.cpu_monitor import CpuMonitor
from yolor_deploy.measure.latency.gpu_monitor import GpuMonitor, open_gpu_monitor
from yolor_deploy.measure.latency.monitor import Monitor
from yolor_deploy.measure.latency.record import GpuFacts, Record, Settings, Subject
from yolor_deploy.measure.latency.sampling import Sampler, Series, Turn, harness_overhead_us
from yolor_deploy.stage_timer import Note

if TYPE_CHECKING:
    from typing_extensions import Self  # in typing only from Python 3.11

logger = logging.getLogger(__name__)

_SAVE_EVERY_S = 30.0
Told = Callable[[Turn], None]
Save = Callable[[Record], None]


def run_benchmark(
    config: BenchConfig,
    *,
    note: Note = logger.info,
    progress: Told = lambda _turn: None,
    save: Save | None = None,
) -> Record:
    """Measure artifacts in turns, and what belongs to their times.

    Args:
        config: What to do.
        note: Told each stage as it begins.
        progress: Told of turns now and then.
        save: Given what there is so far, now and then, and all of it at the end; also where a run
            fails. Never without a sample.

    Returns:
        All samples. If the user interrupted it, those up to there, and ``interrupted`` is true.

    Raises:
        YolorDeployError: An artifact cannot be made, opened, run, or compared with the others.
        KeyboardInterrupt: The user interrupted it before the first sample.
    """
    require_one_reference(config)
    earlier = unfinished(config.output)
    subjects = open_subjects(config, note=note)
    with ExitStack() as stack:
        for subject in subjects:
            stack.callback(subject.close)
        if not config.allow_different_work:
            require_same_work([subject.artifact for subject in subjects])
        with _Benchmark(config, subjects, earlier, progress, save) as bench:
            return bench.run(note)


class _Benchmark:
    """Open subjects, and what is measured of them."""

    def __init__(
        self,
        config: BenchConfig,
        subjects: Sequence[OpenSubject],
        earlier: Record | None,
        progress: Told,
        save: Save | None,
    ) -> None:
        self._config = config
        self._settings = _settings(config, subjects)
        self._subjects = subjects
        self._progress = progress
        self._save_to = save
        self._environment: Environment = current_environment()
        self._gpu = _gpu_monitor(subjects)
        self._facts: GpuFacts | None = self._gpu.facts() if self._gpu else None
        self._earlier = earlier
        self._series = [Series() for _ in subjects]
        self._extras = [Extras() for _ in subjects]
        self._overhead = harness_overhead_us()
        self._self_tests: list[SelfTest] = []
        self._offset_s = elapsed_s(earlier) if earlier else 0.0
        self._started = _now()
        self._began_ns = time.perf_counter_ns()  # all moments are counted from here
        self._monitor = Monitor(CpuMonitor(), self._gpu, self._elapsed_s)
        self._saved_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._gpu is not None:
            self._gpu.close()

    def run(self, note: Note) -> Record:
        self._go_on(note)
        note("testing the clocks")
        self._self_tests = [subject.instruments.self_test() for subject in self._subjects]
        before = self._monitor.take("before")
        if before.gpu and self._facts and not self._config.allow_shared_gpu:
            require_own_gpu(before.gpu, self._facts.name)
        note("warming up")
        try:
            is_finished = self._sampler().run()
        except YolorDeployError:
            self._save(self._record())
            raise
        if not all(series.at_s for series in self._series):
            raise KeyboardInterrupt
        self._monitor.take("after")
        if is_finished:
            self._save(self._record())
            for subject in self._subjects:  # a profile loads the network once more
                subject.release_stages()
            look = partial(self._monitor.take, "after")
            around = Surroundings(self._config, self._gpu, note, look)
            is_finished = measure_extras(self._subjects, self._series, self._extras, around)
        record = self._record(complete=is_finished, interrupted=not is_finished)
        self._save(record)
        return record

    def _go_on(self, note: Note) -> None:
        """Take over what an earlier session measured, if it is the same benchmark."""
        if self._earlier is None:
            return
        output = self._config.output
        assert output is not None, "it was read from there"
        require_same_benchmark(
            self._earlier,
            self._subjects,
            self._settings,
            self._environment,
            self._facts,
            output,
        )
        self._series = earlier_series(self._earlier)
        self._extras = [earlier_extras(subject) for subject in self._earlier.subjects]
        note(f"going on with {len(self._series[0].at_s)} samples of each in {output}")

    def _sampler(self) -> Sampler:
        return Sampler(
            [subject.work() for subject in self._subjects],
            self._series,
            self._settings,
            between=self._between,
            began_ns=self._began_ns,
            offset_s=self._offset_s,
        )

    def _elapsed_s(self) -> float:
        return (time.perf_counter_ns() - self._began_ns) / 1e9 + self._offset_s

    def _between(self, turn: Turn) -> None:
        if turn.phase != "warm-up" and self._monitor.due():
            self._monitor.take("during")
        self._progress(turn)
        if self._save_to is not None and time.monotonic() - self._saved_s > _SAVE_EVERY_S:
            self._saved_s = time.monotonic()
            self._save(self._record())

    def _save(self, record: Record) -> None:
        if self._save_to is not None and all(subject.at_s for subject in record.subjects):
            self._save_to(record)

    def _record(self, *, complete: bool = False, interrupted: bool = False) -> Record:
        earlier = self._earlier
        return Record(
            version=__version__,
            command=self._config.command,
            started=earlier.started if earlier else self._started,
            settings=self._settings,
            environment=self._environment.to_json(),
            gpu=self._facts,
            conditions=(*(earlier.conditions if earlier else ()), *self._monitor.conditions),
            overhead_us=self._overhead,
            cache="same" if len(self._subjects) == 1 else "interleaved",
            subjects=tuple(self._described(index) for index in range(len(self._subjects))),
            complete=complete,
            interrupted=interrupted,
        )

    def _described(self, index: int) -> Subject:
        subject, series = self._subjects[index], self._series[index]
        extras = self._extras[index]
        known = subject.described()
        return replace(
            known,
            warmup_ms=tuple(series.warmup_ms),
            warmup_settled=series.warmup_settled,
            at_s=tuple(series.at_s),
            samples={
                "preprocess": tuple(series.preprocess_ms),
                "run": tuple(series.run_ms),
            },
            stage_at_s=tuple(series.stage_at_s),
            stages={name: tuple(values) for name, values in series.stages_ms.items()},
            stopped_by=series.stopped_by,
            throughput=tuple(extras.throughput),
            energy=extras.energy,
            layers=extras.layers,
            profile=extras.profile,
            density=extras.density,
            peak=extras.peak,
            self_test=self._self_tests[index] if self._self_tests else None,
            notes=(*known.notes, *extras.notes),
        )


def _settings(config: BenchConfig, subjects: Sequence[OpenSubject]) -> Settings:
    """Return the settings with the reference by its name in tables.

    Raises:
        EvaluationError: The reference that was asked for is none of the artifacts.
    """
    names = [subject.name for subject in subjects]
    asked = config.settings.reference
    if asked is not None:
        require_reference(asked, names)
    return replace(config.settings, reference=asked or (names[-1] if len(names) > 1 else None))


def _gpu_monitor(subjects: Sequence[OpenSubject]) -> GpuMonitor | None:
    for subject in subjects:
        bus_id = subject.instruments.pci_bus_id
        if bus_id is not None:
            return open_gpu_monitor(bus_id)
    return None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
