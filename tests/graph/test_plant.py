"""Scaling and shifting raw maps: what changes, what stays, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests.exports import outputs_of
from tests.random_models import biased_net, random_spec
from yolor_deploy.core.errors import PassError
from yolor_deploy.core.planted_head import ChannelChange
from yolor_deploy.core.spec import DetectorSpec, NmsConfig, OutputKind
from yolor_deploy.graph.nms_head import attach_nms, attach_predictions
from yolor_deploy.graph.plant import plant

SPEC = random_spec()


def drawn_changes(spec: DetectorSpec, *, seed: int = 0) -> list[ChannelChange]:
    """Return changes of every channel, negative scales among them."""
    rng = np.random.default_rng(seed)
    channels = [spec.head_shape(level)[0] for level in spec.levels]
    return [ChannelChange(rng.normal(0, 20, n), rng.normal(0, 5, n)) for n in channels]


def no_changes(spec: DetectorSpec) -> list[ChannelChange]:
    """Return changes that change nothing."""
    channels = [spec.head_shape(level)[0] for level in spec.levels]
    return [ChannelChange(np.ones(n), np.zeros(n)) for n in channels]


def with_head(output: OutputKind) -> ir.Model:
    """Return a network that ends in that."""
    model = biased_net(SPEC)
    if output == "detections":
        attach_nms(model, SPEC, NmsConfig())
    elif output == "predictions":
        attach_predictions(model, SPEC)
    return model


@pytest.mark.parametrize("output", ["raw", "predictions", "detections"])
def test_plant_changes_the_last_convolutions_whatever_a_model_ends_in(output: OutputKind) -> None:
    """Weights and biases are scaled, biases are shifted too, and the graph stays valid."""
    model = with_head(output)
    names = [node.name for node in model.graph]
    before = {name: v.const_value.numpy() for name, v in model.graph.initializers.items()}  # type: ignore[union-attr]
    changes = drawn_changes(SPEC)

    sites = plant(model, changes)

    assert sites == 2
    assert [node.name for node in model.graph] == names
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    for number, change in enumerate(changes):
        weight, bias = (
            model.graph.initializers[f"{kind}_{number}"].const_value for kind in ("weight", "bias")
        )
        assert weight is not None
        assert bias is not None
        scale = change.scale[:, None, None, None]
        np.testing.assert_allclose(weight.numpy(), before[f"weight_{number}"] * scale, rtol=1e-6)
        np.testing.assert_allclose(
            bias.numpy(), before[f"bias_{number}"] * change.scale + change.shift, rtol=1e-5
        )


def test_raw_maps_become_what_the_changes_say(tmp_path: Path) -> None:
    """ONNX Runtime computes scale * raw + shift, within rounding."""
    images = np.random.default_rng(1).random((2, 3, 128, 256), np.float32)
    model, changes = biased_net(SPEC), drawn_changes(SPEC)
    ir.save(model, tmp_path / "before.onnx")
    plant(model, changes)
    ir.save(model, tmp_path / "after.onnx")

    before, after = (outputs_of(tmp_path / f"{n}.onnx", images) for n in ("before", "after"))

    for name, change in zip(("raw_0", "raw_1"), changes, strict=True):
        np.testing.assert_allclose(after[name], change.of(before[name]), atol=1e-3)
        assert np.abs(after[name] - before[name]).max() > 10


def test_shift_alone_moves_a_map_and_leaves_its_weight(tmp_path: Path) -> None:
    """With scale 1 the map changes by exactly the shift, and only where one is."""
    images = np.random.default_rng(1).random((1, 3, 128, 256), np.float32)
    model, changes = biased_net(SPEC), no_changes(SPEC)
    changes[1].shift[3] = 0.5
    ir.save(model, tmp_path / "before.onnx")

    sites = plant(model, changes)

    ir.save(model, tmp_path / "after.onnx")
    before, after = (outputs_of(tmp_path / f"{n}.onnx", images) for n in ("before", "after"))
    assert sites == 1
    moved = after["raw_1"] - before["raw_1"]
    np.testing.assert_allclose(moved[:, 3], 0.5, atol=1e-6)
    np.testing.assert_array_equal(np.delete(moved, 3, axis=1), 0)
    np.testing.assert_array_equal(after["raw_0"], before["raw_0"])


def test_plant_leaves_a_model_alone_that_nothing_is_changed_in() -> None:
    """Scale 1 and shift 0 are no change."""
    model = with_head("detections")
    before = ir.to_proto(model).SerializeToString(deterministic=True)

    assert plant(model, no_changes(SPEC)) == 0

    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def without_bias(model: ir.Model) -> None:
    """Take the bias from the last convolution."""
    model.graph[-1].resize_inputs(2)


def with_product(model: ir.Model) -> None:
    """End in a product, as implicit knowledge that was not folded does."""
    raw = model.graph.outputs[1]
    node = model.graph[-1]
    inner = ir.Value(name="inner", type=raw.type, shape=raw.shape)
    copy = ir.Node("", "Conv", list(node.inputs), list(node.attributes.values()), outputs=[inner])
    product = ir.Node("", "Mul", [inner, inner], outputs=[ir.Value(name="raw_1", shape=raw.shape)])
    model.graph.outputs[1] = product.outputs[0]
    model.graph.remove(node)
    model.graph.extend([copy, product])


def with_shared_weight(model: ir.Model) -> None:
    """Use the last weight once more."""
    model.graph.append(ir.Node("", "Identity", [model.graph.initializers["weight_1"]]))


def with_second_reader(model: ir.Model) -> None:
    """Read the last map in the network."""
    model.graph.append(ir.Node("", "Identity", [model.graph.outputs[1]]))


def in_half_precision(model: ir.Model) -> None:
    """Store the last bias as float16."""
    bias = model.graph.initializers["bias_1"]
    assert bias.const_value is not None
    bias.const_value = ir.tensor(bias.const_value.numpy().astype(np.float16))


def with_computed_weight(model: ir.Model) -> None:
    """Compute the last weight, as a quantised one is."""
    node = model.graph[-1]
    weight = node.inputs[1]
    copy = ir.Node("", "Identity", [weight])
    copy.outputs[0].name = "computed"
    model.graph.insert_before(node, copy)
    node.replace_input_with(1, copy.outputs[0])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_bias, "no bias"),
        (with_product, "out of Mul, expected Conv"),
        (with_shared_weight, "weight_1 is used 2 times"),
        (with_second_reader, "read 2 times"),
        (in_half_precision, "bias_1 is FLOAT16, expected FLOAT"),
        (with_computed_weight, "computed of /head/1/Conv is not a weight"),
    ],
)
def test_plant_refuses_what_is_no_convolution_of_its_own(
    spoil: Callable[[ir.Model], None], message: str
) -> None:
    """A map that cannot be changed exactly is named, and the other one is not changed either."""
    model = biased_net(SPEC)
    spoil(model)
    before = ir.to_proto(model).SerializeToString(deterministic=True)

    with pytest.raises(PassError, match=message) as caught:
        plant(model, drawn_changes(SPEC))

    assert caught.value.where == "raw_1"
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_plant_refuses_changes_of_another_detector() -> None:
    """Maps and channels are those of the changes."""
    model = biased_net(SPEC)

    with pytest.raises(PassError, match="1 changes for 2 raw maps"):
        plant(model, drawn_changes(SPEC)[:1])
    with pytest.raises(PassError, match="20 channels are to be changed"):
        plant(model, drawn_changes(random_spec(num_classes=5)))
