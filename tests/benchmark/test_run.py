"""Benchmarks of a model of a few layers, from opening it to the record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.calibration_sets import folder_of
from tests.exports import exported, silent
from tests.tiny_checkpoints import write_tiny_checkpoint
from yolor_deploy.backends.onnxruntime.instruments import OnnxRuntimeInstruments
from yolor_deploy.benchmark import limits
from yolor_deploy.benchmark.options import BenchConfig
from yolor_deploy.benchmark.run import run_benchmark
from yolor_deploy.core.errors import EvaluationError, RunError
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import BatchRange, NmsConfig
from yolor_deploy.measure.latency.record import Record, Settings, StoppedBy
from yolor_deploy.measure.latency.record_file import record_from_json
from yolor_deploy.measure.latency.stopping import StoppingRule
from yolor_deploy.measure.latency.summarise import summarise

SHORT = Settings(noise_target=1e-9, min_samples=8, max_samples=8, time_limit_s=60.0, warmup_s=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny.onnx`` with batches of 1 to 2, ``other.onnx`` of another threshold, ``images``."""
    path = tmp_path_factory.mktemp("bench")
    checkpoint = write_tiny_checkpoint(path)
    exported(checkpoint, output=path / "tiny.onnx", batch=BatchRange(1, 1, 2))
    exported(checkpoint, output=path / "other.onnx", nms=NmsConfig(score_threshold=0.5))
    folder_of(path / "images", 3)
    return path


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> BenchConfig:
    """Eight samples of the tiny model alone."""
    return BenchConfig(
        (str(folder / "tiny.onnx"),),
        settings=SHORT,
        work=tmp_path / "work",
        layers=False,
        curve=False,
    )


def measured(config: BenchConfig, **told: Any) -> Record:
    """Measure without a word."""
    return run_benchmark(config, note=silent, **told)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, samples: int) -> None:
    """Press Ctrl-C after so many samples."""
    reason = StoppingRule.reason

    def interrupted(
        self: StoppingRule, values: Sequence[float], elapsed_s: float
    ) -> StoppedBy | None:
        if len(values) == samples:
            raise KeyboardInterrupt
        return reason(self, values, elapsed_s)

    monkeypatch.setattr(StoppingRule, "reason", interrupted)


def test_record_holds_every_sample_and_how_it_was_made(config: BenchConfig) -> None:
    """Samples of run and preprocessing, stages, conditions, inputs, and the machine are kept."""
    record = measured(config)

    (subject,) = record.subjects
    assert (len(subject.at_s), subject.stopped_by) == (8, "samples")
    assert {name: len(values) for name, values in subject.samples.items()} == {
        "preprocess": 8,
        "run": 8,
    }
    assert list(subject.stages) == ["preprocess", "model", "nms"]
    assert subject.conditions.runtime.startswith("onnxruntime ")
    assert (subject.inputs.kind, subject.inputs.count) == ("drawn", 8)
    assert subject.self_test is not None
    assert [condition.phase for condition in record.conditions][:: len(record.conditions) - 1] == [
        "before",
        "after",
    ]
    assert (record.complete, record.interrupted, record.cache) == (True, False, "same")
    assert set(record.overhead_us) == {"clock", "sample"}


def test_record_is_json_and_says_the_same_when_read(config: BenchConfig) -> None:
    """What is written gives the same figures again: a replay needs nothing else."""
    record = measured(config)

    read = record_from_json(json.loads(json.dumps(record.to_json())), where="test")

    assert read == record
    assert summarise(read).to_json() == summarise(record).to_json()


def test_artifacts_are_interleaved_and_compared_with_the_last(config: BenchConfig) -> None:
    """Two of the same file get two names, samples in turns, and a ratio."""
    twice = replace(config, subjects=config.subjects * 2)

    record = measured(twice)

    assert [subject.name for subject in record.subjects] == ["tiny", "tiny (2)"]
    assert (record.settings.reference, record.cache) == ("tiny (2)", "interleaved")
    first, second = record.subjects
    assert all(a < b for a, b in zip(first.at_s[::2], second.at_s[::2], strict=True))
    assert all(a > b for a, b in zip(first.at_s[1::2], second.at_s[1::2], strict=True))
    ratios = {(ratio.subject, ratio.of) for ratio in summarise(record).ratios}
    assert ("tiny", "run") in ratios
    assert ("tiny", "model") in ratios


def test_images_of_the_user_are_run(config: BenchConfig, folder: Path) -> None:
    """Pictures that are given are letterboxed and run, and the record names them."""
    record = measured(replace(config, images=(str(folder / "images"),)))

    (subject,) = record.subjects
    assert (subject.inputs.kind, subject.inputs.count) == ("images", 3)
    assert str(folder / "images") in subject.inputs.source
    assert subject.inputs.objects is not None
    assert len(subject.inputs.objects) == 3


def test_batch_is_run_whole(config: BenchConfig) -> None:
    """A batch of two has two images' detections in each run."""
    record = measured(replace(config, settings=replace(SHORT, batch=2)))

    (subject,) = record.subjects
    assert subject.inputs.objects is not None
    assert len(subject.inputs.objects) == 2 * subject.inputs.count


def test_extras_are_measured_after_the_samples(config: BenchConfig) -> None:
    """Throughput, layers with the profile's times, the machine's peak, and the density curve."""
    everything = replace(config, layers=True, curve=True, settings=replace(SHORT, streams=(1, 2)))

    record = measured(everything)

    (subject,) = record.subjects
    assert [found.streams for found in subject.throughput] == [1, 2]
    assert all(len(found.finished_s) >= 3 * found.streams for found in subject.throughput)
    assert subject.layers is not None
    assert sum(layer.ms or 0.0 for layer in subject.layers) > 0
    assert subject.peak is not None
    assert subject.density
    summary = summarise(record)
    assert summary.subjects[0].roofline is not None
    assert summary.subjects[0].roofline.times_from_limit > 0


def test_interrupt_keeps_what_was_measured(
    config: BenchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends it, and the samples up to there are in the record, which is not complete."""
    interrupt_after(monkeypatch, 3)
    saved: list[Record] = []

    record = measured(config, save=saved.append)

    assert (record.interrupted, record.complete) == (True, False)
    assert len(record.subjects[0].at_s) == 3
    assert record.subjects[0].stopped_by == "interrupted"
    assert saved[-1] == record


def test_unfinished_benchmark_goes_on(
    config: BenchConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The samples of the first session count, and come before those of the second."""
    output = tmp_path / "raw.json"
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3)
        first = measured(config)
    output.write_text(json.dumps(first.to_json()), encoding="utf-8")

    second = measured(replace(config, output=output))

    assert second.complete
    assert len(second.subjects[0].at_s) == 8
    assert second.subjects[0].samples["run"][:3] == first.subjects[0].samples["run"]
    assert list(second.subjects[0].at_s) == sorted(second.subjects[0].at_s)
    assert second.started == first.started


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"settings": replace(SHORT, batch=2)}, "other batch is there: 1, now 2"),
        ({"images": ("IMAGES",)}, "other pictures"),
        ({"seed": 5}, "other pictures"),
    ],
    ids=["batch", "images", "seed"],
)
def test_unfinished_benchmark_of_other_work_is_refused(
    config: BenchConfig,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    words: str,
) -> None:
    """Samples of another batch or of other pictures are not mixed with these."""
    output = tmp_path / "raw.json"
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3)
        output.write_text(json.dumps(measured(config).to_json()), encoding="utf-8")
    given = {"images": (str(folder / "images"),)} if "images" in change else change

    with pytest.raises(EvaluationError, match=words):
        measured(replace(config, output=output, **given))


def test_rounds_that_were_cut_are_not_gone_on_with(config: BenchConfig, tmp_path: Path) -> None:
    """Where one artifact has a sample more than the other, it is left out: ratios are by rounds."""
    twice = replace(config, subjects=config.subjects * 2, output=tmp_path / "raw.json")
    whole = measured(replace(twice, output=None))
    first, second = whole.subjects
    cut = replace(
        second,
        at_s=second.at_s[:4],
        samples={name: values[:4] for name, values in second.samples.items()},
    )
    longer = replace(
        first,
        at_s=first.at_s[:5],
        samples={name: values[:5] for name, values in first.samples.items()},
    )
    record = replace(whole, subjects=(longer, cut), complete=False)
    assert twice.output is not None
    twice.output.write_text(json.dumps(record.to_json()), encoding="utf-8")

    again = measured(twice)

    assert [len(subject.at_s) for subject in again.subjects] == [8, 8]
    assert again.subjects[0].samples["run"][:4] == first.samples["run"][:4]
    assert again.subjects[0].at_s[4] > max(first.at_s[:5])


def test_extras_of_an_earlier_session_are_kept(config: BenchConfig, tmp_path: Path) -> None:
    """What was measured before it was cut off is not measured again."""
    output = tmp_path / "raw.json"
    streams = replace(config, settings=replace(SHORT, streams=(1,)), output=output)
    first = replace(measured(replace(streams, output=None)), complete=False)
    output.write_text(json.dumps(first.to_json()), encoding="utf-8")

    second = measured(streams)

    assert second.complete
    assert second.subjects[0].throughput == first.subjects[0].throughput


def test_run_that_fails_keeps_the_samples_before_it(
    config: BenchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are saved before the error is told."""
    reason = StoppingRule.reason

    def failing(self: StoppingRule, values: Sequence[float], elapsed_s: float) -> StoppedBy | None:
        if len(values) == 3:
            raise RunError("out of memory", where="gpu", hint="none")
        return reason(self, values, elapsed_s)

    monkeypatch.setattr(StoppingRule, "reason", failing)
    saved: list[Record] = []

    with pytest.raises(RunError):
        measured(config, save=saved.append)

    assert len(saved[-1].subjects[0].at_s) == 3
    assert not saved[-1].complete


def test_stages_that_cannot_be_timed_are_a_note(
    config: BenchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs are measured all the same, and it says why there are no stages."""

    def failing(_self: OnnxRuntimeInstruments, _images: Array) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(OnnxRuntimeInstruments, "run_stages", failing)

    record = measured(config)

    (subject,) = record.subjects
    assert (len(subject.at_s), subject.stages) == (8, {})
    assert any("stages not timed" in note for note in subject.notes)


def test_models_that_memory_does_not_hold_are_refused(
    config: BenchConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the system ends the process, and with what there is."""
    monkeypatch.setattr(limits, "available_bytes", lambda: 1000)

    with pytest.raises(EvaluationError, match="1 models take about"):
        measured(config)


def test_unfinished_benchmark_of_other_files_is_refused(
    config: BenchConfig, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples of other artifacts are not mixed with these."""
    output = tmp_path / "raw.json"
    with monkeypatch.context() as patched:
        interrupt_after(patched, 3)
        output.write_text(json.dumps(measured(config).to_json()), encoding="utf-8")
    other = replace(config, subjects=(str(folder / "other.onnx"),), output=output)

    with pytest.raises(EvaluationError, match="other artifacts") as caught:
        measured(other)

    assert caught.value.where == str(output)


def test_finished_benchmark_is_measured_anew(config: BenchConfig, tmp_path: Path) -> None:
    """A record that is complete is no beginning of another."""
    output = tmp_path / "raw.json"
    first = measured(config)
    output.write_text(json.dumps(first.to_json()), encoding="utf-8")

    second = measured(replace(config, output=output))

    assert second.subjects[0].samples["run"] != first.subjects[0].samples["run"]


def test_different_work_is_refused_unless_allowed(config: BenchConfig, folder: Path) -> None:
    """Another threshold is other work; if it is allowed, the result says so."""
    both = replace(config, subjects=(*config.subjects, str(folder / "other.onnx")))

    with pytest.raises(EvaluationError, match="not the same work"):
        measured(both)
    record = measured(replace(both, allow_different_work=True))

    assert "different-work" in {finding.rule for finding in summarise(record).findings}


def test_reference_that_is_not_there_is_refused(config: BenchConfig) -> None:
    """The name must be one of the artifacts'."""
    with pytest.raises(EvaluationError, match="none of tiny"):
        measured(replace(config, settings=replace(SHORT, reference="p7")))


def test_folder_without_images_is_refused(config: BenchConfig, tmp_path: Path) -> None:
    """No image, no benchmark: noise is not run instead."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(EvaluationError, match="without images"):
        measured(replace(config, images=(str(tmp_path / "empty"),)))
