"""Opening engines: what is checked before TensorRT reads a plan, and what is said."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.backends.tensorrt.engines import (
    GPU,
    CapturingDevice,
    built,
    images_of,
    model_of,
    plugin_file,
    stand_in,
)
from tests.cli.invoke import invoke
from yolor_deploy import backends
from yolor_deploy.backends.tensorrt import fit
from yolor_deploy.backends.tensorrt import open as opening
from yolor_deploy.backends.tensorrt.open import open_engine, untrusted_artifact
from yolor_deploy.backends.tensorrt.options import EngineOptions
from yolor_deploy.core.artifact import Artifact, passport_path
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import (
    ArtifactError,
    BackendUnavailableError,
    RunError,
    YolorDeployError,
)
from yolor_deploy.core.passport import Passport
from yolor_deploy.cuda.driver import Driver
from yolor_deploy.doctor.engine import examine_engine

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the stand-in; sessions are on a device that is the host."""
    with stand_in(monkeypatch) as module:
        monkeypatch.setattr(opening, "CudaDevice", lambda _: CapturingDevice(module))
        yield module


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return what stands in for the package's plugin."""
    path = plugin_file(tmp_path)
    monkeypatch.setattr(fit, "PACKAGED", path)
    return path


@pytest.fixture
def engine(trt: Any, tmp_path: Path, plugin: Path) -> Artifact:
    """Return an engine with the plugin, of a model that lies elsewhere."""
    del trt
    return built(model_of(tmp_path), EngineOptions(nms="plugin", plugin=plugin)).artifact


def changed(engine: Artifact, change: Change) -> None:
    """Change the passport of an engine."""
    path = passport_path(engine.path)
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def opened(engine: Artifact, **options: Any) -> Any:
    """Open an engine as commands do."""
    return backends.open_session(Artifact.read(engine.path), **options)


def test_engine_is_opened_by_its_path(engine: Artifact) -> None:
    """``open_session`` finds the runtime of an engine, and runs it."""
    session = opened(engine)

    found = session.run(images_of(engine.meta.spec, 2))

    assert found["num_detections"].shape == (2, 1)
    session.close()


def of_builder(**values: Any) -> Change:
    """Return a change of what the passport tells of its builder."""
    return lambda passport: passport["builder"].update(values)


def of_plugin(**values: Any) -> Change:
    """Return a change of what the passport tells of the plugin."""
    return lambda passport: passport["plugin"].update(values)


@pytest.mark.parametrize(
    ("change", "kind", "problem", "hint"),
    [
        pytest.param(
            of_builder(version="10.0.1.6"),
            ArtifactError,
            "built by TensorRT 10.0.1.6, here is 10.16.1.11",
            "build it again here, or install TensorRT 10.0.1.6",
            id="version",
        ),
        pytest.param(
            of_builder(compute_capabilities=["8.9"], gpu="L4"),
            ArtifactError,
            r"built for compute capability 8.9 \(L4\), here is 9.0 \(NVIDIA H200\)",
            "build it again on this machine",
            id="gpu",
        ),
        pytest.param(
            of_plugin(version="2"),
            ArtifactError,
            "built with YolorNMS 2, here is 1",
            "build the engine again",
            id="plugin",
        ),
        pytest.param(
            lambda passport: passport.update(plan_sha256="0" * 64),
            ArtifactError,
            "another SHA-256 than its passport tells",
            "--trust",
            id="hash",
        ),
    ],
)
def test_open_refuses_before_the_plan_is_read(
    engine: Artifact,
    trt: Any,
    change: Change,
    kind: type[YolorDeployError],
    problem: str,
    hint: str,
) -> None:
    """An engine of another machine is named as such, and TensorRT is not asked."""
    changed(engine, change)
    trt.CALLS.clear()

    with pytest.raises(kind, match=problem) as caught:
        opened(engine)

    assert hint in caught.value.hint
    assert caught.value.where == str(engine.path)
    assert not trt.CALLS


def test_open_takes_another_build_of_the_same_release(engine: Artifact) -> None:
    """The fourth number of a version does not bind a plan."""
    changed(engine, of_builder(version="10.16.1.99"))

    opened(engine).close()


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        pytest.param(of_builder(gpu="NVIDIA H100"), "tuned on NVIDIA H100, here is", id="gpu"),
        pytest.param(of_plugin(sha256="0" * 64), "another build of YolorNMS 1", id="plugin"),
    ],
)
def test_open_warns_of_what_does_not_matter(
    engine: Artifact, change: Change, warning: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It runs all the same."""
    changed(engine, change)

    opened(engine).close()

    assert warning in caplog.text


def test_open_refuses_a_machine_without_its_parts(
    engine: Artifact, monkeypatch: pytest.MonkeyPatch, plugin: Path
) -> None:
    """No plugin, no GPU, no GPU of that number, no TensorRT: each has its own words."""
    with pytest.raises(BackendUnavailableError, match="no GPU 3, this machine has 1"):
        backends.open_session(engine, device=RuntimeDevice("cuda", 3))
    plugin.unlink()
    with pytest.raises(BackendUnavailableError, match="no plugin library at"):
        opened(engine)
    monkeypatch.setattr(fit, "gpus", lambda: Driver(0, (), "no NVIDIA driver"))
    with pytest.raises(BackendUnavailableError, match="no GPU to run the engine on: no NVIDIA"):
        opened(engine)
    monkeypatch.setattr(fit, "why_unavailable", lambda flavour: f"{flavour} cannot be imported")
    with pytest.raises(BackendUnavailableError, match="tensorrt cannot be imported"):
        opened(engine)


def test_open_refuses_a_plan_that_was_cut_or_flipped(engine: Artifact) -> None:
    """The hash of the plan finds what its length does not."""
    data = bytearray(engine.path.read_bytes())
    data[len(data) // 2] ^= 1
    engine.path.write_bytes(data)
    with pytest.raises(ArtifactError, match="another SHA-256"):
        opened(engine)
    engine.path.write_bytes(data[:-100])
    with pytest.raises(ArtifactError, match=r"the plan has \d+ bytes, its passport tells \d+"):
        opened(engine)


def test_trust_opens_a_plan_that_was_changed(engine: Artifact) -> None:
    """Who trusts it, gets what TensorRT makes of it: an engine, or its own refusal."""
    changed(engine, lambda passport: passport.update(plan_sha256="0" * 64))
    opened(engine, trust=True).close()
    engine.path.write_bytes(engine.path.read_bytes()[:-100])

    with pytest.raises(ArtifactError, match=r"TensorRT 10.16.1.11 refuses the plan: .*blobSize"):
        opened(engine, trust=True)


def test_trust_opens_a_plan_of_another_program(trt: Any, tmp_path: Path, plugin: Path) -> None:
    """A plan without passport is one of the model beside it."""
    del trt, plugin
    model = model_of(tmp_path)
    plan = tmp_path / "model.engine"
    engine = built(model, EngineOptions(nms="ops"))
    shutil.copyfile(engine.artifact.path, plan)

    with pytest.raises(ArtifactError, match=r"a plan without its passport model.engine.json"):
        Artifact.read(plan)
    session = backends.open_session(backends.read_artifact(plan, trust=True), trust=True)

    assert session.artifact.meta.nms == model.meta.nms
    session.run(images_of(model.meta.spec, 2), score_threshold=0.3)
    session.close()


def test_untrusted_artifact_needs_the_model(engine: Artifact, tmp_path: Path) -> None:
    """A plan alone says nothing; another file is no plan."""
    with pytest.raises(ArtifactError, match=r"without its model model.onnx"):
        untrusted_artifact(engine.path)
    with pytest.raises(ArtifactError, match="not a plan of TensorRT"):
        untrusted_artifact(tmp_path / "model.onnx")


def test_plan_of_another_model_is_refused(trt: Any, tmp_path: Path, plugin: Path) -> None:
    """Outputs are compared with what the model beside the plan tells."""
    del trt, plugin
    (tmp_path / "raw").mkdir()
    engine = built(model_of(tmp_path / "raw", output="raw"), EngineOptions())
    model_of(tmp_path, output="predictions")
    plan = tmp_path / "model.engine"
    shutil.copyfile(engine.artifact.path, plan)

    with pytest.raises(ArtifactError, match=r"not of the model .* it has outputs raw_0, raw_1"):
        open_engine(untrusted_artifact(plan), "tensorrt", trust=True)


def test_a_gpu_that_is_short_of_memory_is_named_with_sizes(engine: Artifact, trt: Any) -> None:
    """The plan's size and the free memory are told."""
    trt.running.Behaviour.is_short_of_memory = True

    with pytest.raises(RunError, match=r"out of memory.* it has .* MiB, and .* of .* MiB of the"):
        opened(engine)


@pytest.mark.parametrize("missing", ["", "ExecutionContextAllocationStrategy"])
def test_engines_run_with_older_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    """TensorRT 8.6 makes contexts without memory by another name, and takes it as an attribute."""
    old = "IExecutionContext.set_device_memory,ICudaEngine.device_memory_size_v2,"
    old += "NetworkDefinitionCreationFlag.STRONGLY_TYPED,IProgressMonitor," + missing
    with stand_in(monkeypatch, STAND_IN_LACKS=old, STAND_IN_VERSION="8.6.0") as module:
        engine = built(model_of(tmp_path), EngineOptions(nms="ops"))
        session = open_engine(engine.artifact, "tensorrt", device=CapturingDevice(module))

        found = session.run(images_of(engine.artifact.meta.spec, 2))

        assert found["num_detections"].sum() > 0
        assert engine.passport.builder.version == "8.6.0"
        header = module.running.header_of(engine.artifact.path.read_bytes())
        assert header["told"]["features"] == ["PROFILE_SHARING_0806"]


def drawn(folder: Path) -> str:
    """Write a picture."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    path = folder / "picture.png"
    Image.fromarray(pixels).save(path)
    return str(path)


def test_detect_runs_an_engine(engine: Artifact, tmp_path: Path) -> None:
    """The command finds the same objects with the engine as with its model."""
    picture = drawn(tmp_path)
    folders = [str(tmp_path / name) for name in ("of-engine", "of-model")]

    for model, folder in zip((engine.path, tmp_path / "model.onnx"), folders, strict=True):
        result = invoke("detect", str(model), picture, "-o", folder, "--json")
        assert result.exit_code == 0, result.stderr

    boxes = [json.loads((Path(folder) / "detections.json").read_text()) for folder in folders]
    assert [found.pop("model") for found in boxes] == ["model.engine", "model.onnx"]
    assert boxes[0] == boxes[1]
    assert boxes[0]["images"][0]["detections"]


def test_detect_refuses_an_engine_on_the_cpu(engine: Artifact, tmp_path: Path) -> None:
    """An engine is for a GPU."""
    picture = drawn(tmp_path)

    result = invoke(
        "detect", str(engine.path), picture, "-o", str(tmp_path / "o"), "--device", "cpu"
    )

    assert result.exit_code == 1
    assert "an engine for tensorrt runs on a GPU, and --device is cpu" in result.stderr


def test_doctor_compares_an_engine_with_this_machine(engine: Artifact) -> None:
    """All that fits is told, and all that does not."""
    states = {(item.name, item.state) for item in examine_engine(engine.path)}
    assert states == {("plan", "ok"), ("this machine", "ok")}
    changed(engine, of_builder(version="8.6.1", compute_capabilities=["8.9"], gpu="L4"))
    changed(engine, lambda passport: passport.update(plan_bytes=7))

    result = invoke("doctor", str(engine.path), "--json")

    assert result.exit_code == 1
    assert invoke("doctor", f"{engine.path}.json", "--json").stdout == result.stdout
    value = json.loads(result.stdout)
    problems = [item["detail"] for item in value["findings"] if item["state"] == "broken"]
    assert value["ok"] is False
    assert [text.partition(",")[0] for text in problems] == [
        f"the plan has {engine.path.stat().st_size} bytes",
        "built by TensorRT 8.6.1",
        "built for compute capability 8.9 (L4)",
    ]


def test_doctor_of_an_engine_without_passport(engine: Artifact) -> None:
    """It is an error with a hint, as for any command."""
    passport_path(engine.path).unlink()

    result = invoke("doctor", str(engine.path))

    assert result.exit_code == 1
    assert "a plan without its passport" in result.stderr


def test_passport_tells_the_gpu_that_the_engine_is_for(engine: Artifact) -> None:
    """What built it, where, and what it needs."""
    passport = Passport.read(engine.path)

    assert passport.builder == dataclasses.replace(
        passport.builder,
        flavour="tensorrt",
        version="10.16.1.11",
        cuda_version="13.0",
        driver="580.159.03",
        gpu=GPU.name,
        compute_capabilities=("9.0",),
    )
    assert passport.nms == "plugin"
    assert passport.plugin is not None


def test_engine_is_built_in_a_folder_by_its_relative_path(
    trt: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that builds works in another folder than ours, and finds all the same."""
    del trt
    monkeypatch.chdir(tmp_path)

    engine = built(model_of(Path()), EngineOptions(nms="ops"))

    assert engine.artifact.path == Path("engine/model.engine")
    assert engine.artifact.path.is_file()


def test_diff_takes_engines(engine: Artifact, tmp_path: Path) -> None:
    """An engine of the same precision finds what its model finds; a changed one needs trust."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    drawn(pictures)
    model = tmp_path / "model.onnx"

    result = invoke("diff", str(model), str(engine.path), "--images", str(pictures), "--json")

    assert result.exit_code == 0, result.stderr
    value = json.loads(result.stdout)
    assert value["kept"] == value["boxes_before"] == value["boxes_after"] > 0
    changed(engine, lambda passport: passport.update(plan_sha256="0" * 64))
    again = ("diff", str(model), str(engine.path), "--images", str(pictures))
    refused = invoke(*again)
    assert refused.exit_code == 1
    assert "--trust loads it all the same" in refused.stderr
    assert invoke(*again, "--trust").exit_code == 0
