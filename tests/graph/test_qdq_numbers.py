"""What a network with Q/DQ pairs computes: errors, ends of ranges, a NumPy emulation."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from tests.families.small import SMALL_CFG, plan_of, small_structure
from tests.graph.tiny_graphs import tiny_spec
from tests.graph.tiny_nets import (
    TinyNet,
    check,
    clone,
    constant_range,
    detector_net,
    noise,
    quantised_values,
    run,
    seen_ranges,
    stored,
    with_all_outputs,
)
from yolor_deploy.core.precision import QuantisedKind
from yolor_deploy.core.runtime import Array, FloatArray
from yolor_deploy.families.darknet.network import network_from_plan as darknet_network
from yolor_deploy.families.yaml.network import network_from_plan as yaml_network
from yolor_deploy.families.yaml.plan import plan_from_structure
from yolor_deploy.graph.from_module import onnx_from_module
from yolor_deploy.graph.insert_qdq import insert_qdq, plan_qdq
from yolor_deploy.graph.type_check import require_typed
from yolor_deploy.nn.fold import fold
from yolor_deploy.nn.loading import load_tensors, random_tensors


@pytest.mark.parametrize("activation", ["silu", "mish", "leaky"])
def test_error_of_each_pair_is_within_half_a_step(activation: str) -> None:
    """What a pair gives differs from what it takes by half its scale at most, maps and weights."""
    model = detector_net(kind=activation)  # type: ignore[arg-type]
    images = noise()
    insert_qdq(model, plan_qdq(model), seen_ranges(model, images))
    values = run(with_all_outputs(model), images, optimise=False) | {"images": images}

    compared = 0
    for name in quantised_values(model):
        given = values[name] if name in values else stored(model, name)
        scale = stored(model, f"{name}.scale")
        step = scale.reshape(-1, 1, 1, 1) if scale.ndim else scale
        largest = 127.5 * step  # the quantised network may leave the range of the float one
        inside = np.abs(given) <= largest
        error = np.abs(values[f"{name}.dequantized"] - given)
        assert (error <= (0.5 + 1e-4) * step)[inside].all()
        assert inside.mean() > 0.99
        compared += 1
    assert compared == 17


def test_chain_of_one_scale_is_quantised_without_further_loss() -> None:
    """What a pool, a concat or an enlargement makes of codes is codes: its pair changes nothing."""
    model = detector_net()
    images = noise()
    insert_qdq(model, plan_qdq(model), seen_ranges(model, images))

    values = run(with_all_outputs(model), images, optimise=False)

    for name in ("reorg.depth", "reorg", "pool", "spp", "up", "skip"):
        np.testing.assert_array_equal(values[f"{name}.dequantized"], values[name])
    assert np.abs(values["residual.dequantized"] - values["residual"]).max() > 0


def test_channel_of_zeros_stays_zeros() -> None:
    """A channel without weights has a scale above 0, and gives its bias."""
    weight = np.random.default_rng(0).normal(0, 1, (4, 3, 1, 1)).astype(np.float32)
    weight[2] = 0
    net = TinyNet()
    x = net.conv(net.x, "conv", weight=weight)
    model = net.model([net.conv(x, "detect", weight=np.eye(4, dtype=np.float32)[..., None, None])])
    insert_qdq(model, plan_qdq(model), constant_range)

    found = run(with_all_outputs(model), noise())["conv"]

    scale = stored(model, "conv.weight.scale")
    assert scale[2] == 2.0**-24
    assert scale[2].astype(np.float16) > 0
    np.testing.assert_array_equal(found[:, 2], np.full((2, 16, 16), stored(model, "conv.bias")[2]))


def test_value_that_is_always_zero_stays_zero() -> None:
    """A range of 0 gives a scale above 0 too."""
    model = detector_net()

    insert_qdq(model, plan_qdq(model), lambda _: 0.0)

    assert stored(model, "images.scale") == 2.0**-24
    assert np.isfinite(run(model, noise())["raw_0"]).all()


def convolved(x: Array, weight: Array, bias: Array) -> Array:
    """Return a convolution of stride 1 that keeps the size, in float64."""
    pad = weight.shape[2] // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    maps: Array = np.einsum("nchwij,ocij->nohw", windows, weight.astype(np.float64))
    return maps + bias.reshape(1, -1, 1, 1)


def codes(x: Array, scale: Array | float, kind: QuantisedKind) -> Array:
    """Return what a pair gives, in float64: rounded to the nearest code, half to even, clipped."""
    if kind == "int8":
        return np.clip(np.rint(x / scale), -128, 127) * scale
    clipped = np.clip(x / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn)
    return clipped.astype(np.float64) * scale


def exact_weight(rng: np.random.Generator, outputs: int, inputs: int, *, kind: str) -> FloatArray:
    """Return weights in quarters of a step, whose scales are powers of two, some of them ties."""
    largest = 127 if kind == "int8" else 448
    quarters = rng.integers(-4 * largest + 1, 4 * largest, (outputs, inputs, 3, 3)) / 4
    quarters[:, 0, 0, 0] = largest
    steps = 2.0 ** rng.integers(-9, -5, (outputs, 1, 1, 1)) if kind == "int8" else 2.0**-9
    return (quarters * steps).astype(np.float32)


@pytest.mark.parametrize("kind", ["int8", "fp8"])
def test_numbers_are_those_of_a_numpy_emulation(kind: QuantisedKind) -> None:
    """A net of exact numbers: residual, pool, concat, enlargement, ties, clipping at both ends.

    int8 agrees to the bit; the sums of fp8 have more digits than float32, and agree within these.
    """
    rng = np.random.default_rng(0)
    a, b, c = (exact_weight(rng, n, m, kind=kind) for n, m in ((4, 3), (4, 4), (4, 8)))
    net = TinyNet()
    first = net.activate(net.conv(net.x, "first", weight=a), "first.act", "relu")
    inner = net.conv(first, "inner", weight=b)
    residual = net.op("Add", [first, inner], "residual")
    joined = net.concat([net.pool(residual, "pool"), residual], "joined")
    last = net.conv(net.resize(joined, "up"), "last", weight=c)
    one = np.eye(4, dtype=np.float32)[..., None, None]
    model = net.model([net.conv(last, "detect", weight=one)])
    for name in ("first", "inner", "last", "detect"):
        bias = model.graph.initializers[f"{name}.bias"]
        bias.const_value = ir.tensor(np.rint(rng.normal(0, 64, 4)).astype(np.float32) / 64)
    images = (rng.integers(-600, 600, (2, 3, 16, 16)) / 4 / 64).astype(np.float32)
    top = 127 if kind == "int8" else 448
    scales = {"images": 2.0**-6, "first.act": 2.0**-4, "inner": 2.0**-2, "pool": 2.0**-2}
    plan = plan_qdq(model)

    insert_qdq(model, plan, lambda names: top * scales[min(set(names) & set(scales))], kind=kind)
    found = run(model, images, optimise=False)["raw_0"]

    def weight_codes(array: Array) -> Array:
        largest = np.abs(array).max(axis=(1, 2, 3), keepdims=True)
        return codes(array, (largest if kind == "int8" else largest.max()) / top, kind)

    def bias_of(name: str) -> Array:
        return stored(model, f"{name}.bias").astype(np.float64)

    x = codes(images, scales["images"], kind)
    x = np.maximum(convolved(x, weight_codes(a), bias_of("first")), 0)
    x = codes(x, scales["first.act"], kind)
    y = codes(convolved(x, weight_codes(b), bias_of("inner")), scales["inner"], kind)
    x = codes(x + y, scales["pool"], kind)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    pooled = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3)).max((4, 5))
    x = np.concatenate([pooled, x], axis=1).repeat(2, axis=2).repeat(2, axis=3)
    expected = convolved(x, weight_codes(c), bias_of("last")) + bias_of("detect").reshape(4, 1, 1)
    if kind == "int8":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert np.abs(expected).max() > 10
    assert (np.abs(images) > top * scales["images"]).any() == (kind == "int8")


def test_the_emulation_meets_ties_and_both_ends() -> None:
    """The pair of the emulation is that of the standard: half to even, clipped to -128 and 127."""
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 200, -200])

    np.testing.assert_array_equal(codes(x, 1.0, "int8"), [0, 2, 2, 0, -2, 127, -128])


def folded(network: nn.Module) -> ir.Model:
    """Return the graph of a network with drawn weights, for images of 64 by 64."""
    load_tensors(network, random_tensors(network, seed=0), where="drawn")
    spec = tiny_spec(num_classes=3, levels=2, size=(64, 64))
    return onnx_from_module(fold(network.eval())[0].float(), spec)


def darknet_graph() -> ir.Model:
    """Return the graph of a small cfg model with SiLU, Mish and folded knowledge."""
    return folded(darknet_network(plan_of(*SMALL_CFG)))


def yaml_graph() -> ir.Model:
    """Return the graph of a small yaml model with CSP blocks, an enlargement and a concat."""
    with torch.device("cpu"):
        return folded(yaml_network(plan_from_structure(small_structure(), where="small.pt")))


@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("build", [darknet_graph, yaml_graph])
def test_both_families_are_quantised(build: Callable[[], ir.Model], kind: QuantisedKind) -> None:
    """Every convolution but those of detection runs in 8 bits, and the maps stay near float."""
    model = build()
    images = noise(1, size=64)
    expected = run(model, images)
    ranges = seen_ranges(model, images)
    names = [str(node.name) for node in model.graph if node.op_type == "Conv"]

    plan = plan_qdq(model)
    insert_qdq(model, plan, ranges, kind=kind)

    assert sorted((*plan.convolutions, *(name for name, _ in plan.kept))) == sorted(names)
    assert [reason for _, reason in plan.kept] == ["detection", "detection"]
    assert require_typed(clone(model)) == len(model.graph)
    check(model)
    for name, values in run(model, images).items():
        error = values - expected[name]
        limit = 0.05 if kind == "int8" else 0.12
        assert 0 < error.std() < limit * expected[name].std()
