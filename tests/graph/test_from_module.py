"""The ONNX that a folded network becomes, layer by layer, run by ONNX Runtime against torch."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort
import onnxsim
import pytest
import torch
from torch import Tensor, fx, nn

from tests.graph.tiny_graphs import tiny_spec
from tests.nn.networks import WIDTH, Wired, batchnorm, conv, mixed, vector
from yolor_deploy.core.errors import PassError
from yolor_deploy.core.spec import BatchRange, DetectorSpec, InputSpec
from yolor_deploy.graph.from_module import onnx_from_module
from yolor_deploy.nn.fold import fold
from yolor_deploy.nn.layers import (
    Concat,
    HaarTransform,
    PrependChannels,
    Product,
    ReOrg,
    Sum,
    WeightedShortcut,
)

Array = npt.NDArray[Any]
Build = Callable[[], nn.Module]

# Float32 resolves 6e-8; the layers here sum up to a hundred terms of size 1.
CLOSE = 2e-6


def _spec(*, height: int = 16, width: int = 24, **image: Any) -> DetectorSpec:
    image.setdefault("batch", BatchRange(1, 2, 4))
    return replace(tiny_spec(levels=1), input=InputSpec(height, width, **image))


def _images(rows: int = 2, *, height: int = 16, width: int = 24) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(rows, 3, height, width, generator=generator)


def _fold(network: nn.Module, *, fold_implicit: bool = True) -> fx.GraphModule:
    return fold(copy.deepcopy(network).eval(), fold_implicit=fold_implicit)[0]


def _run(model: ir.Model, images: Array) -> list[Array]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    payload = ir.to_proto(model).SerializeToString()
    session = ort.InferenceSession(payload, options, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, {"images": images})]


def _expected(network: nn.Module, images: Tensor) -> list[Array]:
    with torch.no_grad():
        maps = network.double().eval()(images.double())
    return [value.numpy() for value in maps]


def _assert_close(found: list[Array], expected: list[Array]) -> None:
    assert [a.shape for a in found] == [b.shape for b in expected]
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=0, atol=CLOSE * max(1.0, float(np.abs(b).max())))


def _operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def _behind_stem(layer: Build) -> Build:
    return lambda: Wired(lambda n, x: [n.layer(n.stem(x))], stem=conv(3), layer=layer())


def _with_vector(layer: nn.Module, *, norm: bool = False) -> Build:
    """Return a network whose scale or shift has an activation on both sides, so that it stays."""
    return lambda: Wired(
        lambda n, x: [n.act(n.norm(n.op(n.act(n.stem(x)), n.z())))],
        stem=conv(3),
        act=nn.SiLU(),
        op=layer,
        z=mixed(),
        norm=batchnorm() if norm else nn.Identity(),
    )


def _prepend() -> nn.Module:
    return Wired(
        lambda n, x: [n.head(n.join(n.stem(x), n.z()))],
        stem=conv(3),
        join=PrependChannels(),
        z=mixed(),
        head=conv(2 * WIDTH, kernel=3),
    )


def _weighted_shift() -> nn.Module:
    """Return a network in which one factor for all channels meets a shift of each channel."""

    def wiring(n: Any, x: Tensor) -> list[Tensor]:
        y = n.act(n.stem(x))
        return [n.act(n.sum(n.shift(y, n.z()), n.act(y)))]

    shortcut = WeightedShortcut(2)
    nn.init.normal_(shortcut.w)
    return Wired(wiring, stem=conv(3), act=nn.SiLU(), shift=Sum(), z=mixed(), sum=shortcut)


def _joins() -> nn.Module:
    return Wired(
        lambda n, x: [n.cat(y := n.left(x), z := n.right(x)), n.add(y, z), n.add(y, y), y * z],
        left=conv(3),
        right=conv(3, kernel=3),
        cat=Concat(),
        add=Sum(),
    )


LAYERS: dict[str, tuple[Build, list[str]]] = {
    "conv": (_behind_stem(lambda: conv(kernel=3, stride=2)), ["Conv"]),
    "conv-groups-no-bias": (_behind_stem(lambda: conv(outputs=6, groups=2, bias=False)), ["Conv"]),
    "conv-dilated": (_behind_stem(lambda: nn.Conv2d(WIDTH, 2, 3, padding=2, dilation=2)), ["Conv"]),
    "conv-oblong": (_behind_stem(lambda: nn.Conv2d(WIDTH, 2, (3, 1), (1, 2), (1, 0))), ["Conv"]),
    "silu": (_behind_stem(nn.SiLU), ["Sigmoid", "Mul"]),
    "mish": (_behind_stem(nn.Mish), ["Softplus", "Tanh", "Mul"]),
    "leaky": (_behind_stem(lambda: nn.LeakyReLU(0.1)), ["LeakyRelu"]),
    "relu": (_behind_stem(nn.ReLU), ["Relu"]),
    "sigmoid": (_behind_stem(nn.Sigmoid), ["Sigmoid"]),
    "max-pool": (_behind_stem(lambda: nn.MaxPool2d(5, 1, 2)), ["MaxPool"]),
    "max-pool-stride": (_behind_stem(lambda: nn.MaxPool2d(3, 2, 1)), ["MaxPool"]),
    "max-pool-plain": (_behind_stem(lambda: nn.MaxPool2d(2)), ["MaxPool"]),
    "upsample": (_behind_stem(lambda: nn.Upsample(scale_factor=2)), ["Resize"]),
    "zero-pad": (_behind_stem(lambda: nn.ZeroPad2d((0, 1, 2, 3))), ["Pad"]),
    "reorg": (_behind_stem(ReOrg), ["SpaceToDepth", "Gather"]),
    "haar": (_behind_stem(lambda: HaarTransform(WIDTH)), ["Conv"]),
    "scale": (_with_vector(Product()), ["Sigmoid", "Mul", "Mul", "Sigmoid", "Mul"]),
    "shift": (_with_vector(Sum()), ["Sigmoid", "Mul", "Add", "Sigmoid", "Mul"]),
    "scale-and-shift": (
        _with_vector(Product(), norm=True),
        ["Sigmoid", "Mul", "BatchNormalization", "Sigmoid", "Mul"],
    ),
    "prepend": (_prepend, ["Shape", "Expand", "Concat", "Conv"]),
    "joins": (_joins, ["Conv", "Concat", "Add", "Add", "Mul"]),
}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("case", LAYERS)
def test_layer_agrees_with_torch(case: str, rows: int) -> None:
    """Each kind of layer becomes these operators, valid ONNX with torch's numbers."""
    torch.manual_seed(0)
    build, operators = LAYERS[case]
    network = build()

    model = onnx_from_module(_fold(network), _spec())

    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert sorted(_operators(model)) == sorted(["Conv", *operators])
    images = _images(rows)
    _assert_close(_run(model, images.numpy()), _expected(network, images))


def test_one_factor_for_all_channels_agrees_with_torch() -> None:
    """A factor of a whole map, merged with a shift of each channel, is valid ONNX."""
    torch.manual_seed(0)
    network = _weighted_shift()

    model = onnx_from_module(_fold(network), _spec())

    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    _assert_close(_run(model, _images().numpy()), _expected(network, _images()))


def _detector() -> Wired:
    """Return a detector of two levels with all that folds."""

    def wiring(n: Any, x: Tensor) -> list[Tensor]:
        y = n.act(n.norm(n.body(n.reorg(x))))
        z = n.pool(y)
        fine = n.scale(n.fine(n.shift(n.cat(y, n.up(z)), n.a())), n.m())
        return [fine, n.coarse(z)]

    return Wired(
        wiring,
        reorg=ReOrg(),
        body=conv(12, kernel=3, bias=False),
        norm=batchnorm(),
        act=nn.SiLU(),
        pool=nn.MaxPool2d(2),
        up=nn.Upsample(scale_factor=2),
        cat=Concat(),
        shift=Sum(),
        fine=conv(2 * WIDTH, 6),
        scale=Product(),
        coarse=conv(outputs=6),
        a=mixed(2 * WIDTH),
        m=vector(6),
    )


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_input_takes_type_and_layout(dtype: str, layout: str) -> None:
    """Bytes are divided inside, and channels may come last; the raw maps are the same."""
    torch.manual_seed(0)
    network = _detector()
    pixels = (_images() * 255).round()
    scale = 1 / 255 if dtype == "uint8" else 1.0
    images = pixels.to(torch.uint8) if dtype == "uint8" else pixels / 255
    if layout == "NHWC":
        images = images.permute(0, 2, 3, 1).contiguous()
    graph_module, _ = fold(copy.deepcopy(network).eval(), input_scale=scale)

    model = onnx_from_module(graph_module, _spec(dtype=dtype, layout=layout))

    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    size = [2, 3, 16, 24] if layout == "NCHW" else [2, 16, 24, 3]
    declared = proto.graph.input[0].type.tensor_type
    assert [d.dim_value for d in declared.shape.dim][1:] == size[1:]
    assert onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type) == np.dtype(dtype)
    _assert_close(_run(model, images.numpy()), _expected(network, pixels / 255))


@pytest.mark.parametrize(
    ("batch", "expected"), [(BatchRange(3, 3, 3), 3), (BatchRange(1, 2, 4), "batch")]
)
def test_batch_is_static_or_named(batch: BatchRange, expected: int | str) -> None:
    """Every value has the batch of the specification: a number, or the dimension ``batch``."""
    torch.manual_seed(0)

    model = onnx_from_module(_fold(_detector()), _spec(batch=batch))

    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    shapes = {value.name: value.shape for value in values if value.shape is not None}
    assert {"images", "raw_0", "raw_1"} < shapes.keys()
    assert {
        shape[0] if isinstance(expected, int) else str(shape[0]) for shape in shapes.values()
    } == {expected}
    assert _run(model, _images(3).numpy())[1].shape == (3, 6, 4, 6)


def test_model_declares_its_format() -> None:
    """The versions are the newest that all runtimes read; inputs and outputs have fixed names."""
    torch.manual_seed(0)

    proto = ir.to_proto(onnx_from_module(_fold(_detector()), _spec()))

    assert [(o.domain, o.version) for o in proto.opset_import] == [("", 17)]
    assert (proto.ir_version, proto.producer_name) == (8, "yolor-deploy")
    assert proto.graph.name == "custom"
    assert [value.name for value in proto.graph.input] == ["images"]
    assert [value.name for value in proto.graph.output] == ["raw_0", "raw_1"]
    assert {i.data_type for i in proto.graph.initializer} == {onnx.TensorProto.FLOAT}


def test_node_names_lead_back_to_layers() -> None:
    """Every node and every weight begins with the name of the layer that it comes from."""
    torch.manual_seed(0)
    network = _detector()
    layers = {name for name, _ in network.named_children()}

    model = onnx_from_module(_fold(network), _spec())

    names = [str(node.name) for node in model.graph]
    assert len(set(names)) == len(names)
    assert {name.split(".")[0] for name in names} == {
        "body", "act", "pool", "up", "cat", "fine", "coarse",
    }  # fmt: skip
    assert {str(name).split(".")[0] for name in model.graph.initializers} <= layers
    assert "body.weight" in model.graph.initializers


def test_layer_called_twice_gets_two_names() -> None:
    """One activation behind two convolutions becomes nodes with names of their own."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.act(n.body(n.act(n.stem(x))))], stem=conv(3), body=conv(), act=nn.ReLU()
    )

    model = onnx_from_module(_fold(network), _spec())

    assert [node.name for node in model.graph] == ["stem", "act", "body", "act.1"]
    _assert_close(_run(model, _images().numpy()), _expected(network, _images()))


def test_convolution_called_twice_keeps_its_weights() -> None:
    """Both calls of one convolution compute with the same numbers."""
    torch.manual_seed(0)
    network = Wired(
        lambda n, x: [n.body(n.act(n.body(n.stem(x))))], stem=conv(3), body=conv(), act=nn.ReLU()
    )

    model = onnx_from_module(_fold(network), _spec())

    _assert_close(_run(model, _images().numpy()), _expected(network, _images()))


def test_one_map_for_two_levels_is_two_outputs() -> None:
    """A map that two levels return is copied, since every output needs a value of its own."""
    torch.manual_seed(0)
    network = Wired(lambda n, x: [y := n.stem(x), y], stem=conv(3))

    model = onnx_from_module(_fold(network), _spec())

    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert _operators(model) == ["Conv", "Identity"]
    _assert_close(_run(model, _images().numpy()), _expected(network, _images()))


@pytest.mark.parametrize("fold_implicit", [False, True])
def test_detector_agrees_with_torch(fold_implicit: bool) -> None:
    """A detector with or without folded implicit knowledge gives torch's maps."""
    torch.manual_seed(0)
    network = _detector()

    model = onnx_from_module(_fold(network, fold_implicit=fold_implicit), _spec())

    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert _operators(model).count("Conv") == 3
    assert len(_operators(model)) == 8 + 2 * (not fold_implicit)
    _assert_close(_run(model, _images().numpy()), _expected(network, _images()))


@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about itself
def test_torch_exporter_agrees() -> None:
    """The exporter of torch gives the same maps for the same folded network."""
    torch.manual_seed(0)
    graph_module = _fold(_detector())
    images = _images()
    ours = _run(onnx_from_module(graph_module, _spec(batch=BatchRange(2, 2, 2))), images.numpy())

    program = torch.onnx.export(
        graph_module.float(), (images,), dynamo=True, opset_version=18, verbose=False
    )

    assert program is not None
    payload = io.BytesIO(program.model_proto.SerializeToString())
    session = ort.InferenceSession(payload.getvalue(), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    _assert_close(ours, [np.asarray(value) for value in theirs])


@pytest.mark.parametrize("batch", [BatchRange(2, 2, 2), BatchRange(1, 2, 4)])
def test_simplifier_finds_nothing(batch: BatchRange) -> None:
    """A simplifier leaves every operator of a folded detector, whatever the batch."""
    torch.manual_seed(0)
    proto = ir.to_proto(onnx_from_module(_fold(_detector()), _spec(batch=batch)))

    simple, is_same = onnxsim.simplify(proto)

    assert is_same
    assert [n.op_type for n in simple.graph.node] == [n.op_type for n in proto.graph.node]


class _Softmax(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(x, 1)


@pytest.mark.parametrize(
    ("layer", "problem", "where"),
    [
        pytest.param(nn.GELU, "GELU has no ONNX form here", "layer", id="module"),
        pytest.param(_Softmax, "softmax.* has no ONNX form here", "layer.softmax", id="function"),
    ],
)
def test_unknown_layer_is_named(layer: Build, problem: str, where: str) -> None:
    """A layer without an ONNX form is an error with its kind and its name."""
    torch.manual_seed(0)
    graph_module = _fold(_behind_stem(layer)())

    with pytest.raises(PassError, match=problem) as error:
        onnx_from_module(graph_module, _spec())

    assert error.value.where == where


def test_number_as_operand_is_refused() -> None:
    """A sum with a plain number is not one of two maps, and is refused by name."""
    torch.manual_seed(0)
    graph_module = _fold(Wired(lambda n, x: [n.stem(x) + 1.0], stem=conv(3)))

    with pytest.raises(PassError, match=r"add.* has no ONNX form here"):
        onnx_from_module(graph_module, _spec())
