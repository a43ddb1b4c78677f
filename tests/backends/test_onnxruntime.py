"""Artifacts in ONNX Runtime: results, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.graph.tiny_graphs import FloatArray, tiny_spec, written_artifact
from yolor_deploy.backends import BACKENDS, open_in_turns, open_session
from yolor_deploy.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError
from yolor_deploy.core.nms import non_max_suppression
from yolor_deploy.core.spec import BatchRange, OutputKind


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A detector of one convolution a level, for one to eight images."""
    return written_artifact(tmp_path / "model.onnx", tiny_spec())


def noise(batch: int, *, height: int = 32, width: int = 64) -> FloatArray:
    """Return images of uniform noise."""
    rng = np.random.default_rng(0)
    return rng.random((batch, 3, height, width), dtype=np.float32)


def test_every_output_kind_agrees_with_numpy(tmp_path: Path) -> None:
    """Raw maps, predictions and detections of one network are steps of the same computation."""
    spec = tiny_spec()
    results = {}
    kinds: tuple[OutputKind, ...] = ("raw", "predictions", "detections")
    for kind in kinds:
        written = written_artifact(tmp_path / f"{kind}.onnx", spec, output=kind)
        session = open_session(written)
        results[kind] = session.run(noise(3))
        assert tuple(results[kind]) == written.output_names
        assert session.artifact is written

    maps = list(results["raw"].values())
    predictions = results["predictions"]["predictions"]
    nms = written.meta.nms
    assert nms is not None
    expected = non_max_suppression(predictions, nms)
    np.testing.assert_allclose(predictions, predictions_from_raw(maps, spec), atol=1e-3)
    assert expected["num_detections"].min() > 0
    for name, values in expected.items():
        np.testing.assert_allclose(results["detections"][name], values, atol=1e-3, err_msg=name)


def test_thresholds_of_a_run_replace_the_defaults(artifact: Artifact) -> None:
    """A higher score threshold finds fewer, and the next run has the defaults again."""
    session = open_session(artifact)
    default = session.run(noise(1))

    strict = session.run(noise(1), score_threshold=0.6)
    loose = session.run(noise(1), iou_threshold=1.0)
    again = session.run(noise(1))

    assert strict["scores"].max() > 0.6
    assert strict["num_detections"] < default["num_detections"] < loose["num_detections"]
    np.testing.assert_array_equal(again["scores"], default["scores"])


def test_run_takes_images_of_any_memory_order(artifact: Artifact) -> None:
    """A transposed view gives what its copy gives."""
    session = open_session(artifact)
    images = noise(2)
    view = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)

    outputs = session.run(view)

    np.testing.assert_array_equal(outputs["scores"], session.run(images)["scores"])


@pytest.mark.parametrize(
    ("images", "found"),
    [
        pytest.param(noise(1, width=32), r"float32 \[1, 3, 32, 32\]", id="size"),
        pytest.param(noise(9), r"float32 \[9, 3, 32, 64\]", id="batch-too-large"),
        pytest.param(noise(0), r"float32 \[0, 3, 32, 64\]", id="batch-empty"),
        pytest.param(noise(1)[0], r"float32 \[3, 32, 64\]", id="no-batch"),
        pytest.param(noise(1).astype(np.float64), r"float64 \[1, 3, 32, 64\]", id="type"),
    ],
)
def test_run_refuses_other_images(artifact: Artifact, images: FloatArray, found: str) -> None:
    """The error names the array given and the array expected."""
    session = open_session(artifact)

    with pytest.raises(ArtifactError, match=rf"{found}, expected float32 \[1 to 8, 3, 32, 64\]"):
        session.run(images)


def test_run_of_a_static_batch_refuses_another(tmp_path: Path) -> None:
    """An artifact for two images takes two."""
    spec = tiny_spec(batch=BatchRange(2, 2, 2))
    session = open_session(written_artifact(tmp_path / "model.onnx", spec))

    assert session.run(noise(2))["num_detections"].shape == (2, 1)
    with pytest.raises(ArtifactError, match=r"expected float32 \[2, 3, 32, 64\]"):
        session.run(noise(1))


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), float("inf")])
def test_run_refuses_a_threshold_out_of_range(artifact: Artifact, value: float) -> None:
    """A threshold is a fraction; NaN is none."""
    session = open_session(artifact)

    with pytest.raises(ArtifactError, match=f"score_threshold is {value}, expected 0 to 1"):
        session.run(noise(1), score_threshold=value)
    with pytest.raises(ArtifactError, match=f"iou_threshold is {value}, expected 0 to 1"):
        session.run(noise(1), iou_threshold=value)


@pytest.mark.parametrize("output", ["raw", "predictions"])
def test_run_refuses_thresholds_where_nothing_is_detected(
    tmp_path: Path, output: OutputKind
) -> None:
    """A threshold that would have no effect is an error."""
    session = open_session(written_artifact(tmp_path / "m.onnx", tiny_spec(), output=output))

    with pytest.raises(ArtifactError, match=f"output is '{output}', expected 'detections'"):
        session.run(noise(1), score_threshold=0.5)


def test_run_refuses_after_close(artifact: Artifact) -> None:
    """A closed session says so."""
    session = open_session(artifact)

    session.close()

    with pytest.raises(ValueError, match="closed"):
        session.run(noise(1))


def test_open_refuses_an_unknown_operator(artifact: Artifact) -> None:
    """A file that the runtime does not take is an artifact error that says why."""
    model = onnx.load(artifact.path)
    del model.functions[:]
    onnx.save(model, artifact.path)

    with pytest.raises(ArtifactError, match="YolorNMS"):
        open_session(artifact)


def test_open_refuses_a_damaged_file(artifact: Artifact) -> None:
    """A file that changed since its metadata were read is refused."""
    artifact.path.write_bytes(artifact.path.read_bytes()[:-500])

    with pytest.raises(ArtifactError, match="refuses the file"):
        open_session(artifact)


def test_open_refuses_a_vanished_file(artifact: Artifact) -> None:
    """A file that is gone is refused by name."""
    artifact.path.unlink()

    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        open_session(artifact)


def test_open_refuses_missing_external_data(artifact: Artifact) -> None:
    """Weights beside the file are found, and missed where they are gone."""
    model = onnx.load(artifact.path)
    onnx.save(model, artifact.path, save_as_external_data=True, location="w", size_threshold=0)
    images = noise(1)

    assert open_session(artifact).run(images)["num_detections"].shape == (1, 1)
    (artifact.path.parent / "w").unlink()
    with pytest.raises(ArtifactError, match="refuses the file"):
        open_session(artifact)


@pytest.mark.parametrize(
    ("height", "output"),
    [
        pytest.param(64, "detections", id="size"),
        pytest.param(32, "predictions", id="outputs"),
    ],
)
def test_open_refuses_a_graph_of_another_signature(
    artifact: Artifact, height: int, output: OutputKind
) -> None:
    """Metadata that do not fit the graph are found when it is opened."""
    spec = replace(artifact.meta.spec, input=replace(artifact.meta.spec.input, height=height))
    meta = replace(artifact.meta, spec=spec, output=output)

    with pytest.raises(ArtifactError, match="its metadata tell"):
        open_session(replace(artifact, meta=meta))


def test_open_refuses_an_engine(artifact: Artifact) -> None:
    """An engine of another runtime is not for this one."""
    meta = replace(artifact.meta, kind="engine", target="tensorrt")

    with pytest.raises(ArtifactError, match="engine for tensorrt"):
        OnnxRuntimeBackend().open(replace(artifact, meta=meta))
    with pytest.raises(ArtifactError, match="runtime 'openvino'"):
        open_session(replace(artifact, meta=replace(meta, target="openvino")))


def test_open_refuses_without_the_runtime(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ONNX Runtime the error says how to get it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(BackendUnavailableError, match="pip install onnxruntime"):
        open_session(artifact)


def test_backends_are_listed_by_their_names() -> None:
    """The table's keys are the names, and the runtime of the base install is usable."""
    assert {name: backend.name for name, backend in BACKENDS.items()} == {
        name: name for name in BACKENDS
    }
    assert BACKENDS["onnxruntime"].why_unavailable() is None


def test_importing_backends_loads_no_runtime() -> None:
    """The table costs neither ONNX nor a runtime."""
    code = (
        "import sys, yolor_deploy.backends;"
        "print([m for m in ('onnx', 'onnx_ir', 'onnxruntime', 'torch') if m in sys.modules])"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"


def test_opening_and_running_is_silent(
    artifact: Artifact, capfd: pytest.CaptureFixture[str]
) -> None:
    """The runtime's warnings about inputs with defaults do not reach the user."""
    open_session(artifact).run(noise(1), score_threshold=0.5)

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_change_results(artifact: Artifact, threads: int) -> None:
    """Any number of threads gives the same detections."""
    expected = open_session(artifact).run(noise(4))

    outputs = OnnxRuntimeBackend().open(artifact, threads=threads).run(noise(4))

    for name, values in expected.items():
        np.testing.assert_allclose(outputs[name], values, atol=1e-4)


def test_sessions_in_turns_share_the_memory_of_their_runs(artifact: Artifact) -> None:
    """Several are opened in one process, and each computes what it computes alone."""
    alone = open_session(artifact).run(noise(2))

    sessions = [open_in_turns(artifact) for _ in range(2)]

    for session in [*sessions, *sessions]:
        assert isinstance(session, OnnxRuntimeSession)
        assert session.shares_memory
        for name, values in session.run(noise(2)).items():
            np.testing.assert_array_equal(values, alone[name])
