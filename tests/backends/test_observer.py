"""Seeing every intermediate result: the same values as one whole run, in less memory."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.backends.artifacts import network_of, spec_of, written
from tests.graph.tiny_nets import noise, run, with_all_outputs
from yolor_deploy.backends.onnxruntime.observer import Observer
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import BatchRange, OutputKind

SIZES = [1, 10_000, 40_000, 1 << 40]


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    """A detector whose first maps are read by layers far behind."""
    spec = spec_of()
    return written(tmp_path / "model.onnx", network_of(spec), spec)


def images(rows: int = 1, *, uint8: bool = False) -> Array:
    """Return noise, as float32 or as bytes."""
    values = noise(rows, size=32)
    return np.round(values * 255).astype(np.uint8) if uint8 else values


@pytest.mark.parametrize("uint8", [False, True], ids=["float32", "uint8"])
@pytest.mark.parametrize("segment_bytes", SIZES)
def test_values_are_those_of_one_run(tmp_path: Path, segment_bytes: int, uint8: bool) -> None:
    """Every float value is seen once, in order, and is what a run of the whole network gives."""
    spec = spec_of(uint8=uint8)
    artifact = written(tmp_path / "model.onnx", network_of(spec), spec)
    expected: dict[str, Array] = dict(run(with_all_outputs(network_of(spec)), images(uint8=uint8)))
    if not uint8:
        expected = {"images": images(), **expected}

    observer = Observer(artifact, segment_bytes=segment_bytes)
    found = list(observer.run(images(uint8=uint8)))

    names = [name for name, _ in found]
    assert names == list(expected)
    assert observer.names == [name for name in expected if name != "images"]
    for name, values in found:
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("output", ["raw", "predictions", "detections"])
def test_head_is_not_observed(tmp_path: Path, output: OutputKind) -> None:
    """Whatever a model ends in, its network is what is seen."""
    spec = spec_of()
    artifact = written(tmp_path / "model.onnx", network_of(spec), spec, output=output)

    names = Observer(artifact).names

    assert names == [str(v.name) for v in with_all_outputs(network_of(spec)).graph.outputs]
    assert names[-1] == "raw_1"


@pytest.mark.parametrize(
    ("batch", "rows"),
    [
        pytest.param(BatchRange(1, 1, 8), 1, id="dynamic-1"),
        pytest.param(BatchRange(1, 1, 8), 3, id="dynamic-3"),
        pytest.param(BatchRange(2, 2, 2), 2, id="static-2"),
        pytest.param(BatchRange(2, 2, 2), 1, id="one-image-of-a-static-batch"),
    ],
)
def test_any_number_of_images_is_seen(tmp_path: Path, batch: BatchRange, rows: int) -> None:
    """A network for a fixed batch can be shown one image at a time."""
    spec = spec_of(batch=batch)
    artifact = written(tmp_path / "model.onnx", network_of(spec), spec)
    expected = run(with_all_outputs(network_of(spec_of())), images(rows))

    found = dict(Observer(artifact, segment_bytes=10_000).run(images(rows)))

    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, atol=1e-5)


def test_runs_do_not_influence_each_other(artifact: Artifact) -> None:
    """The same image gives the same values again, whatever was seen between, or half seen."""
    observer = Observer(artifact, segment_bytes=10_000)
    first = dict(observer.run(images()))
    half = observer.run(images(2))
    next(half), next(half)

    again = dict(observer.run(images()))

    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values)


def test_values_that_nobody_reads_any_more_are_freed(artifact: Artifact) -> None:
    """When the last map is seen, those of earlier pieces are gone, if nobody kept them."""
    observer = Observer(artifact, segment_bytes=1)
    seen: dict[str, weakref.ref[Array]] = {}
    alive: dict[str, set[str]] = {}

    for name, values in observer.run(images()):
        alive[name] = {other for other, ref in seen.items() if ref() is not None}
        seen[name] = weakref.ref(values)
        del values

    # "down.act" is read by the residual; "images" is held by the caller of run, until its end
    previous = {"inner.act.sigmoid"}
    assert alive["inner.act"] - {"images"} <= {"down.act", "inner"} | previous
    assert "down.act" in alive["inner.act"]
    assert alive["raw_1"] - {"images"} <= {"deep.act", "raw_0"}


def test_a_piece_that_the_runtime_refuses_is_an_artifact_error(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ONNX Runtime says of a piece is told with the name of the file."""

    def refuse(*_: object, **__: object) -> None:
        raise onnxruntime.capi.onnxruntime_pybind11_state.Fail("no kernel")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)

    with pytest.raises(ArtifactError, match="refuses the file: no kernel") as caught:
        Observer(artifact)

    assert "model.onnx" in caught.value.where
