"""What the check of engines makes of engines that are right, and of such that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.tensorrt_check import __main__ as command
from benchmarks.tensorrt_check import outputs
from benchmarks.tensorrt_check.registry import examine_registry
from benchmarks.tensorrt_check.rig import Reference
from benchmarks.tensorrt_check.verdict import at_least, at_most, is_met, line, report
from tests.backends.tensorrt.engines import plugin_file, stand_in
from tests.benchmarks.engine_bench import WAYS, Bench, Spoil, shifted, states
from yolor_deploy.core.passport import NmsWay


@pytest.mark.nms_build
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8+fp16"])
def test_outputs_of_a_right_engine_pass(bench: Bench, way: NmsWay, precision: str) -> None:
    """Raw maps, the bits of the kernels, and the rows are those of the model."""
    found = outputs.compare_outputs(bench.rig, bench.engine(way, precision), bench.reference)

    assert found["verdicts"] or (way != "kernels" and precision == "int8+fp16")
    assert set(states(found).values()) <= {"passed"}, found
    assert sum(found["detections"]) > 0
    assert found["shares_of_rows"] == [1.0, 1.0]
    assert ("raw_max_error" in found) == (way == "kernels")


@pytest.mark.nms_build
@pytest.mark.parametrize(
    ("way", "change", "missed"),
    [
        pytest.param("kernels", shifted("raw_1", 0.002), "raw maps against ONNX", id="raw"),
        pytest.param("kernels", shifted("raw_0", np.nan), "raw maps against ONNX", id="nan"),
        pytest.param("plugin", shifted("scores", -0.5), "rows against ONNX", id="scores"),
        pytest.param("ops", shifted("boxes_xyxy", 3.0), "rows against ONNX", id="boxes"),
    ],
)
def test_outputs_that_differ_are_missed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, way: NmsWay, change: Spoil, missed: str
) -> None:
    """One value that is wrong is found, and the report can be written."""
    engine = bench.engine(way)
    bench.spoil(monkeypatch, change)

    found = outputs.compare_outputs(bench.rig, engine, bench.reference)

    assert not is_met(found)
    assert [state for target, state in states(found).items() if missed in target] == ["missed"]
    json.dumps(found, allow_nan=False)


@pytest.mark.nms_build
def test_outputs_of_fewer_bits_need_signal(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of a tenth of what a map varies by is too much for half precision, not for 8 bits."""
    engines = {kind: bench.engine("kernels", kind) for kind in ("fp16", "int8+fp16")}
    spread = [raw.std(axis=(2, 3)).mean() for raw in bench.reference.maps]
    noise = np.random.default_rng(0).normal(size=100_000)

    def add_noise(context: Any) -> None:
        for level, deviation in enumerate(spread):
            values = context._at(f"raw_{level}")
            values += (0.1 * deviation * noise[: values.size]).reshape(values.shape)

    bench.spoil(monkeypatch, add_noise)

    decibels = {}
    for kind, engine in engines.items():
        found = outputs.compare_outputs(bench.rig, engine, bench.reference)
        (verdict,) = (v for v in found["verdicts"] if "signal" in v["target"])
        decibels[kind] = (verdict["state"], verdict["figure"])
    assert [state for state, _ in decibels.values()] == ["missed", "passed"]
    assert all(15 < figure < 25 for _, figure in decibels.values())


def test_signal_does_not_count_the_mean() -> None:
    """A map of constants has no signal, however large they are."""
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(1, 2, 50, 50)) + 100.0
    flat = np.broadcast_to(exact.mean(axis=(2, 3), keepdims=True), exact.shape)

    assert outputs.varying_signal_db(flat, exact) == pytest.approx(0.0, abs=0.01)
    assert outputs.varying_signal_db(exact, exact) == 200.0
    assert outputs.varying_signal_db(exact + 0.01, exact) == pytest.approx(40.0, abs=0.5)


@pytest.mark.nms_build
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_three_ways_are_compared_in_pairs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """All pairs pass, and those of a way that is wrong are missed."""
    engines = [bench.engine(way, precision) for way in WAYS]
    right = outputs.compare_ways(bench.rig, engines, bench.reference)
    assert list(states(right).values()) == ["passed"] * 3

    def lose_scores(context: Any) -> None:
        if "scores" in context.engine.tensors:  # not where the kernels run behind
            context._at("scores")[:] = 0.0

    bench.spoil(monkeypatch, lose_scores)
    wrong = outputs.compare_ways(bench.rig, engines, bench.reference)

    assert states(wrong) == {
        f"{precision}: rows of plugin against kernels": "missed",
        f"{precision}: rows of plugin against ops": "passed",
        f"{precision}: rows of kernels against ops": "missed",
    }


@pytest.mark.nms_build
def test_fresh_process_must_give_the_same_bits(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of ``outputs`` are kept beside the engine, and the last bit counts."""
    engine = bench.engine("plugin")
    outputs.compare_outputs(bench.rig, engine, bench.reference)
    assert is_met(outputs.compare_fresh(bench.rig, engine, bench.reference))

    bench.spoil(monkeypatch, shifted("scores", 2e-7))

    found = outputs.compare_fresh(bench.rig, engine, bench.reference)
    assert states(found) == {
        "fp32.plugin.engine: values that a fresh process gives otherwise": "missed"
    }


@pytest.mark.parametrize(
    ("difference", "state"), [(0.0009, "passed"), (-0.0009, "passed"), (-0.0012, "missed")]
)
def test_accuracy_may_change_by_a_tenth_of_a_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, difference: float, state: str
) -> None:
    """Either way; better is as wrong as worse."""
    sides = [
        SimpleNamespace(precision=name, accuracy=SimpleNamespace(ap=0.9))
        for name in ("fp32", "fp16")
    ]
    pair = SimpleNamespace(a=sides[0], b=sides[1], ap_difference=difference)
    monkeypatch.setattr(outputs, "evaluate_pair", lambda *_: pair)
    (tmp_path / "annotations.json").write_text("{}")

    found = outputs.compare_accuracy(Path("a.onnx"), Path("b.engine"), tmp_path)

    assert states(found) == {"fp16: AP against ONNX Runtime, either way": state}


class Creator:
    """Stands in for the creator of the plugin."""

    def __init__(self, *, wants_anchors: bool = True, names: tuple[str, ...] = ()) -> None:
        wanted = names or ("anchors", "num_anchors", "strides", "num_classes")
        limits = ("max_detections", "max_candidates", "multi_label", "class_agnostic")
        self.field_names = [SimpleNamespace(name=name) for name in (*wanted, *limits)]
        self.wants_anchors = wants_anchors

    def create_plugin(self, name: str, fields: list[Any]) -> object | None:
        """Make one if the fields are there."""
        has_anchors = any(field.name == "anchors" for field in fields)
        return name if has_anchors or not self.wants_anchors else None


@pytest.mark.parametrize(
    ("creator", "problem"),
    [
        pytest.param(Creator(), "", id="right"),
        pytest.param(Creator(wants_anchors=False), "a plugin without anchors", id="takes-all"),
        pytest.param(Creator(names=("anchors",)), "its fields are anchors", id="fields"),
        pytest.param(None, "libplugin.so: TensorRT does not say why", id="none"),
    ],
)
def test_registry_asks_the_creator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, creator: Creator | None, problem: str
) -> None:
    """It must have our fields, make a plugin of them, and refuse too few."""
    with stand_in(monkeypatch) as trt:
        library = plugin_file(tmp_path)
        monkeypatch.setattr(trt.IPluginRegistry, "get_creator", lambda *_: creator)
        trt.PluginField = lambda name, *_: SimpleNamespace(name=name)
        trt.PluginFieldType = SimpleNamespace(FLOAT32=1, INT32=5)
        trt.PluginFieldCollection = list

        found = examine_registry(trt, library)

    (verdict,) = found["verdicts"]
    assert verdict["state"] == ("missed" if problem else "passed")
    assert problem in verdict["note"]


@pytest.mark.nms_build
def test_command_prints_json(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 0, 1 for a missed target, 2 where the step could not be done."""
    file, engine = bench.folder / "reference.npz", bench.engine("plugin")
    given = ["outputs", str(engine), str(file)]

    assert command.main(["reference", str(bench.model.path), str(file)]) == 0
    assert command.main(given, lambda: bench.rig) == 0
    bench.spoil(monkeypatch, shifted("scores", -0.5))
    assert command.main(given, lambda: bench.rig) == 1
    engine.write_bytes(b"ftrt")
    assert command.main(given, lambda: bench.rig) == 2

    captured = capsys.readouterr()
    printed = [json.loads(text) for text in captured.out.splitlines()]
    assert [len(found["verdicts"]) for found in printed] == [0, 1, 1]
    assert captured.err.startswith("error: ")


def test_reference_is_read_as_it_was_written(bench: Bench, tmp_path: Path) -> None:
    """Maps and threshold are the same."""
    bench.reference.save(tmp_path / "kept.npz")

    kept = Reference.load(tmp_path / "kept.npz")

    assert kept.score_threshold == bench.reference.score_threshold
    for found, expected in zip(kept.maps, bench.reference.maps, strict=True):
        assert np.array_equal(found, expected)


def test_verdict_of_what_is_no_number_is_missed() -> None:
    """NaN meets no limit, and its line is text."""
    verdicts = [at_most("a", float("nan"), 1.0), at_least("b", float("nan"), 1.0, "dB", "note")]

    found = report(verdicts)

    assert [line(verdict) for verdict in found["verdicts"]] == [
        "missed: a: no number, at most 1",
        "missed: b: no number dB, at least 1 (note)",
    ]
    json.dumps(found, allow_nan=False)
