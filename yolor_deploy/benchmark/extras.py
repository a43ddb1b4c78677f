"""What is measured after the latency: saturation, energy, layers, peaks, density."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from yolor_deploy.benchmark.density import density_curve
from yolor_deploy.benchmark.layers import layers_of
from yolor_deploy.benchmark.options import BenchConfig
from yolor_deploy.benchmark.subjects import OpenSubject
from yolor_deploy.core.errors import YolorDeployError
from yolor_deploy.core.runtime import LayerTime, Peak, Session
from yolor_deploy.measure.latency.gpu_monitor import GpuMonitor
from yolor_deploy.measure.latency.record import DensityPoint, Energy, LayerCost, Throughput
from yolor_deploy.measure.latency.sampling import Series
from yolor_deploy.measure.latency.saturation import saturate
from yolor_deploy.stage_timer import Note

logger = logging.getLogger(__name__)

_THROUGHPUT_S = 3.0
_ENERGY_S = 5.0  # NVML's counter moves some ten times a second: within 2 %
_PROFILE_S = 5.0
_MOST_PROFILED = 20
_FAILURES = (YolorDeployError, OSError, MemoryError)


@dataclass(slots=True)
class Extras:
    """What was measured of one artifact besides its latency; as in ``record.Subject``."""

    throughput: list[Throughput] = field(default_factory=list)
    energy: Energy | None = None
    layers: tuple[LayerCost, ...] | None = None
    profile: tuple[LayerTime, ...] = ()
    density: tuple[DensityPoint, ...] = ()
    peak: Peak | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What measuring extras takes besides the artifacts.

    Attributes:
        config: What the benchmark was told.
        gpu: Asked for energy; None for none.
        note: Told what is measured.
        look: Called after each, to note what the machine did meanwhile.
    """

    config: BenchConfig
    gpu: GpuMonitor | None
    note: Note
    look: Callable[[], object]


def measure_extras(
    subjects: Sequence[OpenSubject],
    series: Sequence[Series],
    extras: Sequence[Extras],
    around: Surroundings,
) -> bool:
    """Measure it of each subject that has samples; what fails is a note in its result.

    What an earlier session has measured already is kept.

    Returns:
        Whether it came to its end; False if the user interrupted it, and what there is stays.
    """
    try:
        for subject, samples, found in zip(subjects, series, extras, strict=True):
            if samples.run_ms:
                _measure(subject, statistics.median(samples.run_ms), found, around)
    except KeyboardInterrupt:
        return False
    finally:
        _share_peaks(extras)
    return True


def _measure(subject: OpenSubject, median_ms: float, found: Extras, around: Surroundings) -> None:
    config, gpu = around.config, around.gpu

    def attempt(what: str, measure: Callable[[], None]) -> None:
        around.note(f"{what}, {subject.name}")
        try:
            measure()
        except _FAILURES as error:
            problem = error.problem if isinstance(error, YolorDeployError) else repr(error)
            found.notes.append(f"{what} not measured: {problem}")
        around.look()

    done = {throughput.streams for throughput in found.throughput}
    for streams in dict.fromkeys(config.settings.streams):
        if streams not in done:
            attempt(
                f"throughput of {streams} stream{'s' * (streams != 1)}",
                lambda streams=streams: found.throughput.append(_throughput(subject, streams)),  # type: ignore[misc]
            )
    if gpu is not None and found.energy is None:
        attempt("energy", lambda: _set_energy(subject, gpu, found))
    if config.layers and found.layers is None:
        attempt("layers", lambda: _set_layers(subject, median_ms, found, config.work))
    if config.layers and found.peak is None:
        attempt("peak of the machine", lambda: _set_peak(subject, found))
    if config.curve and not found.density and subject.artifact.meta.nms is not None:
        attempt("density curve", lambda: _set_density(subject, found))


def _throughput(subject: OpenSubject, streams: int) -> Throughput:
    """Run in several sessions at once, the same tensor in each: preprocessing is not in it."""
    images = subject.input.preprocess(0)
    sessions: list[Session] = []
    try:
        for _ in range(streams):
            sessions.append(subject.instruments.another())  # noqa: PERF401 - closed if one fails
        runs = [_runner(session, images) for session in sessions]
        for run in runs:
            for _ in range(2):  # an engine is captured as a graph
                run()
        finished = saturate(runs, seconds=_THROUGHPUT_S)
    finally:
        for session in sessions:
            session.close()
    return Throughput(streams, len(images), finished)


def _runner(session: Session, images: object) -> Callable[[], object]:
    return lambda: session.run(images)  # type: ignore[arg-type] # a tensor of `preprocess`


def _set_energy(subject: OpenSubject, gpu: GpuMonitor, found: Extras) -> None:
    run = _runner(subject.session, subject.input.preprocess(0))
    idle = gpu.condition()
    if idle.energy_j is None:
        found.notes.append("energy not measured: this GPU does not tell it")
        return
    saturate([run], seconds=_ENERGY_S / 5)  # power rises within some tenths of a second
    before, began = gpu.condition().energy_j, time.perf_counter()
    finished = saturate([run], seconds=_ENERGY_S)
    seconds, after = time.perf_counter() - began, gpu.condition().energy_j
    if before is not None and after is not None:
        images = len(finished) * subject.input.batch
        found.energy = Energy(after - before, seconds, images, idle.power_w)


def _set_layers(subject: OpenSubject, median_ms: float, found: Extras, work: Path) -> None:
    runs = max(1, min(_MOST_PROFILED, int(1000 * _PROFILE_S / max(median_ms, 1e-3))))
    found.profile = subject.instruments.profile(subject.input.preprocess(0), runs)
    found.layers = layers_of(
        subject.artifact, found.profile, batch=subject.input.batch, folders=[work]
    )
    if found.layers is None:
        found.notes.append("layers not counted: the model of this engine is not beside it")


def _set_peak(subject: OpenSubject, found: Extras) -> None:
    found.peak = subject.instruments.peak()


def _set_density(subject: OpenSubject, found: Extras) -> None:
    meta = subject.artifact.meta
    assert meta.nms is not None, "asked by the caller"
    found.density = density_curve(subject.instruments, meta.spec, meta.nms)


def _share_peaks(extras: Sequence[Extras]) -> None:
    """Give all artifacts of a machine the highest peak of their precision: it was reached."""
    peaks = [found.peak for found in extras if found.peak is not None]
    for found in extras:
        if found.peak is not None:
            alike = [peak for peak in peaks if peak.precision == found.peak.precision]
            best = max(alike, key=lambda peak: peak.gflops)
            copied = max(peak.gbytes_per_s for peak in peaks)
            found.peak = replace(best, gbytes_per_s=copied)
