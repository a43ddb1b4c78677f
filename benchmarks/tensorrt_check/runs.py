"""How fast engines run, what a session adds to that, and whether they keep running."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tensorrt_check.rig import Reference, Rig, images_of
from benchmarks.tensorrt_check.verdict import (
    Report,
    Verdict,
    at_least,
    at_most,
    not_measured,
    report,
)
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.core.runtime import RawOutput
from yolor_deploy.cuda.device import Graph

PLUGIN_SHARE, PLUGIN_US = 0.02, 30.0
OVERHEAD_US = 20.0
RUNS = 10_000
GROWTH_MIB = 2.0  # one page of the driver; a leak of any kind is more in 10 000 runs
_ROUND_S = 0.05  # of launches in a row
_MOST_LAUNCHES = 500
_MIB = 2**20
Samples = Mapping[str, Sequence[float]]


def time_in_turns(
    works: Mapping[str, Callable[[], object]], wait: Callable[[], None], rounds: int
) -> dict[str, list[float]]:
    """Time several kinds of work, which take turns so that a clock that drifts hits all.

    Args:
        works: By name; each gives work to the GPU and does not wait.
        wait: Waits for all of it.
        rounds: Samples of each.

    Returns:
        By name, microseconds of one of many launches in a row: one entry per round.
    """
    launches = {name: _launches(work, wait) for name, work in works.items()}
    samples: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        for name in list(works)[:: (1, -1)[number % 2]]:
            samples[name].append(per_launch_us(works[name], wait, launches[name]))
    return samples


def per_launch_us(work: Callable[[], object], wait: Callable[[], None], launches: int) -> float:
    """Return the microseconds that each of many launches in a row takes."""
    wait()
    started = time.perf_counter()
    for _ in range(launches):
        work()
    wait()
    return 1e6 * (time.perf_counter() - started) / launches


def plugin_verdict(name: str, samples: Samples) -> Verdict:
    """Judge the plugin inside an engine by the kernels behind another, in microseconds."""
    plugin, kernels = (statistics.median(samples[way]) for way in ("plugin", "kernels"))
    limit = max(PLUGIN_SHARE * kernels, PLUGIN_US)
    note = f"plugin {plugin:.1f}, kernels {kernels:.1f}"
    return at_most(f"{name}: plugin above kernels behind", plugin - kernels, limit, "us", note)


def overhead_verdict(name: str, samples: Samples) -> Verdict:
    """Judge runs of a session by replays of its own graph, in microseconds."""
    run, replay = (statistics.median(samples[way]) for way in ("session", "replay"))
    note = f"session {run:.1f}, replay {replay:.1f}"
    return at_most(f"session above graph replay, {name}", run - replay, OVERHEAD_US, "us", note)


def time_ways(
    rig: Rig, engines: Mapping[str, Path], reference: Reference, *, rounds: int = 20
) -> Report:
    """Time engines of one model and precision, with images that are on the GPU.

    Args:
        rig: Opens them.
        engines: By how they detect: ``plugin``, ``kernels``, and others.
        reference: Its threshold is taken.
        rounds: Samples of each.
    """
    sessions = {way: rig.open(path) for way, path in engines.items()}
    meta = sessions["plugin"].artifact.meta
    verdicts, found = [], {}
    limits = meta.spec.input.batch
    for batch in sorted({limits.minimum, limits.maximum}):
        works = {
            way: _warm(session, batch, reference.score_threshold)
            for way, session in sessions.items()
        }
        samples = time_in_turns(works, sessions["plugin"].synchronize, rounds)
        verdicts.append(plugin_verdict(f"{meta.precision}, batch {batch}", samples))
        found[f"batch {batch}"] = {way: _rounded(values) for way, values in samples.items()}
    for session in sessions.values():
        session.close()
    return report(verdicts, samples_us=found)


def time_overhead(rig: Rig, engine: Path, *, rounds: int = 20) -> Report:
    """Time what a session adds to its own CUDA graph, batch 1, images in its input.

    Twice: launches in a row, of which a slow network hides what the host does; and launches that
    are each waited for, which hide nothing.
    """
    session = rig.open(engine)
    run = _warm(session, 1, None)
    graph = graph_of(session, 1)
    if graph is None:
        session.close()
        return report([not_measured("session above graph replay", "no CUDA graph was captured")])
    wait = session.synchronize
    works: dict[str, Callable[[], object]] = {
        "session": run,
        "replay": partial(graph.launch, session.stream),
    }
    kinds = {
        "in a row": time_in_turns(works, wait, rounds),
        "each waited for": time_in_turns(
            {name: partial(_awaited, work, wait) for name, work in works.items()}, wait, rounds
        ),
    }
    session.close()
    return report(
        [overhead_verdict(name, samples) for name, samples in kinds.items()],
        engine=engine.name,
        samples_us={
            kind: {name: _rounded(values) for name, values in samples.items()}
            for kind, samples in kinds.items()
        },
    )


def graph_of(session: TensorRTSession, batch: int) -> Graph | None:
    """Return the graph that runs of a batch size replay; None if it has none."""
    return session._executions[batch]._graph  # noqa: SLF001 - the very graph, which is no one's else


@dataclass
class _Tally:
    """What two threads found.

    Attributes:
        done: Runs.
        wrong: Runs with other rows than the first of their batch size.
        failures: Exceptions.
    """

    done: int = 0
    wrong: int = 0
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, *, is_right: bool) -> None:
        """Count a run."""
        with self.lock:
            self.done += 1
            self.wrong += not is_right


def stress(
    rig: Rig,
    engine: Path,
    reference: Reference,
    *,
    runs: int = RUNS,
    most_s: float = 100.0,
    seed: int = 0,
) -> Report:
    """Run an engine in two sessions of two threads, in batches of every size.

    Args:
        rig: Opens it.
        engine: The plan.
        reference: Its threshold is taken.
        runs: Of both together.
        most_s: When to stop all the same.
        seed: Of the batch sizes.
    """
    rng = np.random.default_rng(seed)
    first = rig.open(engine)
    sessions = [first, first.clone()]
    expected = [_expected(session, reference) for session in sessions]
    differing = sum(not _same(expected[0][batch], expected[1][batch]) for batch in expected[0])
    tally = _Tally(wrong=differing)
    free_before = rig.device.memory_bytes()[0]
    started = time.perf_counter()
    threads = [
        threading.Thread(
            target=_work,
            args=(session, rows, tally, rng.choice(list(rows), runs // 2).tolist()),
            kwargs={"ends": time.monotonic() + most_s, "threshold": reference.score_threshold},
        )
        for session, rows in zip(sessions, expected, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    growth = (free_before - rig.device.memory_bytes()[0]) / _MIB
    for session in sessions:
        session.close()
    note = "; ".join(tally.failures[:3])
    verdicts = [
        at_least("stress: runs", tally.done, runs // 2 * 2, note=note),
        at_most("stress: runs with other rows", tally.wrong, 0),
        at_most("stress: growth of device memory", growth, GROWTH_MIB, "MiB"),
    ]
    return report(verdicts, engine=engine.name, seconds=round(seconds, 2))


def _work(
    session: TensorRTSession,
    expected: Mapping[int, RawOutput],
    tally: _Tally,
    batches: Sequence[int],
    *,
    ends: float,
    threshold: float,
) -> None:
    arrays = {batch: session.input_array(batch) for batch in expected}
    try:
        for batch in batches:
            if time.monotonic() > ends:
                break
            outputs = session.run_device(arrays[batch], score_threshold=threshold)
            tally.add(is_right=_same(outputs.to_host(), expected[batch]))
    except Exception as error:  # noqa: BLE001 - told by the thread that waits
        tally.failures.append(f"{type(error).__name__}: {error}")


def _expected(session: TensorRTSession, reference: Reference) -> dict[int, RawOutput]:
    """Run every batch size until its graph is there; the largest stays in the session's input."""
    limits = session.artifact.meta.spec.input.batch
    images = images_of(session.artifact.meta.spec, limits.maximum)
    rows = {}
    for batch in range(limits.minimum, limits.maximum + 1):
        for _ in range(3):  # plain, captured, replayed
            rows[batch] = session.run(images[:batch], score_threshold=reference.score_threshold)
    return rows


def _same(found: RawOutput, expected: RawOutput) -> bool:
    return all(found[name].tobytes() == values.tobytes() for name, values in expected.items())


def _warm(session: TensorRTSession, batch: int, threshold: float | None) -> Callable[[], object]:
    """Run a batch size until its graph is there; return work that replays it."""
    images = images_of(session.artifact.meta.spec, batch)
    for _ in range(3):  # plain, captured, replayed
        session.run(images, score_threshold=threshold)
    array = session.input_array(batch)
    return partial(session.run_device, array, score_threshold=threshold)


def _awaited(work: Callable[[], object], wait: Callable[[], None]) -> None:
    work()
    wait()


def _launches(work: Callable[[], object], wait: Callable[[], None]) -> int:
    """Return how many launches fill a round."""
    one_us = per_launch_us(work, wait, 3)
    return max(3, min(_MOST_LAUNCHES, int(1e6 * _ROUND_S / one_us)))


def _rounded(values: Sequence[float]) -> list[Any]:
    return [round(value, 2) for value in values]
