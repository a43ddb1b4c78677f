"""What a record says."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.measure.latency.series import (
    SAMPLES,
    clean_record,
    clean_subject,
    pair,
    series,
    times,
)
from yolor_deploy.core.runtime import Peak
from yolor_deploy.measure.latency.record import (
    Energy,
    LayerCost,
    Record,
    Settings,
    Subject,
    Throughput,
)
from yolor_deploy.measure.latency.record_file import record_from_json
from yolor_deploy.measure.latency.statistics import distribution
from yolor_deploy.measure.latency.summarise import summarise

LAYER = LayerCost("conv", "Conv", flops=10**9, num_bytes=1000, ms=None)
PEAK = Peak(gflops=1000.0, gbytes_per_s=10.0, precision="fp32", note="")


def three(**changes: object) -> Record:
    """Return three artifacts, of which the second is the fastest and the third the slowest."""
    names = {"a": 1.0, "b": 2.0, "c": 0.5}
    base = series("stationary", SAMPLES, seed=1)
    subjects = [
        clean_subject(
            name,
            samples={"run": times(base / speed)},
            stages={"model": times(base / speed), "nms": times(0.01 * base)},
        )
        for name, speed in names.items()
    ]
    return replace(clean_record(*subjects), **changes)  # type: ignore[arg-type] # fields of it


def test_a_clean_benchmark_is_valid() -> None:
    """Nothing is found where nothing is wrong."""
    found = summarise(clean_record())

    assert found.findings == ()
    assert found.is_valid
    assert [subject.name for subject in found.subjects] == ["d6", "p7"]


def test_figures_are_those_of_the_samples() -> None:
    """Runs, preprocessing and both together have their distributions."""
    subject = clean_subject()

    (found, _) = summarise(clean_record(subject, clean_subject("p7", seed=2))).subjects

    assert found.run == distribution(subject.samples["run"])
    assert found.preprocess == distribution([1.0] * SAMPLES)
    assert found.total == distribution([1.0 + run for run in subject.samples["run"]])


def test_stages_are_in_the_order_of_an_image() -> None:
    """The sum is taken run by run, preprocessing included."""
    stages = {"nms": (1.0, 2.0, 3.0), "model": (9.0, 8.0, 7.0), "preprocess": (5.0, 5.0, 5.0)}
    subject = clean_subject(stages=stages, stage_at_s=(0.0, 1.0, 2.0))

    (found,) = summarise(clean_record(subject)).subjects

    assert list(found.stages) == ["preprocess", "model", "nms"]
    assert found.stage_sum == distribution([15.0, 15.0, 15.0])
    assert found.nms_share == pytest.approx(0.2)  # the median of 0.1, 0.2 and 0.3


def test_what_was_not_timed_is_not_there() -> None:
    """Without preprocessing and stages there is the run alone."""
    subject = clean_subject(
        samples={"run": (10.0, 10.0)}, at_s=(0.0, 1.0), stages={}, stage_at_s=()
    )

    (found,) = summarise(clean_record(subject)).subjects

    assert (found.preprocess, found.total, found.stage_sum, found.nms_share) == (None,) * 4
    assert (found.joules_per_image, found.roofline, found.throughput) == (None, None, ())
    assert found.stages == {}


def test_nms_has_no_share_without_a_stage_of_its_own() -> None:
    """An NMS inside of the model is not told apart."""
    subject = clean_subject(stages={"model": (9.0,)}, stage_at_s=(0.0,))

    (found,) = summarise(clean_record(subject)).subjects

    assert found.nms_share is None


def test_frames_a_second_count_the_images_of_a_run() -> None:
    """One run of four images in 10 ms is 400 images a second."""
    subject = clean_subject(samples={"run": (10.0,) * SAMPLES})

    (found,) = summarise(clean_record(subject, settings=Settings(batch=4))).subjects

    assert found.fps == pytest.approx(400)


def test_times_of_zero_have_no_frames_a_second() -> None:
    """A clock that does not move divides nothing by 0."""
    subject = clean_subject(samples={"run": (0.0,) * SAMPLES}, stages={})

    (found,) = summarise(clean_record(subject, clean_subject("p7", samples={}))).subjects

    assert found.fps == 0.0


def test_throughput_and_energy_are_per_image() -> None:
    """Saturated runs give images a second, and joules are those of the card."""
    subject = clean_subject(
        throughput=(Throughput(1, 2, tuple(0.01 * i for i in range(1, 102))), Throughput(2, 2, ())),
        energy=Energy(joules=50.0, seconds=1.0, images=200, idle_w=10.0),
    )

    (found,) = summarise(clean_record(subject)).subjects

    (throughput,) = found.throughput
    assert (throughput.streams, throughput.batch) == (1, 2)
    assert throughput.images_per_s.value == pytest.approx(200)
    assert found.joules_per_image == 0.25


@pytest.mark.parametrize(
    ("stages", "measured_ms"),
    [({"model": (8.0, 8.0, 8.0)}, 8.0), ({}, 10.0)],
    ids=["with-stages", "without"],
)
def test_roofline_compares_the_model(
    stages: dict[str, tuple[float, ...]], measured_ms: float
) -> None:
    """Its own stage is compared with the limit where it was timed, else the run."""
    subject = clean_subject(
        samples={"run": (10.0,) * SAMPLES},
        stages=stages,
        stage_at_s=(0.0, 1.0, 2.0) if stages else (),
        layers=(LAYER,),
        peak=PEAK,
    )

    (found,) = summarise(clean_record(subject)).subjects

    assert found.roofline is not None
    assert found.roofline.measured_ms == measured_ms
    assert found.roofline.times_from_limit == pytest.approx(measured_ms / 1.0)


def test_artifacts_without_a_sample_are_left_out() -> None:
    """What was interrupted before its first run has no figures."""
    record = clean_record(clean_subject("d6"), clean_subject("p7", samples={}, at_s=()))

    found = summarise(record)

    assert [subject.name for subject in found.subjects] == ["d6"]
    assert found.ratios == ()


def test_nothing_measured_is_a_summary() -> None:
    """An interrupted benchmark without any artifact says that it was."""
    found = summarise(replace(clean_record(), subjects=(), interrupted=True))

    assert (found.subjects, found.ratios) == ((), ())
    assert [finding.rule for finding in found.findings] == ["interrupted"]


def test_ratios_are_against_the_last_artifact() -> None:
    """The run comes first, the model next, and each says how many rounds it is of."""
    found = summarise(three()).ratios

    assert [(r.subject, r.reference, r.of) for r in found] == [
        (name, "c", of) for name in "ab" for of in ("run", "model", "nms")
    ]
    assert [r.speedup.value for r in found] == pytest.approx([2, 2, 1, 4, 4, 1])
    assert {r.rounds for r in found} == {SAMPLES}


def test_ratios_are_against_the_reference_that_was_asked_for() -> None:
    """A slower artifact has a ratio below 1."""
    found = summarise(three(settings=Settings(reference="a"))).ratios

    speedups = {r.subject: r.speedup.value for r in found if r.of == "run"}
    assert speedups == {"b": pytest.approx(2), "c": pytest.approx(0.5)}


def test_there_is_no_ratio_against_what_was_not_measured() -> None:
    """A reference without samples, or of another name, leaves none."""
    assert summarise(three(settings=Settings(reference="z"))).ratios == ()
    assert summarise(clean_record(clean_subject())).ratios == ()


def test_rounds_that_are_cut_off_are_not_paired() -> None:
    """An interrupted round leaves one sample more to the first artifact."""
    reference, subject = pair("stationary", SAMPLES, seed=1)
    record = clean_record(
        clean_subject("a", samples={"run": tuple(subject)}, stages={}),
        clean_subject("b", samples={"run": tuple(reference[:-1])}, stages={}),
    )

    (found,) = summarise(record).ratios

    assert found.rounds == SAMPLES - 1
    assert found.speedup.low is not None


def test_common_drift_does_not_move_the_ratio() -> None:
    """A machine that becomes a third slower does so for both sides of each round."""
    reference, subject = pair("drifting", SAMPLES, seed=3, speedup=1.5)
    record = clean_record(
        clean_subject("a", samples={"run": tuple(subject)}, stages={}),
        clean_subject("b", samples={"run": tuple(reference)}, stages={}),
    )

    (found,) = summarise(record).ratios

    assert found.speedup.low is not None
    assert found.speedup.high is not None
    assert 1.45 < found.speedup.low < 1.5 < found.speedup.high < 1.55


def test_artifacts_measured_one_after_the_other_have_no_ratio() -> None:
    """Times of different minutes are no rounds."""
    later = tuple(1000.0 + i for i in range(SAMPLES))
    record = clean_record(clean_subject("a"), clean_subject("b", at_s=later, stage_at_s=later))

    assert summarise(record).ratios == ()


def test_stages_that_take_no_time_have_no_ratio() -> None:
    """A device clock may see nothing of a copy; the others are compared."""
    nothing: Subject = clean_subject("a")
    nothing = replace(nothing, stages={**nothing.stages, "nms": (0.0,) * SAMPLES})

    found = summarise(clean_record(nothing, clean_subject("b", seed=2))).ratios

    assert [r.of for r in found] == ["run", "model", "preprocess"]


def test_a_replay_says_the_same() -> None:
    """A record that was written and read has the same summary, and it is plain JSON."""
    record = three()
    read = record_from_json(json.loads(json.dumps(record.to_json())), where="here")

    found = summarise(read)

    assert found == summarise(record)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["is_valid"] is True


def test_summary_of_many_samples_is_the_median_of_them() -> None:
    """Ten thousand samples are summarised as ten are."""
    run = series("heavy-tailed", 10_000, seed=1)
    moments = tuple(float(i) for i in range(len(run)))
    subject = clean_subject(samples={"run": times(run)}, at_s=moments, stages={}, stage_at_s=())

    (found,) = summarise(clean_record(subject)).subjects

    assert found.run.p50.value == float(np.median(run))
    assert found.run.p99.high is not None


@pytest.mark.parametrize(
    ("stages", "limit_ms"),
    [
        pytest.param(("model", "nms"), 1.0, id="nms-apart"),
        pytest.param(("model",), 2.0, id="nms-in-the-model"),
        pytest.param((), 2.0, id="whole-runs"),
    ],
)
def test_roofline_is_of_what_was_measured(stages: tuple[str, ...], limit_ms: float) -> None:
    """The head's node is in the limit unless the NMS is a stage of its own."""
    head = LayerCost("/nms", "YolorNMS", flops=10**9, num_bytes=1000, ms=None)
    subject = clean_subject(
        layers=(LAYER, head), peak=PEAK, stages=dict.fromkeys(stages, (5.0,) * SAMPLES)
    )

    (found,) = summarise(clean_record(subject)).subjects

    assert found.roofline is not None
    assert found.roofline.limit_ms == pytest.approx(limit_ms)
