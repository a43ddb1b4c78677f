"""The file of ``tune``: what is written is read again, and what is wrong is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.graph.tiny_graphs import tiny_spec, written_artifact
from yolor_deploy.core.artifact import sha256_of_file
from yolor_deploy.core.errors import ArtifactError, EvaluationError
from yolor_deploy.tuning.file import (
    Trial,
    Tuning,
    TuningStore,
    UnitResult,
    Verification,
    load_tuning,
    read_tuning,
)


def trial_of(*keep: str, drop: float, share: float) -> Trial:
    """Return a trial."""
    purpose = "baseline" if not keep else "leave-one-out" if len(keep) == 1 else "search"
    return Trial(keep, purpose, 0.6 - drop / 100, drop, share, (1 + share) / 2, {"lost": 3}, 1.5)  # type: ignore[arg-type]


TUNING = Tuning(
    "0" * 64,
    {"precision": "int8+fp16", "score": "AP", "images": [1, 2]},
    assumptions={"score": "AP on 2 images"},
    state="met",
    max_ap_drop=0.3,
    search_complete=True,
    float_score=0.6,
    units=(
        UnitResult("one", ("one.a", "one.b"), 0.25, 31.5),
        UnitResult("two", ("two.a",), 0.5),
    ),
    trials=(
        trial_of(drop=0.5, share=0.1),
        trial_of("one", drop=0.2, share=0.35),
        trial_of("two", drop=0.55, share=0.6),
        trial_of("one", "two", drop=0.0, share=0.85),
    ),
    kept_units=("one",),
    verification=Verification(("one",), 0.598, 0.2, -0.1, 0.4, 0.95),
)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A float model."""
    return written_artifact(tmp_path / "model.onnx", tiny_spec()).path


def written(path: Path, tuning: Tuning = TUNING, **changes: Any) -> Path:
    """Write a result."""
    TuningStore(path, tuning).save(**changes)
    return path


def spoil(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Change what is in a file."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    return path


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """Nothing is lost on the way, whether finished or not."""
    path = written(tmp_path / "a.json")

    assert load_tuning(path) == TUNING
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_layers_to_keep_are_those_of_the_kept_units(tmp_path: Path, model: Path) -> None:
    """``build`` is told layers, whatever the units were."""
    path = written(tmp_path / "a.json", replace(TUNING, model_sha256=sha256_of_file(model)))

    assert read_tuning(path, model=model).keep == ("one.a", "one.b")


def test_gains_are_against_all_in_8_bits() -> None:
    """The gain of a unit is the drop without it less the drop with it in float."""
    assert TUNING.gains == pytest.approx({"one": 0.3, "two": -0.05})


def test_json_has_the_front_and_the_gains() -> None:
    """What a program plots is there without computing: the trial that is beaten is not."""
    value = TUNING.to_json()

    assert [row["keep"] for row in value["pareto"]] == [(), ("one",), ("one", "two")]
    assert [row["gain"] for row in value["units"]] == pytest.approx([0.3, -0.05])
    assert value["keep"] == ("one.a", "one.b")


def test_missed_result_can_be_built(tmp_path: Path, model: Path) -> None:
    """The best set that was found is a result, too."""
    tuning = replace(TUNING, model_sha256=sha256_of_file(model), state="missed")
    path = written(tmp_path / "a.json", tuning)

    assert read_tuning(path, model=model).state == "missed"


def test_another_model_is_refused(tmp_path: Path, model: Path) -> None:
    """Layers of another model mean nothing here."""
    path = written(tmp_path / "a.json")

    with pytest.raises(EvaluationError, match="tuning of another model: SHA-256 000000000000"):
        read_tuning(path, model=model)


def test_unfinished_result_is_refused(tmp_path: Path, model: Path) -> None:
    """An interrupted search has chosen nothing yet."""
    tuning = replace(TUNING, model_sha256=sha256_of_file(model), state="running")
    path = written(tmp_path / "a.json", tuning)

    with pytest.raises(EvaluationError, match="interrupted after 4 trials") as caught:
        read_tuning(path, model=model)
    assert "it goes on" in caught.value.hint


def test_missing_files_are_refused(tmp_path: Path, model: Path) -> None:
    """The file, or the model that it is of."""
    path = written(tmp_path / "a.json")

    with pytest.raises(EvaluationError, match="No such file"):
        read_tuning(tmp_path / "none.json", model=model)
    with pytest.raises(ArtifactError, match="no such file"):
        read_tuning(path, model=tmp_path / "none.onnx")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b'{"kind": "other"}', b"[" * 100_000, b"null"],
    ids=["empty", "cut", "list", "not text", "other", "deep", "null"],
)
def test_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever is in the file, it is named with a hint."""
    path = tmp_path / "a.json"
    path.write_bytes(content)

    with pytest.raises(EvaluationError, match="not a readable result of `tune`") as caught:
        load_tuning(path)
    assert caught.value.where == str(path)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda value: value.update(keep=["two.a"]), id="keep-edited"),
        pytest.param(lambda value: value.update(kept_units=["three"]), id="unknown-unit"),
        pytest.param(lambda value: value.update(kept_units="one"), id="no-list"),
        pytest.param(lambda value: value.update(state="done"), id="state"),
        pytest.param(lambda value: value.update(format=2), id="newer"),
        pytest.param(lambda value: value.update(extra=1), id="extra"),
        pytest.param(lambda value: value.pop("units"), id="no-units"),
        pytest.param(lambda value: value["units"][0].pop("layers"), id="no-layers"),
        pytest.param(lambda value: value["trials"][0].update(drop="x"), id="text-for-number"),
        pytest.param(lambda value: value["trials"][0].update(purpose="fun"), id="purpose"),
        pytest.param(lambda value: value["verification"].pop("drop"), id="verification"),
    ],
)
def test_damage_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """What does not fit together is no result."""
    path = spoil(written(tmp_path / "a.json"), change)

    with pytest.raises(EvaluationError, match="not a readable result of `tune`"):
        load_tuning(path)


def test_trials_of_other_settings_are_refused(tmp_path: Path) -> None:
    """They cannot be compared; what differs is named, and the file stays as it is."""
    path = written(tmp_path / "a.json")
    content = path.read_bytes()
    other = {**TUNING.settings, "precision": "fp8+fp16"}

    with pytest.raises(EvaluationError, match=r"precision 'int8\+fp16' instead of 'fp8\+fp16'"):
        TuningStore(path, replace(TUNING, settings=other))
    with pytest.raises(EvaluationError, match="model '000000000000' instead of '111111111111'"):
        TuningStore(path, replace(TUNING, model_sha256="1" * 64))
    assert path.read_bytes() == content


def test_another_limit_goes_on(tmp_path: Path) -> None:
    """Trials do not depend on the limit: they are kept, and the search is open again."""
    path = written(tmp_path / "a.json")

    store = TuningStore(path, replace(TUNING, max_ap_drop=0.1, trials=()))

    assert store.tuning.trials == TUNING.trials
    assert (store.tuning.max_ap_drop, store.tuning.state) == (0.1, "running")


def test_unwritable_folder_is_refused(tmp_path: Path) -> None:
    """The error is one of ours."""
    store = TuningStore(tmp_path / "missing" / "a.json", TUNING)

    with pytest.raises(ArtifactError, match="cannot write"):
        store.save()
