"""What the check of engines makes of engines that are slow, change their mind, or lose memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.tensorrt_check import runs
from benchmarks.tensorrt_check.verdict import is_met
from tests.benchmarks.engine_bench import WAYS, Bench, states
from yolor_deploy.backends.tensorrt.session import TensorRTSession
from yolor_deploy.core.passport import NmsWay


@pytest.mark.parametrize(
    ("plugin", "kernels", "state", "limit"),
    [
        pytest.param(1029, 1000, "passed", 30, id="within-30-us"),
        pytest.param(1031, 1000, "missed", 30, id="above-30-us"),
        pytest.param(5099, 5000, "passed", 100, id="within-2-percent"),
        pytest.param(5101, 5000, "missed", 100, id="above-2-percent"),
        pytest.param(900, 1000, "passed", 30, id="faster"),
    ],
)
def test_plugin_is_judged_by_medians(
    plugin: float, kernels: float, state: str, limit: float
) -> None:
    """The larger of 2 % and 30 us is allowed; one slow sample changes nothing."""
    samples = {"plugin": [plugin, plugin, 1e6], "kernels": [kernels, 0.0, kernels]}

    verdict = runs.plugin_verdict("fp16, batch 1", samples)

    assert (verdict.state, verdict.figure) == (state, plugin - kernels)
    assert verdict.limit == f"at most {limit:g}"


@pytest.mark.parametrize(("session", "state"), [(119.0, "passed"), (121.0, "missed")])
def test_overhead_is_judged_by_medians(session: float, state: str) -> None:
    """20 us above the replay are allowed."""
    verdict = runs.overhead_verdict("in a row", {"session": [session] * 3, "replay": [100.0] * 3})

    assert verdict.state == state


def test_launches_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sample is the time of many launches, one wait behind them, by turns."""
    clock = [0.0]
    order: list[str] = []
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def work(name: str, seconds: float) -> Callable[[], None]:
        def run() -> None:
            clock[0] += seconds
            if not order or order[-1] != name:
                order.append(name)

        return run

    works = {"a": work("a", 0.001), "b": work("b", 0.002)}
    samples = runs.time_in_turns(works, lambda: order.append("wait"), 3)

    assert {name: [round(v) for v in values] for name, values in samples.items()} == {
        "a": [1000] * 3,
        "b": [2000] * 3,
    }
    turns = [name for name in order if name != "wait"]
    assert turns[2:] == ["a", "b", "b", "a", "a", "b"]


@pytest.mark.nms_build
def test_times_find_a_slow_plugin(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way is timed at the smallest and the largest batch."""
    engines = {str(way): bench.engine(way) for way in WAYS}
    bench.spoil(
        monkeypatch, lambda context: time.sleep(2e-3 * ("scores" in context.engine.tensors))
    )

    found = runs.time_ways(bench.rig, engines, bench.reference, rounds=2)

    assert states(found) == {
        "fp32, batch 1: plugin above kernels behind": "missed",
        "fp32, batch 4: plugin above kernels behind": "missed",
    }
    assert {batch: set(by_way) for batch, by_way in found["samples_us"].items()} == {
        "batch 1": set(WAYS),
        "batch 4": set(WAYS),
    }


@pytest.mark.nms_build
def test_overhead_finds_a_slow_session(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a session does around its graph is seen, whether launches are waited for or not."""
    engine = bench.engine("plugin")
    right = TensorRTSession._begin

    def slow(*arguments: Any) -> Any:
        time.sleep(3e-3)
        return right(*arguments)

    monkeypatch.setattr(TensorRTSession, "_begin", slow)

    found = runs.time_overhead(bench.rig, engine, rounds=3)

    assert set(states(found).values()) == {"missed"}
    assert set(found["samples_us"]) == {"in a row", "each waited for"}


@pytest.mark.nms_build
def test_overhead_needs_a_graph(bench: Bench) -> None:
    """Without one nothing is measured, and that is said."""
    engine = bench.engine("plugin")
    bench.trt.running.Behaviour.refuses_capture = True

    found = runs.time_overhead(bench.rig, engine, rounds=1)

    assert states(found) == {"session above graph replay": "not measured"}
    assert is_met(found)


@pytest.mark.nms_build
@pytest.mark.parametrize("way", WAYS)
def test_stress_passes_a_right_engine(bench: Bench, way: NmsWay) -> None:
    """All runs of both threads give the rows of their batch size."""
    found = runs.stress(bench.rig, bench.engine(way), bench.reference, runs=60)

    assert states(found) == {
        "stress: runs": "passed",
        "stress: runs with other rows": "passed",
        "stress: growth of device memory": "passed",
    }
    assert [verdict["figure"] for verdict in found["verdicts"]] == [60, 0, 0]


@pytest.mark.nms_build
def test_stress_finds_one_wrong_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One value of one run among many is found."""
    engine = bench.engine("plugin")
    count = [0]

    def change(context: Any) -> None:
        count[0] += 1
        if count[0] == 60:
            context._at("boxes_xyxy").reshape(-1)[:1] += 1e-3

    bench.spoil(monkeypatch, change)

    found = runs.stress(bench.rig, engine, bench.reference, runs=60)

    assert [verdict["figure"] for verdict in found["verdicts"]] == [60, 1, 0]
    assert states(found)["stress: runs with other rows"] == "missed"


@pytest.mark.nms_build
def test_stress_finds_lost_memory_and_failures(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that is gone, a run that raises, and too little time are each told."""
    engine = bench.engine("plugin")
    bench.device.lost_at_each_look = 3 << 20
    text = "IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (an illegal memory access)"
    count = [0]

    def fail(context: Any) -> None:
        count[0] += 1
        bench.trt.running.Behaviour.fails_at_run = text if count[0] > 60 else None
        del context

    bench.spoil(monkeypatch, fail)

    found = runs.stress(bench.rig, engine, bench.reference, runs=200)

    by_target = {verdict["target"]: verdict for verdict in found["verdicts"]}
    assert by_target["stress: growth of device memory"]["figure"] == 3.0
    assert by_target["stress: growth of device memory"]["state"] == "missed"
    assert by_target["stress: runs"]["state"] == "missed"
    assert "illegal memory access" in by_target["stress: runs"]["note"]


@pytest.mark.nms_build
def test_stress_stops_in_time(bench: Bench) -> None:
    """Runs that were not done count as missed."""
    found = runs.stress(bench.rig, bench.engine("plugin"), bench.reference, runs=40, most_s=0.0)

    assert states(found)["stress: runs"] == "missed"
    assert found["verdicts"][0]["figure"] < 40
