"""`pipeline.build_engine`: from a model to a plan and its passport, or to an error and nothing."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.backends import stand_in
from tests.backends.rtx_models import EXPORTS
from tests.calibration_sets import folder_of
from tests.exports import names_in, silent
from tests.graph.tiny_graphs import tiny_spec, written_artifact
from yolor_deploy import __version__, pipeline
from yolor_deploy.backends.tensorrt import load_module
from yolor_deploy.backends.tensorrt.options import EngineOptions
from yolor_deploy.core.artifact import Artifact, sha256_of_file
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError, BuildError
from yolor_deploy.core.passport import Passport, TensorInfo
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.spec import BatchRange, OutputKind
from yolor_deploy.graph import write
from yolor_deploy.options import EngineConfig
from yolor_deploy.pipeline import EngineResult
from yolor_deploy.precision_stages import CalibrationConfig

FOR = EngineOptions(compute_capabilities=("8.6", "8.9"))
NEEDED = pytest.mark.tensorrt_rtx
ENGINE = "model.fp32.tensorrt_rtx.engine"


@pytest.fixture
def model(tmp_path: Path) -> Artifact:
    """A detector of one convolution a level, for batches of 1 to 8, alone in its folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    return written_artifact(folder / "model.onnx", tiny_spec())


def build(model: Artifact, **options: Any) -> EngineResult:
    """Build with TensorRT-RTX, if not otherwise told."""
    options.setdefault("engine", FOR)
    options.setdefault("backend", "tensorrt_rtx")
    return pipeline.build_engine(EngineConfig(model.path, **options), note=silent)


@NEEDED
def test_passport_tells_what_was_built(model: Artifact) -> None:
    """Every field is there, and is true of the plan that lies beside it."""
    before = model.path.read_bytes()

    result = build(model)

    plan = result.artifact.path
    passport = Passport.read(plan)
    assert names_in(plan.parent) == [ENGINE, f"{ENGINE}.json", "model.onnx"]
    assert passport == result.passport
    assert passport.plan_sha256 == sha256_of_file(plan)
    assert passport.plan_bytes == plan.stat().st_size
    assert passport.source_sha256 == sha256_of_file(model.path)
    assert passport.builder.flavour == "tensorrt_rtx"
    assert passport.builder.version == load_module("tensorrt_rtx").__version__
    assert passport.builder.gpu == ""
    assert passport.builder.compute_capabilities == ("8.6", "8.9")
    assert passport.profiles == (BatchRange(1, 1, 8),)
    assert passport.inputs == {"images": TensorInfo("float32", (-1, 3, 32, 64))}
    assert (passport.nms, passport.plugin) == ("kernels", None)
    assert passport.options["tf32"] is False
    assert set(passport.seconds) == {"parse", "build"}
    assert Artifact.read(plan) == result.artifact
    assert result.lowered is None
    assert result.nms_reason == "TensorRT-RTX takes no plugins"
    assert model.path.read_bytes() == before


@NEEDED
def test_metadata_of_an_engine_are_those_of_its_model(model: Artifact) -> None:
    """What changes is what it is now: an engine, for one runtime, with one more stage."""
    result = build(model)

    meta = result.artifact.meta
    record = meta.history[-1]
    assert replace(meta, kind="model", target=None, history=()) == model.meta
    assert (meta.kind, meta.target) == ("engine", "tensorrt_rtx")
    assert meta.history[:-1] == model.meta.history
    assert record.stage == "engine"
    assert record.input_sha256 == sha256_of_file(model.path)
    assert record.versions == {
        "yolor-deploy": __version__,
        "tensorrt_rtx": result.passport.builder.version,
    }


@NEEDED
def test_model_that_detects_ends_in_raw_maps(model: Artifact) -> None:
    """The kernels behind the plan take them; the artifact still gives detections."""
    result = build(model)

    shapes = {name: tensor.shape for name, tensor in result.passport.outputs.items()}
    assert shapes == {"raw_0": (-1, 16, 4, 8), "raw_1": (-1, 8, 2, 4)}
    assert result.artifact.output_names[0] == "num_detections"
    assert result.artifact.meta.nms == model.meta.nms


@NEEDED
@pytest.mark.parametrize(
    ("output", "shapes"),
    [
        ("raw", {"raw_0": (-1, 16, 4, 8), "raw_1": (-1, 8, 2, 4)}),
        ("predictions", {"predictions": (-1, 72, 8)}),
    ],
)
def test_model_that_does_not_detect_is_built_as_it_is(
    tmp_path: Path, output: OutputKind, shapes: dict[str, tuple[int, ...]]
) -> None:
    """There is no post-processing, neither in the plan nor behind it."""
    model = written_artifact(tmp_path / "model.onnx", tiny_spec(), output=output)

    result = build(model)

    assert result.passport.nms is None
    assert {name: tensor.shape for name, tensor in result.passport.outputs.items()} == shapes
    assert result.nms_reason == f"the model ends in {output}"


@NEEDED
def test_profiles_are_built_and_told(model: Artifact) -> None:
    """The artifact takes what lies between the smallest and the largest of them."""
    profiles = (BatchRange(2, 2, 2), BatchRange(4, 6, 8))

    result = build(model, engine=replace(FOR, profiles=profiles))

    assert result.passport.profiles == profiles
    assert result.artifact.meta.spec.input.batch == BatchRange(2, 2, 8)


@NEEDED
@pytest.mark.parametrize("name", ["fp16", "int8+fp16"])
def test_model_is_brought_to_a_precision_first(tmp_path: Path, name: str) -> None:
    """The engine has the types, the history both stages, and no other file is left."""
    model = EXPORTS["darknet-silu-detections"](tmp_path)
    images = folder_of(tmp_path / "images", 2)
    precision = Precision.from_name(name)
    calibration = CalibrationConfig((str(images),), tmp_path / "ranges.npz")

    result = build(model, precision=precision, calibration=calibration)

    assert result.artifact.path.name == f"tiny.{name}.tensorrt_rtx.engine"
    assert result.artifact.meta.precision == name
    assert {tensor.dtype for tensor in result.passport.outputs.values()} == {"float16"}
    assert result.passport.source_sha256 == sha256_of_file(model.path)
    assert [record.stage for record in result.artifact.meta.history[-3:]] == [
        *("calibrate", "lower", "engine")
    ]
    assert result.lowered is not None
    assert result.lowered.cost.images == 2
    assert list(result.seconds)[-1] == "engine"
    assert len(result.seconds) > 1
    assert [path.name for path in tmp_path.glob("*.onnx")] == ["tiny.onnx"]
    assert not [path for path in names_in(tmp_path) if path.startswith(".")]


@NEEDED
def test_model_of_the_precision_asked_for_is_left_as_it_is(tmp_path: Path) -> None:
    """A model that `build` made is not made again, and names the engine once."""
    model = EXPORTS["darknet-silu-detections"](tmp_path)
    lowering = pipeline.BuildConfig(
        model.path, precision=Precision("bf16"), target="tensorrt", output=None
    )
    lowered = pipeline.build(lowering, note=silent).artifact

    result = build(lowered, precision=Precision("bf16"))

    assert lowered.path.name == "tiny.bf16.tensorrt.onnx"
    assert result.artifact.path.name == "tiny.bf16.tensorrt_rtx.engine"
    assert result.lowered is None


@NEEDED
def test_bits_that_are_gone_do_not_come_back(tmp_path: Path) -> None:
    """A half model is not turned into another precision, and nothing is written."""
    model = EXPORTS["darknet-silu-detections"](tmp_path)
    lowering = pipeline.BuildConfig(model.path, precision=Precision("fp16"))
    half = pipeline.build(lowering, note=silent).artifact
    before = names_in(tmp_path)

    with pytest.raises(ArtifactError, match="precision fp16, expected a model of fp32"):
        build(half, precision=Precision("bf16"))

    assert names_in(tmp_path) == before


@NEEDED
def test_output_is_replaced_together_with_its_passport(model: Artifact) -> None:
    """After a second build the passport is that of the second plan."""
    first = build(model)

    second = build(model, engine=EngineOptions(compute_capabilities=("12.0",)))

    assert second.artifact.path == first.artifact.path
    assert second.passport.plan_sha256 != first.passport.plan_sha256
    passport = Passport.read(second.artifact.path)
    passport.require_plan(second.artifact)
    assert passport.builder.compute_capabilities == ("12.0",)


@NEEDED
@pytest.mark.parametrize("name", ["model.onnx", "lowered", "engine", "network.onnx", "report.json"])
def test_engine_may_have_any_name(model: Artifact, tmp_path: Path, name: str) -> None:
    """Not even that of its model in another folder, or of a file of the build, is in the way."""
    result = build(model, output=tmp_path / name)

    assert names_in(tmp_path) == sorted([name, f"{name}.json", "models"])
    Passport.read(tmp_path / name).require_plan(Artifact.read(tmp_path / name))
    assert result.artifact.meta.history[-1].input_sha256 == sha256_of_file(model.path)


def full_disk(*_: object, **__: object) -> None:
    """Fail as a write does on a full disk."""
    raise OSError(errno.ENOSPC, "No space left on device")


def network_on_a_full_disk(patch: pytest.MonkeyPatch) -> None:
    """Let the disk be full when the network is written."""
    patch.setattr(write, "write_model", full_disk)


def passport_on_a_full_disk(patch: pytest.MonkeyPatch) -> None:
    """Let the disk be full when all is done but the passport."""
    patch.setattr(Path, "write_text", full_disk)


def move_on_a_full_disk(patch: pytest.MonkeyPatch) -> None:
    """Let the disk be full at the end."""
    patch.setattr(pipeline, "move_engine_into_place", full_disk)


@NEEDED
@pytest.mark.parametrize(
    "fault", [network_on_a_full_disk, passport_on_a_full_disk, move_on_a_full_disk]
)
def test_full_disk_is_said_and_keeps_the_old_engine(
    model: Artifact, fault: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """The hint tells how much is free; plan and passport of before are there, and fit."""
    old = build(model)

    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        with pytest.raises(ArtifactError, match="No space left on device") as error:
            build(model)

    assert "MB are free there" in error.value.hint
    assert names_in(model.path.parent) == [ENGINE, f"{ENGINE}.json", "model.onnx"]
    Passport.read(old.artifact.path).require_plan(old.artifact)


@NEEDED
@pytest.mark.parametrize(
    ("script", "problem"),
    [
        pytest.param("kill -SEGV $$", "signal SIGSEGV", id="crash"),
        pytest.param("kill -KILL $$", "signal SIGKILL", id="killed"),
        pytest.param("echo full >&2; exit 74", "temporary files: full", id="disk-full"),
    ],
)
def test_crash_of_the_build_leaves_nothing(
    model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, problem: str
) -> None:
    """This process lives on, with an error that tells how the other ended."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    interpreter.chmod(0o755)
    load_module("tensorrt_rtx")
    monkeypatch.setattr(sys, "executable", str(interpreter))

    with pytest.raises(BuildError, match=problem):
        build(model)

    assert names_in(model.path.parent) == ["model.onnx"]


@NEEDED
def test_network_that_is_refused_keeps_the_old_engine(model: Artifact) -> None:
    """A graph that was changed to something wrong is named by the parser's own words."""
    old = build(model)
    content = model.path.read_bytes()
    model.path.write_bytes(content.replace(b"Conv", b"Vonc"))

    with pytest.raises(BuildError, match=r"TensorRT-RTX .* refuses the network"):
        build(model)

    assert names_in(model.path.parent) == [ENGINE, f"{ENGINE}.json", "model.onnx"]
    Passport.read(old.artifact.path).require_plan(old.artifact)


def test_read_only_folder_is_refused_before_the_work(
    model: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write anywhere, so the answer of the system is given here."""
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(ArtifactError, match="is read-only"):
        build(model)


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("model.onnx", "the same file as an input"),
        ("none/model.engine", "does not exist"),
        ("folder", "a folder, expected a file"),
        ("model", "a folder, expected a file"),
    ],
)
def test_output_that_cannot_be_written_is_refused(
    model: Artifact, output: str, problem: str
) -> None:
    """The same holds for the passport, whose name follows from the plan's."""
    for name in ("folder", "model.json"):
        (model.path.parent / name).mkdir()

    with pytest.raises(ArtifactError, match=problem):
        build(model, output=model.path.parent / output)


@pytest.mark.parametrize(
    ("cache", "problem"),
    [
        ("model.onnx", "the same file as an input"),
        ("a.engine", "name of another output"),
        ("a.engine.json", "name of another output"),
        ("none/cache", "does not exist"),
        (".", "a folder"),
    ],
)
def test_timing_cache_overwrites_nothing_else(model: Artifact, cache: str, problem: str) -> None:
    """Least of all the model."""
    folder = model.path.parent
    engine = EngineOptions(timing_cache=folder / cache)

    with pytest.raises((ArtifactError, BuildError), match=problem):
        build(model, backend="tensorrt", engine=engine, output=folder / "a.engine")

    assert names_in(folder) == ["model.onnx"]


@NEEDED
@pytest.mark.parametrize(
    "options", [{"keep": ("conv",)}, {"calibration": CalibrationConfig((), Path("x.npz"))}]
)
@pytest.mark.parametrize("precision", [None, Precision("fp32")], ids=["none", "fp32"])
def test_options_of_a_conversion_that_does_not_take_place_are_refused(
    model: Artifact, options: dict[str, Any], precision: Precision | None
) -> None:
    """They would have no effect."""
    with pytest.raises(BuildError, match="stays fp32, as it is") as error:
        build(model, precision=precision, **options)

    assert error.value.where in {"--keep", "--calibration"}


@NEEDED
def test_engine_is_no_model(model: Artifact) -> None:
    """An engine is not built again."""
    engine = build(model).artifact

    with pytest.raises(ArtifactError, match="engine for tensorrt_rtx, expected a model"):
        build(engine)


def test_unknown_precision_of_a_file_is_no_bug(model: Artifact) -> None:
    """Somebody changed the metadata."""
    content = model.path.read_bytes()
    model.path.write_bytes(content.replace(b'"precision":"fp32"', b'"precision":"fp99"'))

    with pytest.raises(ArtifactError, match="unknown precision 'fp99'"):
        build(model)


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt_rtx"])
def test_missing_tensorrt_is_said(
    model: Artifact, monkeypatch: pytest.MonkeyPatch, backend: Any
) -> None:
    """The hint installs it, and nothing was written."""
    stand_in.uninstall(monkeypatch, backend)

    with pytest.raises(BackendUnavailableError, match="cannot be imported") as error:
        build(model, backend=backend, engine=EngineOptions())

    assert "pip install" in error.value.hint
    assert names_in(model.path.parent) == ["model.onnx"]


def test_tensorrt_without_a_gpu_names_the_one_that_needs_none(
    model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any work."""
    stand_in.install(monkeypatch, tmp_path, driver=stand_in.NO_GPU)

    with pytest.raises(BackendUnavailableError, match="no NVIDIA driver") as error:
        build(model, backend="tensorrt", engine=EngineOptions())

    assert "--backend tensorrt_rtx" in error.value.hint


def test_tensorrt_builds_for_the_gpu_of_this_machine(
    model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in is asked for what the options say; the passport names GPU and plugin."""
    stand_in.install(monkeypatch, tmp_path)
    library = tmp_path / "libyolor_nms_plugin.so"
    library.write_bytes(b"\x7fELF")
    engine = EngineOptions(
        plugin=library, workspace_bytes=2**20, optimization_level=5, aux_streams=2, tf32=True
    )

    result = build(model, backend="tensorrt", engine=engine)

    passport = result.passport
    asked = stand_in.asked_of(result.artifact.path)
    assert passport.builder.gpu == "NVIDIA Test"
    assert passport.builder.cuda_version == "13.0"
    assert passport.builder.compute_capabilities == ("8.6",)
    assert passport.nms == "plugin"
    assert passport.plugin is not None
    assert passport.plugin.sha256 == sha256_of_file(library)
    assert result.nms_reason == ""
    assert asked["libraries"] == [library.name]
    assert asked["builder_optimization_level"] == 5
    assert asked["max_aux_streams"] == 2
    assert asked["set_memory_pool_limit"] == [["0", str(2**20)]]
    assert ["7"] in asked["set_flag"]


def test_timing_cache_is_kept_and_used(
    model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the engine, or where it was said; the next build begins with it."""
    stand_in.install(monkeypatch, tmp_path)
    plan = "model.fp32.tensorrt.engine"
    other = tmp_path / "other.cache"

    for _ in range(2):
        build(model, backend="tensorrt", engine=EngineOptions(nms="kernels"))
    given = EngineOptions(nms="kernels", timing_cache=other)
    build(model, backend="tensorrt", engine=given, output=tmp_path / "b.engine")

    assert set(names_in(model.path.parent)) == {
        *("model.onnx", plan, f"{plan}.json", f"{plan}.timing")
    }
    assert (model.path.parent / f"{plan}.timing").read_bytes() == b"timed timed "
    assert other.read_bytes() == b"timed "
    assert not (tmp_path / "b.engine.timing").exists()


@pytest.mark.parametrize("kept", [b"damaged", b"of another GPU"])
def test_timing_cache_that_tensorrt_refuses_costs_no_engine(
    model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bytes
) -> None:
    """A new one takes its place."""
    stand_in.install(monkeypatch, tmp_path)
    cache = tmp_path / "other.cache"
    cache.write_bytes(kept)

    build(model, backend="tensorrt", engine=EngineOptions(nms="kernels", timing_cache=cache))

    assert cache.read_bytes() == b"timed "


def test_timing_cache_that_cannot_be_written_costs_no_engine(
    model: Artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is said, and the engine is there."""
    stand_in.install(monkeypatch, tmp_path)
    monkeypatch.setattr("yolor_deploy.backends.tensorrt.build.whole_file", full_disk)

    result = build(model, backend="tensorrt", engine=EngineOptions(nms="kernels"))

    assert result.artifact.path.is_file()
    assert "was not written: No space left on device" in caplog.text
