"""Sessions that compute what a target computes: half overflows, raw maps beside detections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.backends.artifacts import network_of, spec_of, written
from tests.graph.tiny_nets import TinyNet, noise, run
from yolor_deploy.backends import onnxruntime as backend
from yolor_deploy.backends import open_for_accuracy, open_session
from yolor_deploy.backends.onnxruntime.reference import open_reference
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.errors import ArtifactError, BackendUnavailableError
from yolor_deploy.core.runtime import RawOutput
from yolor_deploy.core.spec import OutputKind
from yolor_deploy.graph.as_reference import as_reference
from yolor_deploy.graph.half import to_half
from yolor_deploy.graph.insert_qdq import insert_qdq, plan_qdq

IMAGES = noise(2, size=32)
KINDS: tuple[OutputKind, ...] = ("raw", "predictions", "detections")


def half_network() -> ir.Model:
    """Return the network in half."""
    model = network_of(spec_of())
    to_half(model, "fp16")
    return model


def int8_network() -> ir.Model:
    """Return the network with Q/DQ pairs."""
    model = network_of(spec_of())
    insert_qdq(model, plan_qdq(model), lambda _: 3.0)
    return model


def large_network(*, half: bool) -> ir.Model:
    """Return a network whose last factor takes images of 100 to 300,000, beyond half."""
    spec = spec_of()
    net = TinyNet(size=32)
    factor = net.constant("factor", np.array([3000], np.float32))
    large = net.op("Mul", [net.x, factor], "large")
    maps = []
    for i, level in enumerate(spec.levels):
        weight = np.full((spec.head_shape(level)[0], 3, 1, 1), 2.0**-16, np.float32)
        maps.append(net.conv(large, f"detect_{i}", weight=weight, stride=level.stride))
    model = net.model(maps)
    if half:
        to_half(model, "fp16")
    return model


def raw_of(outputs: RawOutput) -> dict[str, np.ndarray]:
    """Return the raw maps among outputs."""
    return {name: values for name, values in outputs.items() if name.startswith("raw_")}


def test_overflow_in_half_is_seen_in_a_session(tmp_path: Path) -> None:
    """What is infinite on a GPU is infinite here; the plain session gives finite numbers."""
    spec = spec_of()
    artifact = written(
        tmp_path / "m.onnx", large_network(half=True), spec, output="raw", precision="fp16"
    )
    hundreds = np.full((1, 3, 32, 32), 100, np.float32)

    plain = open_session(artifact).run(hundreds)
    reference = open_for_accuracy(artifact).run(hundreds)

    assert np.isfinite(plain["raw_0"].astype(np.float32)).all()
    assert np.isinf(reference["raw_0"]).all()
    assert reference["raw_0"].dtype == np.float32


@pytest.mark.parametrize("output", KINDS)
def test_session_of_half_has_the_outputs_of_the_artifact(
    tmp_path: Path, output: OutputKind
) -> None:
    """Names are those that the metadata tell, and the maps are those of the rounded network."""
    spec = spec_of()
    artifact = written(tmp_path / "m.onnx", half_network(), spec, output=output, precision="fp16")
    network = half_network()
    as_reference(network)
    expected = run(network, IMAGES)

    session = open_for_accuracy(artifact)
    plain = session.run(IMAGES)
    with_raw = open_for_accuracy(artifact, with_raw=True).run(IMAGES)

    assert session.artifact is artifact
    assert tuple(plain) == artifact.output_names
    assert tuple(with_raw) == tuple(dict.fromkeys((*artifact.output_names, "raw_0", "raw_1")))
    for name, values in expected.items():
        np.testing.assert_allclose(with_raw[name], values, rtol=2e-3, atol=2e-3)
    for name, values in plain.items():
        np.testing.assert_array_equal(values, with_raw[name])


@pytest.mark.parametrize("target", [None, "tensorrt", "onnxruntime"])
@pytest.mark.parametrize("output", KINDS)
def test_float_model_is_computed_as_it_is(
    tmp_path: Path, output: OutputKind, target: str | None
) -> None:
    """A model of float32 gives the same values in every form, whatever target it names."""
    spec = spec_of()
    artifact = written(tmp_path / "m.onnx", network_of(spec), spec, output=output, target=target)
    expected = run(network_of(spec), IMAGES)

    plain = open_for_accuracy(artifact).run(IMAGES)
    with_raw = open_for_accuracy(artifact, with_raw=True).run(IMAGES)

    assert tuple(plain) == artifact.output_names
    for name, values in expected.items():
        np.testing.assert_allclose(with_raw[name], values, rtol=1e-5, atol=1e-5)
    for name, values in plain.items():
        np.testing.assert_allclose(values, with_raw[name], rtol=1e-5, atol=1e-5)
    if output == "detections":
        assert plain["num_detections"].min() > 0


def test_pairs_for_a_gpu_are_computed_as_they_stand(tmp_path: Path) -> None:
    """Each pair rounds in float32: the values are those without any rewrite of the runtime."""
    spec = spec_of()
    artifact = written(
        *(tmp_path / "m.onnx", int8_network(), spec),
        output="raw",
        precision="int8",
        target="tensorrt",
    )
    expected = run(int8_network(), IMAGES, optimise=False)

    session = open_reference(artifact)
    found = open_for_accuracy(artifact).run(IMAGES)

    options = session._runtime.get_session_options()
    assert options.get_session_config_entry("session.disable_quant_qdq") == "1"
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-4)
    floats = run(network_of(spec), IMAGES)
    assert max(np.abs(found[name] - floats[name]).max() for name in floats) > 0.01


def test_model_for_the_cpu_runs_in_its_own_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is for ONNX Runtime is opened as users open it: its kernels are its arithmetic."""
    spec = spec_of()
    artifact = written(
        tmp_path / "m.onnx", int8_network(), spec, precision="int8", target="onnxruntime"
    )

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("yolor_deploy.backends.onnxruntime.reference.open_reference", forbidden)

    assert open_for_accuracy(artifact).run(IMAGES)["num_detections"].shape == (2, 1)
    assert {"raw_0", "raw_1"} <= set(open_for_accuracy(artifact, with_raw=True).run(IMAGES))


def test_thresholds_can_be_given_to_a_reference(tmp_path: Path) -> None:
    """A session of the reference form takes what any session takes, and checks its images."""
    spec = spec_of()
    artifact = written(tmp_path / "m.onnx", half_network(), spec, precision="fp16")
    session = open_reference(artifact, threads=1)

    default = session.run(IMAGES)
    strict = session.run(IMAGES, score_threshold=0.6)

    assert strict["num_detections"].sum() < default["num_detections"].sum()
    with pytest.raises(ArtifactError, match=r"expected float32 \[1 to 8, 3, 32, 32\]"):
        session.run(IMAGES[:, :, :16])
    session.close()
    with pytest.raises(ValueError, match="closed"):
        session.run(IMAGES)


def test_file_is_not_touched(tmp_path: Path) -> None:
    """Opening another form of a model writes nothing beside it and nothing into it."""
    spec = spec_of()
    artifact = written(tmp_path / "m.onnx", half_network(), spec, precision="fp16")
    plain = written(tmp_path / "p.onnx", network_of(spec), spec)
    before = [item.path.read_bytes() for item in (artifact, plain)]

    for item in (artifact, plain):
        outputs = open_for_accuracy(item, with_raw=True).run(IMAGES)
        assert {"raw_0", "raw_1"} <= outputs.keys()

    assert [item.path.read_bytes() for item in (artifact, plain)] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "p.onnx"]


def test_external_weights_are_found(tmp_path: Path) -> None:
    """A model whose weights lie beside it is opened in its reference form too."""
    spec = spec_of()
    artifact = written(tmp_path / "m.onnx", half_network(), spec, output="raw", precision="fp16")
    expected = open_reference(artifact).run(IMAGES)
    model = ir.load(artifact.path)
    ir.save(model, artifact.path, external_data="m.data", size_threshold_bytes=0)

    found = open_reference(Artifact.read(artifact.path)).run(IMAGES)

    for name, values in raw_of(expected).items():
        np.testing.assert_array_equal(found[name], values)


def test_damaged_model_is_refused(tmp_path: Path) -> None:
    """A file that changed since its metadata were read is an artifact error."""
    spec = spec_of()
    artifact = written(tmp_path / "m.onnx", half_network(), spec, precision="fp16")
    artifact.path.write_bytes(artifact.path.read_bytes()[:-100])

    with pytest.raises(ArtifactError, match="not a readable ONNX file"):
        open_for_accuracy(artifact)


def test_engine_is_left_to_its_runtime(tmp_path: Path) -> None:
    """An engine has no other form."""
    spec = spec_of()
    artifact = written(tmp_path / "m.onnx", network_of(spec), spec)
    engine = replace(artifact, meta=replace(artifact.meta, kind="engine", target="nowhere"))

    with pytest.raises(ArtifactError, match="runtime 'nowhere'"):
        open_for_accuracy(engine)


def test_without_the_runtime_the_error_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference form needs ONNX Runtime, whatever the target."""
    spec = spec_of()
    artifact = written(tmp_path / "m.onnx", half_network(), spec, precision="fp16")
    monkeypatch.setattr(
        backend.OnnxRuntimeBackend, "why_unavailable", lambda _: "onnxruntime is not here"
    )

    with pytest.raises(BackendUnavailableError, match="not here"):
        open_for_accuracy(artifact)
