"""``tune`` on a model of a few layers: trials, budget, resumption, what it refuses."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.calibration_sets import folder_of
from tests.coco import OBJECTS, write_coco
from tests.exports import exported, silent
from tests.tiny_checkpoints import HEAD_CONVOLUTIONS, write_tiny_checkpoint
from yolor_deploy import pipeline
from yolor_deploy.calibration.images import find_calibration_images
from yolor_deploy.calibration.run import calibrate
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.detections import Detections
from yolor_deploy.core.errors import (
    ArtifactError,
    BackendUnavailableError,
    BuildError,
    EvaluationError,
    YolorDeployError,
)
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.runtime import Session
from yolor_deploy.options import BuildConfig
from yolor_deploy.precision_stages import CalibrationConfig
from yolor_deploy.tuning.file import Tuning, read_tuning
from yolor_deploy.tuning.options import TuneConfig
from yolor_deploy.tuning.scores import AgreementScorer
from yolor_deploy.tuning.tune import require_met, tune

LAYERS = tuple(f"module_list.{number}.Conv2d" for number in (0, 1, 2, 13))
"""Convolutions of the tiny model that can be quantised."""

IMAGES = 32  # fewer are warned of
INT8 = Precision("fp32", "int8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``tiny.onnx``, ``images`` and their calibration, which no test changes."""
    path = tmp_path_factory.mktemp("tuning")
    artifact = exported(write_tiny_checkpoint(path), output=path / "tiny.onnx").artifact
    images = find_calibration_images([folder_of(path / "images", IMAGES)])
    calibrate(artifact, images, file=path / "tiny.calibration.npz")
    return path


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> TuneConfig:
    """Scored on two images, boxes of untrained weights count; limit 0, which float32 meets."""
    return TuneConfig(
        folder / "tiny.onnx",
        CalibrationConfig((str(folder / "images"),), folder / "tiny.calibration.npz"),
        output=tmp_path / "out.json",
        precision=INT8,
        score_images=2,
        truth_threshold=0.1,
        max_ap_drop=0.0,
        picture=False,
    )


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Precisions of the models that ran on the images, in order."""
    seen: list[str] = []
    detect = AgreementScorer.detect

    def noting(self: AgreementScorer, session: Session) -> list[Detections]:
        seen.append(session.artifact.meta.precision)
        return detect(self, session)

    monkeypatch.setattr(AgreementScorer, "detect", noting)
    return seen


def tuned(config: TuneConfig) -> Tuning:
    """Tune without a word."""
    return tune(config, note=silent)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, trials: int) -> None:
    """Press Ctrl-C while the trial after so many is running."""
    detect = AgreementScorer.detect
    left = trials

    def interrupted(self: AgreementScorer, session: Session) -> list[Detections]:
        nonlocal left
        if session.artifact.meta.precision != "fp32":
            if not left:
                raise KeyboardInterrupt
            left -= 1
        return detect(self, session)

    monkeypatch.setattr(AgreementScorer, "detect", interrupted)


def test_layers_are_kept_until_the_limit_is_met(config: TuneConfig) -> None:
    """At a limit of 0 all layers stay float32, which is the float model again."""
    result = tuned(config)

    assert (result.state, result.search_complete) == ("met", True)
    assert result.keep == LAYERS
    assert result.verification is not None
    assert result.verification.drop == 0.0
    assert result.baseline is not None
    assert result.baseline.drop > 0
    assert set(result.gains) == set(LAYERS)
    assert result.trials[-1].float_share <= 1
    assert result.trial_of(tuple(sorted(LAYERS))).float_share == pytest.approx(1)  # type: ignore[union-attr]


def test_wide_limit_needs_one_trial(config: TuneConfig, runs: list[str]) -> None:
    """Where all in 8 bits is good enough, only that is run, and verified."""
    result = tuned(replace(config, max_ap_drop=50.0))

    assert (result.state, result.keep, len(result.trials)) == ("met", (), 1)
    assert runs == ["fp32", "int8", "int8"]


def test_result_can_be_built(config: TuneConfig, tmp_path: Path) -> None:
    """``build`` quantises all but the layers in the file, also if that was not enough."""
    tuned(replace(config, max_trials=3))
    keep = read_tuning(config.output_file, model=config.model).keep
    built = pipeline.build(
        BuildConfig(
            config.model,
            output=tmp_path / "built.onnx",
            precision=INT8,
            target="tensorrt",
            calibration=config.calibration,
            keep=keep,
        ),
        note=silent,
    )

    assert 0 < len(keep) < len(LAYERS)
    assert {name for name, _ in built.sites.kept} == {*keep, *HEAD_CONVOLUTIONS}


def test_missed_limit_is_an_error_after_the_result(config: TuneConfig) -> None:
    """bfloat16 alone moves boxes: a limit of 0 is missed, and the best set is in the file."""
    result = tuned(replace(config, precision=Precision("bf16", "int8"), score_images=8))

    stored = read_tuning(config.output_file, model=config.model)
    assert stored == result
    assert result.state == "missed"
    assert result.verification is not None
    assert result.verification.drop == pytest.approx(min(t.drop for t in result.trials), abs=1e-6)
    with pytest.raises(EvaluationError, match=r"AP drops by .* allowed are 0") as caught:
        require_met(result, config.output_file)
    assert "raise --max-ap-drop" in caught.value.hint


def test_met_limit_is_no_error(config: TuneConfig) -> None:
    """What is within its limit passes."""
    require_met(tuned(replace(config, max_ap_drop=50.0)), config.output_file)


def test_spent_budget_is_told(config: TuneConfig) -> None:
    """Two trials find no set at a limit of 0; the hint says that a second run goes on."""
    result = tuned(replace(config, max_trials=2))

    assert (result.state, result.search_complete, len(result.trials)) == ("missed", False, 2)
    with pytest.raises(EvaluationError) as caught:
        require_met(result, config.output_file)
    assert "--max-trials" in caught.value.hint


def test_second_run_goes_on(config: TuneConfig, runs: list[str]) -> None:
    """What one run has measured the next one does not; in the end both are one run."""
    first = tuned(replace(config, max_trials=3))
    runs.clear()
    second = tuned(config)
    whole = tuned(replace(config, output=config.output_file.with_name("whole.json")))

    assert second.trials[:3] == first.trials
    # The float model, the trials that are new, the verification
    new = len(second.trials) - 3
    assert runs[: new + 2] == ["fp32", *["int8"] * (new + 1)]
    assert second.keep == whole.keep
    assert {t.keep for t in second.trials} >= {t.keep for t in whole.trials}


def test_finished_run_has_nothing_to_do(config: TuneConfig, runs: list[str]) -> None:
    """The same command again runs no model, and leaves the same result."""
    first = tuned(config)
    runs.clear()

    assert tuned(config) == first
    assert runs == []


def test_interrupt_loses_the_running_trial_only(
    config: TuneConfig, monkeypatch: pytest.MonkeyPatch, runs: list[str]
) -> None:
    """Trials that were done are on disk; the next run makes the rest."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, trials=2)
        with pytest.raises(KeyboardInterrupt):
            tuned(config)
    stored = json.loads(config.output_file.read_text())
    runs.clear()

    result = tuned(config)

    assert (stored["state"], len(stored["trials"])) == ("running", 2)
    assert [list(trial.keep) for trial in result.trials[:2]] == [
        trial["keep"] for trial in stored["trials"]
    ]
    assert runs.count("int8") == len(result.trials) - 2 + 1


def test_budget_ranks_units_before_it_measures_them(config: TuneConfig) -> None:
    """The noise of each unit alone tells which of them are worth a trial."""
    result = tuned(replace(config, max_trials=4))

    noise = {unit.name: unit.signal_to_noise_db for unit in result.units}
    assert all(value is not None and 5 < value < 100 for value in noise.values())
    worst = min(noise, key=lambda name: noise[name] or 0.0)
    assert worst in result.gains
    assert len(result.gains) < len(LAYERS)


def test_annotations_make_the_score_true_ap(config: TuneConfig, tmp_path: Path) -> None:
    """With annotations the float model's score is what ``eval`` says of it."""
    from yolor_deploy.evaluation.run import EvalConfig, evaluate  # noqa: PLC0415 - of this test

    names = Artifact.read(config.model).meta.spec.class_names
    data = write_coco(tmp_path / "data", [OBJECTS, OBJECTS[:1]], names=names)
    ap = evaluate(config.model, EvalConfig(data.annotations, data.images, bootstrap=0)).accuracy.ap

    result = tuned(
        replace(
            config,
            annotations=data.annotations,
            images=data.images,
            score_images=None,
            max_ap_drop=100.0,
        )
    )

    assert result.settings["score"] == "AP"
    assert result.float_score == ap
    assert result.settings["score_images"] == [10, 11]


def test_cpu_target_is_tuned_too(config: TuneConfig) -> None:
    """The layout for ONNX Runtime has other layers: those of three channels are never quantised."""
    result = tuned(replace(config, target="onnxruntime", max_ap_drop=50.0))

    assert [unit.name for unit in result.units] == list(LAYERS[1:])
    assert result.trials[0].predicted_time < 1


@pytest.mark.parametrize("output_kind", ["predictions", "raw"])
def test_other_outputs_are_tuned_too(config: TuneConfig, tmp_path: Path, output_kind: Any) -> None:
    """What the graph leaves out of the head is done in NumPy."""
    model = tmp_path / "other.onnx"
    exported(write_tiny_checkpoint(tmp_path), output=model, output_kind=output_kind)
    calibration = replace(config.calibration, file=tmp_path / "other.npz")

    result = tuned(replace(config, model=model, calibration=calibration, max_ap_drop=50.0))

    assert result.state == "met"
    assert result.trials[0].changes["matched"] > 0


def test_missing_matplotlib_is_told_before_the_work(
    config: TuneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who wants a picture needs it."""
    real = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> Any:
        return None if name == "matplotlib" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)

    with pytest.raises(BackendUnavailableError, match="matplotlib is not installed") as caught:
        tuned(replace(config, picture=True))
    assert "[report]" in caught.value.hint
    assert "--no-picture" in caught.value.hint
    assert not config.output_file.exists()


def test_other_settings_are_refused(config: TuneConfig) -> None:
    """Trials of other images or precisions do not count here."""
    tuned(replace(config, max_ap_drop=50.0))

    with pytest.raises(EvaluationError, match="score_images_sha256"):
        tuned(replace(config, score_images=1))
    with pytest.raises(EvaluationError, match="by 'layer' instead of 'block'") as caught:
        tuned(replace(config, by="block"))
    assert "-o" in caught.value.hint


def test_nothing_found_is_refused(config: TuneConfig) -> None:
    """Where the float model finds nothing, agreement says nothing."""
    with pytest.raises(EvaluationError, match=r"finds nothing of score > 0.99") as caught:
        tuned(replace(config, truth_threshold=0.99))
    assert "--truth-threshold" in caught.value.hint


def test_images_are_needed_to_score_on(config: TuneConfig) -> None:
    """A calibration file alone gives ranges, and no score."""
    calibration = replace(config.calibration, images=())

    with pytest.raises(EvaluationError, match="no images to score on"):
        tuned(replace(config, calibration=calibration))


@pytest.mark.parametrize(
    ("change", "kind", "problem"),
    [
        ({"precision": Precision("fp16")}, BuildError, "nothing to choose"),
        ({"precision": Precision("fp16", "int8"), "target": "onnxruntime"}, BuildError, "CPU"),
        ({"model": Path("missing.onnx")}, ArtifactError, "no such file"),
        ({"output": Path("missing/out.json")}, ArtifactError, "does not exist"),
    ],
)
def test_what_cannot_be_done_is_refused(
    config: TuneConfig, change: dict[str, Any], kind: type[YolorDeployError], problem: str
) -> None:
    """Before any model runs."""
    with pytest.raises(kind, match=problem):
        tuned(replace(config, **change))


def test_result_never_overwrites_the_model(config: TuneConfig) -> None:
    """Nor does it take the model for an earlier result."""
    with pytest.raises(ArtifactError, match="same file as an input"):
        tuned(replace(config, output=config.model))


@pytest.mark.parametrize(
    ("option", "value", "where"),
    [
        ("max_ap_drop", -0.1, "--max-ap-drop"),
        ("max_ap_drop", float("nan"), "--max-ap-drop"),
        ("budget_minutes", 0.0, "--budget"),
        ("max_trials", 0, "--max-trials"),
        ("score_images", 0, "--score-images"),
        ("truth_threshold", 1.0, "--truth-threshold"),
        ("annotations", Path("a.json"), "--annotations, --images"),
    ],
)
def test_numbers_out_of_range_are_refused(
    config: TuneConfig, option: str, value: Any, where: str
) -> None:
    """Each is named as the option that it came from."""
    with pytest.raises(EvaluationError) as caught:
        replace(config, **{option: value})
    assert caught.value.where == where


def test_corrupt_image_is_left_out(config: TuneConfig, tmp_path: Path) -> None:
    """One bad image among many does not stop the search; two of them are too many."""
    images = folder_of(tmp_path / "images", 20)
    (images / "05.png").write_text("no image")
    calibration = CalibrationConfig((str(images),), tmp_path / "c.npz")
    spoilt = replace(config, calibration=calibration, score_images=20, max_ap_drop=50.0)

    assert tuned(spoilt).state == "met"
    (images / "06.png").write_text("no image")
    with pytest.raises(EvaluationError, match="2 of 20 calibration inputs cannot be used"):
        tuned(replace(spoilt, output=tmp_path / "other.json"))
