"""What a benchmark wrote comes back as it was, and anything else is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.core.runtime import LayerTime, Peak, RunConditions, SelfTest
from yolor_deploy.measure.latency.record import (
    Condition,
    CpuCondition,
    DensityPoint,
    Energy,
    GpuCondition,
    GpuFacts,
    Inputs,
    LayerCost,
    Record,
    Settings,
    Subject,
    Throughput,
)
from yolor_deploy.measure.latency.record_file import read_record, record_from_json


def _record() -> Record:
    """Return a record that uses every field."""
    subject = Subject(
        name="a",
        path="a.onnx",
        sha256="00",
        kind="model",
        variant="custom",
        family="yaml",
        precision="fp32",
        num_classes=80,
        class_names_sha256="11",
        input={"height": 64, "width": 64, "dtype": "float32", "layout": "NCHW"},
        output="detections",
        nms={"score_threshold": 0.25},
        random_weights=True,
        history=({"stage": "write"},),
        conditions=RunConditions("onnxruntime 1", "cpu", threads=2),
        inputs=Inputs("drawn", 2, True, 10, 3, (10, 11), (3, 3), "drawn, seed 0"),
        clock="host",
        warmup_ms=(3.0, 2.0),
        warmup_settled=True,
        at_s=(0.0, 1.0),
        samples={"preprocess": (0.5, 0.5), "run": (1.0, 1.1)},
        stage_at_s=(0.5,),
        stages={"model": (0.9,)},
        stopped_by="noise",
        throughput=(Throughput(2, 1, (0.1, 0.2)),),
        memory_bytes={"weights": 100},
        energy=Energy(10.0, 1.0, 5, None),
        layers=(LayerCost("conv", "Conv", 10, 20, None),),
        profile=(LayerTime("conv", 0.8),),
        density=(DensityPoint(10, 3, (0.1,)),),
        peak=Peak(100.0, 10.0, "fp32", "small"),
        self_test=SelfTest("host", (1.0,), (1.01,), passed=True, note="sleep"),
        notes=("a note",),
    )
    conditions = (
        Condition(0.0, "before", CpuCondition(load=0.1)),
        Condition(
            1.0, "during", CpuCondition(), GpuCondition(1980.0, throttle_reasons=("sw_power_cap",))
        ),
    )
    return Record(
        version="0.1.0",
        command=("yolor-deploy", "bench", "a.onnx"),
        started="2026-01-01T00:00:00+00:00",
        settings=Settings(streams=(1, 2), reference="a"),
        environment={"cpu": "x"},
        gpu=GpuFacts("H200", driver="580"),
        conditions=conditions,
        overhead_us={"clock": 0.1, "sample": 1.0},
        cache="same",
        subjects=(subject,),
        complete=True,
    )


def _value() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(json.dumps(_record().to_json()))
    return value


def test_record_comes_back_as_it_was(tmp_path: Path) -> None:
    """Writing and reading change nothing."""
    path = tmp_path / "raw.json"
    path.write_text(json.dumps(_record().to_json()), encoding="utf-8")

    assert read_record(path) == _record()


def test_record_of_another_format_is_refused() -> None:
    """A file of a later format names the version that reads it."""
    value = _value() | {"format": 2, "version": "9.9"}

    with pytest.raises(EvaluationError, match="format 2, expected 1") as caught:
        record_from_json(value, where="raw.json")

    assert "9.9" in caught.value.hint


@pytest.mark.parametrize("value", [[], {}, {"kind": "other"}, 3, None])
def test_other_json_is_refused(value: Any) -> None:
    """JSON of something else is not taken for samples."""
    with pytest.raises(EvaluationError, match="not the raw samples"):
        record_from_json(value, where="raw.json")


@pytest.mark.parametrize("key", ["subjects", "settings", "conditions", "overhead_us"])
@pytest.mark.parametrize("damage", [None, 3, [3], "x"])
def test_damaged_record_is_refused(key: str, damage: Any) -> None:
    """A part that is of another kind, or missing, is damage."""
    value = _value()
    value[key] = damage

    with pytest.raises(EvaluationError, match="damaged"):
        record_from_json(value, where="raw.json")


@pytest.mark.parametrize(
    ("key", "damage"),
    [
        pytest.param("at_s", [0.0], id="shorter"),
        pytest.param("samples", {"run": ["x", "y"]}, id="text"),
        pytest.param("samples", {"run": [float("nan"), 1.0]}, id="nan"),
        pytest.param("samples", {"preprocess": [0, 0], "run": [0, 1]}, id="no-time"),
        pytest.param("samples", {"preprocess": [0, 0], "run": [-5, 1]}, id="negative"),
        pytest.param("samples", {"preprocess": [0, 0], "run": [1e308, 1]}, id="eternal"),
        pytest.param("samples", {"preprocess": [0, 0], "run": [10**400, 1]}, id="huge"),
        pytest.param("at_s", [0.0, 1e300], id="moment-at-the-end-of-time"),
        pytest.param("memory_bytes", {"weights": 10**30}, id="more-bytes-than-there-are"),
        pytest.param("samples", {}, id="no-runs"),
        pytest.param("conditions", {}, id="empty"),
        pytest.param("kind", "other", id="no-kind-of-artifact"),
        pytest.param("num_classes", True, id="truth-as-number"),
        pytest.param("input", {"height": "<b>"}, id="no-size"),
    ],
)
def test_damaged_subject_is_refused(key: str, damage: Any) -> None:
    """Series that do not belong together, or are no numbers, are damage."""
    value = _value()
    value["subjects"][0][key] = damage

    with pytest.raises(EvaluationError, match="damaged"):
        record_from_json(value, where="raw.json")


def test_two_subjects_of_one_name_are_refused() -> None:
    """Names tell subjects apart, so none may be there twice."""
    value = _value()
    value["subjects"] *= 2

    with pytest.raises(EvaluationError, match="not unique"):
        record_from_json(value, where="raw.json")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000], ids=["empty", "cut", "deep"])
def test_file_that_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is cut short, or nested without end, is refused and named."""
    path = tmp_path / "raw.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(EvaluationError, match="not JSON") as caught:
        read_record(path)

    assert caught.value.where == str(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is an error of the user."""
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_record(tmp_path / "none.json")


def test_binary_file_is_refused(tmp_path: Path) -> None:
    """Bytes that are no text are refused, not decoded."""
    path = tmp_path / "raw.json"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(EvaluationError, match="not JSON"):
        read_record(path)
