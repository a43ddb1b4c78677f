"""Every rule fires on what it is for, and on nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.measure.latency.series import (
    SAMPLES,
    clean_record,
    clean_subject,
    gpu_record,
    series,
    times,
)
from yolor_deploy.core.runtime import Peak, SelfTest
from yolor_deploy.measure.latency.record import Inputs, LayerCost, Record, Settings
from yolor_deploy.measure.latency.summarise import summarise
from yolor_deploy.measure.latency.summary import Finding
from yolor_deploy.measure.latency.validity import findings

FAILED = SelfTest("device", (5.0,), (0.01,), passed=False, note="spins")
ON_CPU = clean_subject().conditions
QUIET = series("stationary", SAMPLES, seed=1)


def changed(**changes: Any) -> Record:
    """Return a clean benchmark whose first artifact is otherwise."""
    return clean_record(clean_subject("d6", **changes), clean_subject("p7", seed=2))


def with_runs(values: Any) -> Record:
    """Return a clean benchmark whose first artifact took these times, and stages as long."""
    moments = tuple(0.5 * i for i in range(len(values)))
    return changed(
        samples={"run": times(values)},
        stages={"model": times(values)},
        at_s=moments,
        stage_at_s=moments,
    )


def found_in(record: Record) -> list[tuple[str, str | None, str]]:
    """Return rule, artifact and severity of all findings."""
    return [(f.rule, f.subject, f.severity) for f in summarise(record).findings]


def text_of(record: Record) -> str:
    """Return what the only finding says."""
    (finding,) = summarise(record).findings
    return finding.text


@pytest.mark.parametrize("record", [clean_record(), gpu_record()], ids=["cpu", "gpu"])
def test_nothing_is_found_in_a_clean_benchmark(record: Record) -> None:
    """No rule fires where nothing is wrong."""
    assert found_in(record) == []


CASES = [
    pytest.param(with_runs(QUIET * np.linspace(1, 1.1, SAMPLES)), "drifted", "invalid", id="rises"),
    pytest.param(with_runs(QUIET * np.linspace(1, 0.9, SAMPLES)), "drifted", "invalid", id="falls"),
    pytest.param(changed(warmup_settled=False), "not-settled", "warning", id="not-settled"),
    pytest.param(with_runs(QUIET[:5]), "few-samples", "warning", id="five-samples"),
    pytest.param(changed(at_s=(1.0, 0.5, *range(58))), "clock-backwards", "invalid", id="at"),
    pytest.param(
        changed(stage_at_s=(1.0, 0.5, *range(58))), "clock-backwards", "invalid", id="stage-at"
    ),
    pytest.param(
        changed(warmup_ms=(11.0, -3.0)), "clock-backwards", "invalid", id="negative-warm-up"
    ),
    pytest.param(changed(self_test=FAILED), "self-test", "invalid", id="self-test-failed"),
    pytest.param(
        changed(clock="device", self_test=None), "self-test", "warning", id="self-test-absent"
    ),
    pytest.param(
        with_runs(QUIET + 3 * (np.sin(np.arange(SAMPLES) ** 2) > 0.6)),
        "bimodal",
        "warning",
        id="bimodal",
    ),
    pytest.param(
        changed(inputs=Inputs("images", 2, False, None, None, (0, 0), (0, 0), "photos")),
        "nothing-detected",
        "warning",
        id="nothing-detected",
    ),
    pytest.param(changed(num_classes=20), "different-work", "warning", id="classes"),
    pytest.param(changed(class_names_sha256="d" * 64), "different-work", "warning", id="names"),
    pytest.param(
        changed(nms={"score_threshold": 0.001, "iou_threshold": 0.45, "max_detections": 300}),
        "different-work",
        "warning",
        id="thresholds",
    ),
    pytest.param(changed(nms=None), "different-work", "warning", id="one-detects"),
    pytest.param(
        changed(conditions=replace(ON_CPU, runtime="tensorrt 10.0")),
        "different-work",
        "warning",
        id="runtime",
    ),
    pytest.param(
        changed(conditions=replace(ON_CPU, device="NVIDIA L4")),
        "different-work",
        "warning",
        id="device",
    ),
    pytest.param(changed(precision="fp16"), "different-precision", "warning", id="precision"),
    pytest.param(
        changed(stages={"model": times(0.85 * QUIET)}), "stages-differ", "warning", id="stages-less"
    ),
    pytest.param(
        changed(stages={"model": times(QUIET), "preprocess": (4.0,) * SAMPLES}),
        "stages-differ",
        "warning",
        id="preprocess-more",
    ),
    pytest.param(
        changed(
            layers=(LayerCost("conv", "Conv", 10**9, 10**6, None),),
            peak=Peak(50.0, 100.0, "fp32", "20 ms for a billion, and the model takes 10"),
        ),
        "beyond-limit",
        "warning",
        id="faster-than-light",
    ),
]


@pytest.mark.parametrize(("record", "rule", "severity"), CASES)
def test_rule_fires(record: Record, rule: str, severity: str) -> None:
    """It names the artifact, and no other rule fires with it."""
    assert found_in(record) == [(rule, "d6", severity)]


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(with_runs(QUIET * np.linspace(1, 1.015, SAMPLES)), id="drift-of-1-percent"),
        pytest.param(
            with_runs(series("stationary", SAMPLES, seed=2, noise=0.1)), id="noise-of-10-percent"
        ),
        pytest.param(with_runs(QUIET[:6]), id="six-samples"),
        pytest.param(with_runs(series("heavy-tailed", SAMPLES, seed=3)), id="outliers"),
        pytest.param(changed(self_test=None), id="host-clock-without-self-test"),
        pytest.param(
            changed(inputs=Inputs("images", 2, False, None, None, (0, 0), (0, 1), "photos")),
            id="one-object",
        ),
        pytest.param(
            changed(inputs=Inputs("images", 2, False, None, None, None, None, "photos")),
            id="objects-not-counted",
        ),
        pytest.param(
            changed(conditions=replace(ON_CPU, runtime="onnxruntime 1.20.0")), id="other-version"
        ),
        pytest.param(
            changed(input={"height": 640, "width": 640, "dtype": "float32", "layout": "NCHW"}),
            id="other-size",
        ),
        pytest.param(changed(nms={"score_threshold": 0.25}), id="older-artifact-of-fewer-settings"),
        pytest.param(changed(stages={"model": times(0.95 * QUIET)}), id="stages-differ-by-5"),
        pytest.param(changed(stopped_by="samples"), id="enough-samples"),
        pytest.param(changed(stopped_by="timeout"), id="quiet-at-the-time-limit"),
        pytest.param(changed(at_s=(0.0,) * SAMPLES), id="clock-that-stands"),
    ],
)
def test_near_miss_is_not_found(record: Record) -> None:
    """What is within the limits of the rules is left alone."""
    assert found_in(record) == []


def test_drift_is_not_hidden_by_the_noise_that_it_makes() -> None:
    """A slow machine that is getting slower in steps is seen though its median is not known."""
    steps = np.repeat([1.0, 1.04, 1.08], SAMPLES // 3)

    record = with_runs(QUIET * steps)

    assert ("drifted", "d6", "invalid") in found_in(record)
    assert "7.7 % longer" in text_of(record)


@pytest.mark.parametrize(("last", "word"), [(1.1, "longer"), (0.9, "shorter")])
def test_drift_says_how_much_and_where_to(last: float, word: str) -> None:
    """The figure is of the last third against the first."""
    exact = [10.0] * 20 + [10.0] * 20 + [10.0 * last] * 20

    (finding,) = (f for f in summarise(with_runs(np.array(exact))).findings if f.rule == "drifted")

    assert finding.text == f"the last third of the runs took 10 % {word} than the first"


def test_timeout_tells_the_noise_that_was_reached() -> None:
    """A limit in time is a result, and said."""
    noisy = series("stationary", SAMPLES, seed=2, noise=0.1)
    record = with_runs(noisy)
    record = replace(
        record, subjects=(replace(record.subjects[0], stopped_by="timeout"), record.subjects[1])
    )

    assert found_in(record) == [("timeout", "d6", "warning")]
    assert text_of(record).startswith("stopped by the limit of 60 s after 60 runs: noise ")
    assert text_of(record).endswith(", target 1 %")


def test_timeout_before_the_least_number_of_samples_is_said() -> None:
    """Though the noise was reached, there were to be more."""
    record = replace(changed(stopped_by="timeout"), settings=Settings(min_samples=100))

    assert found_in(record) == [("timeout", "d6", "warning")]


def test_timeout_of_few_samples_knows_no_noise() -> None:
    """There is no figure to tell."""
    record = with_runs(QUIET[:3])
    record = replace(
        record, subjects=(replace(record.subjects[0], stopped_by="timeout"), record.subjects[1])
    )

    (found,) = (f for f in summarise(record).findings if f.rule == "timeout")

    assert "noise not known" in found.text


@pytest.mark.parametrize(
    ("record", "text"),
    [
        pytest.param(clean_record(interrupted=True), "stopped by the user", id="record"),
        pytest.param(changed(stopped_by="interrupted"), "stopped by the user", id="artifact"),
        pytest.param(clean_record(complete=False), "did not come to its end", id="incomplete"),
    ],
)
def test_benchmark_that_was_cut_off_is_said(record: Record, text: str) -> None:
    """It is valid as far as it has come."""
    assert found_in(record) == [("interrupted", None, "warning")]
    assert text in text_of(record)
    assert summarise(record).is_valid


def test_negative_times_are_invalid() -> None:
    """A run does not end before it begins."""
    record = with_runs(np.array([-1.0, *QUIET[1:]]))

    found = [f for f in summarise(record).findings if f.rule == "clock-backwards"]

    assert [f.severity for f in found] == ["invalid", "invalid"]  # the run, and its stage
    assert found[0].text == "1 times of run are negative, such as -1 ms"


def test_moments_of_the_machine_that_go_back_are_invalid() -> None:
    """The clock of the conditions is the same."""
    record = clean_record()
    moments = list(record.conditions)
    moments[3] = replace(moments[3], at_s=1.0)

    record = replace(record, conditions=tuple(moments))

    assert found_in(record) == [("clock-backwards", None, "invalid")]
    assert text_of(record) == "the clock went back 1 times, from 6 to 1 s"


def test_self_test_says_what_the_clock_saw() -> None:
    """A clock that does not wait for the device sees next to nothing."""
    assert text_of(changed(self_test=FAILED)) == (
        "the GPU's events or the host do not see work of known length: 0.01 of 5 ms"
    )


def test_different_work_is_told_against_the_reference() -> None:
    """Each difference is named, once for each artifact that is not the reference."""
    nms = {"score_threshold": 0.001, "iou_threshold": 0.65, "max_detections": 300}
    odd = clean_subject("odd", nms=nms, num_classes=20)
    record = clean_record(clean_subject("a"), odd, clean_subject("b", seed=2))

    assert found_in(record) == [("different-work", "odd", "warning")]
    assert text_of(record) == (
        "not the same work as b: 20 classes, not 80, score_threshold 0.001, not 0.25, "
        "iou_threshold 0.65, not 0.45"
    )
    against_odd = replace(record, settings=Settings(reference="odd"))
    assert [name for _, name, _ in found_in(against_odd)] == ["a", "b"]


def test_other_runtime_device_and_precision_are_named() -> None:
    """A ratio is of them as well as of the models."""
    there = replace(ON_CPU, runtime="tensorrt 10.0", device="NVIDIA L4")
    record = changed(conditions=there, precision="fp16")

    assert [finding.text for finding in summarise(record).findings] == [
        "not the same work as p7: by tensorrt, not onnxruntime, on NVIDIA L4, not cpu",
        "computes in fp16, and p7 in fp32",
    ]


def test_artifacts_without_samples_are_said_to_have_none() -> None:
    """Nothing was derived of them, and yet they were to be measured."""
    record = clean_record(clean_subject("d6", samples={}, at_s=()), clean_subject("p7", seed=2))

    assert found_in(record) == [("few-samples", "d6", "warning")]


def test_what_invalidates_comes_first() -> None:
    """A warning of an earlier artifact stands behind."""
    record = clean_record(
        clean_subject("d6", warmup_settled=False), clean_subject("p7", self_test=FAILED)
    )

    found = summarise(record)

    assert [f.severity for f in found.findings] == ["invalid", "warning"]
    assert not found.is_valid


def test_findings_need_no_summaries() -> None:
    """Rules of the machine and of the record hold before anything was derived."""
    found = findings(clean_record(clean_subject(self_test=FAILED), interrupted=True), ())

    assert [f.rule for f in found] == ["self-test", "interrupted"]
    assert all(isinstance(f, Finding) for f in found)
