"""Passports of engines: what is written, what is read, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engines import PLAN, passport_of, written_engine
from tests.graph.tiny_graphs import tiny_spec, written_artifact
from yolor_deploy.core.artifact import Artifact, is_engine, looks_like_plan, passport_path
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.passport import Passport

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def engine(tmp_path: Path) -> Artifact:
    """A plan with its passport."""
    return written_engine(tmp_path / "model.engine")


def rewrite(engine: Artifact, change: Change) -> None:
    """Change what a passport says."""
    path = passport_path(engine.path)
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.parametrize("is_bare", [False, True], ids=["plugin", "nothing"])
def test_passport_is_read_as_it_was_written(tmp_path: Path, is_bare: bool) -> None:
    """Every field survives, None included."""
    nothing: dict[str, Any] = {"nms": None, "plugin": None, "outputs": {}}
    passport = passport_of(**(nothing if is_bare else {}))
    plan = tmp_path / "model.engine"
    passport_path(plan).write_text(passport.to_text(), encoding="utf-8")

    assert Passport.read(plan) == passport


def test_passport_lies_beside_its_plan() -> None:
    """The suffix of the plan stays in the name: two plans have two passports."""
    assert passport_path(Path("a/model.engine")) == Path("a/model.engine.json")
    assert passport_path(Path("a/model")) == Path("a/model.json")


def test_engine_is_read_by_its_passport(engine: Artifact) -> None:
    """Metadata are those of the passport, whatever the plan is called."""
    assert engine.meta == passport_of().meta
    assert engine.output_names == ("num_detections", "boxes_xyxy", "scores", "class_ids")
    assert is_engine(engine.path)
    assert looks_like_plan(engine.path)


def test_model_is_no_engine(tmp_path: Path) -> None:
    """A model beside which another JSON file lies is read as the model that it is."""
    model = written_artifact(tmp_path / "model.onnx", tiny_spec())
    passport_path(model.path).write_text('{"note": "mine"}', encoding="utf-8")

    assert Artifact.read(model.path) == model
    assert not is_engine(model.path)


@pytest.mark.parametrize("plan", [PLAN, b"vtrt" + bytes(60)], ids=["tensorrt", "rtx"])
def test_plan_without_passport_is_refused(tmp_path: Path, plan: bytes) -> None:
    """The message names the file that is missing."""
    path = tmp_path / "model.engine"
    path.write_bytes(plan)

    with pytest.raises(ArtifactError, match=r"without its passport model\.engine\.json"):
        Artifact.read(path)
    with pytest.raises(ArtifactError, match="no passport") as error:
        Passport.read(path)

    assert "build the engine again" in error.value.hint


def test_link_to_a_plan_names_what_has_the_passport(engine: Artifact, tmp_path: Path) -> None:
    """A link has another name, and no passport of that name."""
    link = tmp_path / "latest.engine"
    link.symlink_to(engine.path)

    with pytest.raises(ArtifactError, match=r"without its passport latest\.engine\.json") as error:
        Artifact.read(link)

    assert str(engine.path) in error.value.hint


def test_passport_that_cannot_be_read_is_not_called_damaged(engine: Artifact) -> None:
    """What the system says is told."""
    path = passport_path(engine.path)
    path.unlink()
    path.mkdir()

    with pytest.raises(ArtifactError, match=r"model\.engine\.json cannot be read: Is a directory"):
        Artifact.read(engine.path)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"note": 1}', "\0", "[" * 100_000, "\udcff"],
    ids=["empty", "cut", "list", "null", "other", "nul", "deep", "bytes"],
)
def test_damaged_passport_is_refused(engine: Artifact, text: str) -> None:
    """Neither reader takes it, and neither fails otherwise."""
    passport_path(engine.path).write_bytes(text.encode(errors="surrogateescape"))

    with pytest.raises(ArtifactError, match=r"passport model\.engine\.json is damaged"):
        Artifact.read(engine.path)
    with pytest.raises(ArtifactError, match="passport is damaged") as error:
        Passport.read(engine.path)

    assert error.value.where == str(passport_path(engine.path))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda v: v.pop("builder"), id="no-builder"),
        pytest.param(lambda v: v.pop("seconds"), id="no-seconds"),
        pytest.param(lambda v: v["builder"].update(more=1), id="more"),
        pytest.param(lambda v: v.update(builder=[]), id="builder-list"),
        pytest.param(lambda v: v["builder"].update(flavour=[]), id="flavour-list"),
        pytest.param(lambda v: v["builder"].update(version=10), id="version-number"),
        pytest.param(lambda v: v["builder"].update(gpu=None), id="gpu-null"),
        pytest.param(lambda v: v["builder"].update(compute_capabilities=[8.6]), id="cc-number"),
        pytest.param(lambda v: v["builder"].update(compute_capabilities="8.6"), id="cc-text"),
        pytest.param(lambda v: v.update(plan_bytes="many"), id="size-text"),
        pytest.param(lambda v: v.update(plan_bytes=float("inf")), id="size-infinite"),
        pytest.param(lambda v: v.update(profiles=[{"minimum": 4, "maximum": 1}]), id="profile"),
        pytest.param(lambda v: v.update(profiles=7), id="profiles-number"),
        pytest.param(lambda v: v.update(nms="magic"), id="nms"),
        pytest.param(lambda v: v.update(nms=[]), id="nms-list"),
        pytest.param(lambda v: v["inputs"].update(images={"dtype": "float32"}), id="shape"),
        pytest.param(lambda v: v.update(plugin={"version": "1"}), id="plugin"),
    ],
)
def test_changed_passport_is_refused(engine: Artifact, change: Change) -> None:
    """What a person or a program made of it is told as damage, not as a fault of an option."""
    rewrite(engine, change)

    with pytest.raises(ArtifactError, match="passport is damaged") as error:
        Passport.read(engine.path)

    assert error.value.where == str(passport_path(engine.path))
    assert "--" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda v: v.pop("meta"), id="missing"),
        pytest.param(lambda v: v.update(meta=[]), id="list"),
        pytest.param(lambda v: v["meta"].pop("spec"), id="no-spec"),
        pytest.param(lambda v: v["meta"]["nms"].update(iou_threshold=7), id="threshold"),
        pytest.param(lambda v: v["meta"]["spec"]["input"]["batch"].update(minimum=9), id="batch"),
        pytest.param(lambda v: v["meta"].update(kind="model"), id="kind"),
        pytest.param(lambda v: v["meta"].update(output="magic"), id="output"),
        pytest.param(lambda v: v["meta"].update(output=[]), id="output-list"),
        pytest.param(lambda v: v["meta"].update(target=7), id="target"),
    ],
)
def test_changed_metadata_of_an_engine_are_refused(engine: Artifact, change: Change) -> None:
    """They are refused where every command begins, with what mends it."""
    rewrite(engine, change)

    with pytest.raises(ArtifactError, match="damaged") as error:
        Artifact.read(engine.path)

    assert error.value.where == str(passport_path(engine.path))
    assert error.value.hint == "build the engine again"


@pytest.mark.parametrize("number", [2, "x", None])
def test_passport_of_another_format_is_refused(engine: Artifact, number: object) -> None:
    """A newer program wrote it: that is not damage."""
    rewrite(engine, lambda value: value.update(yolor_deploy_passport=number, meta={}))

    for read in (Artifact.read, Passport.read):
        with pytest.raises(ArtifactError, match="passport has format") as error:
            read(engine.path)

        assert "version of yolor-deploy that wrote it" in error.value.hint


def test_plan_of_the_passport_is_taken(engine: Artifact) -> None:
    """Size and hash are those that were written down."""
    Passport.read(engine.path).require_plan(engine)


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        pytest.param(PLAN[:-1], "259 bytes, its passport tells 260", id="shortened"),
        pytest.param(b"", "0 bytes", id="emptied"),
        pytest.param(PLAN + b"\0", "261 bytes", id="longer"),
        pytest.param(PLAN[:-1] + b"\xfe", "another SHA-256", id="one-bit"),
    ],
)
def test_plan_that_was_changed_is_refused(engine: Artifact, plan: bytes, problem: str) -> None:
    """The hint says what would load it all the same, and what that means."""
    engine.path.write_bytes(plan)

    with pytest.raises(ArtifactError, match=problem) as error:
        Passport.read(engine.path).require_plan(engine)

    assert error.value.where == str(engine.path)
    assert "--trust" in error.value.hint
    assert "runs whatever is in it" in error.value.hint
