"""Networks of a few layers with activations, joins and two heads, for tests of precision passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from yolor_deploy.core.runtime import Array, FloatArray

Activation = Literal["silu", "mish", "leaky", "relu"]
SIZE = 16
PLAIN = {"session.disable_quant_qdq": "1"}
"""Settings with which ONNX Runtime computes Q/DQ pairs as they stand."""


class TinyNet:
    """A network that is written down layer by layer; every method returns the name of its result.

    A node has the name of its result, as in the graphs of ``from_module``.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        size: int = SIZE,
        uint8: bool = False,
        nhwc: bool = False,
        batch: int | str = "batch",
        seed: int = 0,
    ) -> None:
        sides: list[int | str] = [size, size, channels] if nhwc else [channels, size, size]
        kind = TensorProto.UINT8 if uint8 else TensorProto.FLOAT
        self.image = helper.make_tensor_value_info("images", kind, [batch, *sides])
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}
        self.rng = np.random.default_rng(seed)
        self.channels = {"images": channels}
        self.x = "images"
        if uint8:
            self.x = self.op("Cast", [self.x], "images.cast", to=TensorProto.FLOAT)
        if nhwc:
            self.x = self.op("Transpose", [self.x], "images.transpose", perm=[0, 3, 1, 2])
        self.channels[self.x] = channels

    def op(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Append an operator; its channels are those of its first input."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        self.channels[name] = self.channels.get(inputs[0] if inputs else "", 1)
        return name

    def constant(self, name: str, array: Array) -> str:
        """Add an initializer."""
        self.weights[name] = numpy_helper.from_array(array, name)
        return name

    def conv(
        self, x: str, name: str, *, outputs: int = 8, stride: int = 1, weight: Array | None = None
    ) -> str:
        """Append a convolution with bias; 3x3 with random weights unless some are given."""
        inputs = self.channels[x]
        if weight is None:
            spread = 1.5 / np.sqrt(9 * inputs)
            weight = self.rng.normal(0, spread, (outputs, inputs, 3, 3)).astype(np.float32)
        bias = self.rng.normal(0, 0.2, len(weight)).astype(np.float32)
        names = [x, self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        pad = weight.shape[2] // 2
        self.op("Conv", names, name, pads=[pad] * 4, strides=[stride] * 2)
        self.channels[name] = len(weight)
        return name

    def activate(self, x: str, name: str, kind: Activation = "silu") -> str:
        """Append an activation function, in the operators that ``from_module`` writes."""
        if kind == "silu":
            return self.op("Mul", [x, self.op("Sigmoid", [x], f"{name}.sigmoid")], name)
        if kind == "mish":
            soft = self.op("Softplus", [x], f"{name}.softplus")
            return self.op("Mul", [x, self.op("Tanh", [soft], f"{name}.tanh")], name)
        if kind == "leaky":
            return self.op("LeakyRelu", [x], name, alpha=0.125)
        return self.op("Relu", [x], name)

    def block(self, x: str, name: str, *, kind: Activation = "silu", stride: int = 1) -> str:
        """Append a convolution of 8 channels and its activation, ``name`` and ``name.act``."""
        return self.activate(self.conv(x, name, stride=stride), f"{name}.act", kind)

    def concat(self, pieces: Sequence[str], name: str) -> str:
        """Append a join of channels."""
        self.op("Concat", pieces, name, axis=1)
        self.channels[name] = sum(self.channels[piece] for piece in pieces)
        return name

    def pool(self, x: str, name: str) -> str:
        """Append a max-pool of 3x3 that keeps the size."""
        return self.op("MaxPool", [x], name, kernel_shape=[3, 3], pads=[1] * 4)

    def resize(self, x: str, name: str) -> str:
        """Append an enlargement by 2."""
        scales = self.constant(f"{name}.scales", np.array([1, 1, 2, 2], np.float32))
        return self.op(
            "Resize",
            [x, "", scales],
            name,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def reorg(self, x: str, name: str) -> str:
        """Append the move of 2x2 squares into channels, and a permutation of these."""
        deep = self.op("SpaceToDepth", [x], f"{name}.depth", blocksize=2)
        count = 4 * self.channels[x]
        order = self.constant(f"{name}.order", np.arange(count, dtype=np.int64)[::-1].copy())
        self.op("Gather", [deep, order], name, axis=1)
        self.channels[deep] = self.channels[name] = count
        return name

    def model(self, outputs: Sequence[str]) -> ir.Model:
        """Return the network, outputs called ``raw_0 ..``, with type and shape of all values."""
        names = {name: f"raw_{i}" for i, name in enumerate(outputs)}
        for node in self.nodes:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        results = [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in names.values()
        ]
        graph = helper.make_graph(
            self.nodes, "tiny", [self.image], results, list(self.weights.values())
        )
        opset = helper.make_operatorsetid("", 17)
        proto = helper.make_model(graph, opset_imports=[opset], ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)
        return ir.from_proto(inferred)


def detector_net(*, kind: Activation = "silu", **image: Any) -> ir.Model:
    """Return a network with all that the published ones have between image and raw maps.

    Reorg, strided convolutions, a residual, an spp-like pool and concat, an enlargement that meets
    a skip connection, and two detection convolutions ``detect_0`` and ``detect_1``.
    """
    net = TinyNet(**image)
    stem = net.block(net.reorg(net.x, "reorg"), "stem", kind=kind)
    down = net.block(stem, "down", kind=kind, stride=2)
    inner = net.block(down, "inner", kind=kind)
    residual = net.op("Add", [down, inner], "residual")
    spp = net.concat([residual, net.pool(residual, "pool")], "spp")
    deep = net.block(spp, "deep", kind=kind)
    skip = net.concat([net.resize(deep, "up"), stem], "skip")
    fine = net.block(skip, "fine", kind=kind)
    return net.model([net.conv(fine, "detect_0"), net.conv(deep, "detect_1")])


def run(
    model: ir.Model,
    images: Array | Mapping[str, Array],
    *,
    settings: Mapping[str, str] = PLAIN,
    optimise: bool = True,
) -> dict[str, FloatArray]:
    """Run a model in ONNX Runtime, on images or on inputs by name; return its outputs by name."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    for key, value in settings.items():
        options.add_session_config_entry(key, value)
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)
    names = [value.name for value in session.get_outputs()]
    feed = dict(images) if isinstance(images, Mapping) else {"images": images}
    return dict(zip(names, session.run(names, feed), strict=True))


def with_all_outputs(model: ir.Model) -> ir.Model:
    """Return a copy whose outputs are all its float values, in the order of its nodes."""
    copy = clone(model)
    copy.graph.outputs[:] = [
        value for node in copy.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT
    ]
    return copy


def clone(model: ir.Model) -> ir.Model:
    """Return a deep copy."""
    return ir.from_proto(ir.to_proto(model))


def node_named(model: ir.Model, name: str) -> ir.Node:
    """Return the node of that name."""
    return next(node for node in model.graph if node.name == name)


def noise(batch: int = 2, *, channels: int = 3, size: int = SIZE, seed: int = 0) -> FloatArray:
    """Return images of uniform noise in 0..1."""
    rng = np.random.default_rng(seed)
    return rng.random((batch, channels, size, size), dtype=np.float32)


def check(model: ir.Model) -> None:
    """Run the full check of ONNX."""
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def stored(model: ir.Model, name: str) -> Array:
    """Return the values of an initializer."""
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


def quantised_values(model: ir.Model) -> list[str]:
    """Return the names of what each QuantizeLinear reads, in order."""
    nodes = [node for node in model.graph if node.op_type == "QuantizeLinear"]
    return [str(node.inputs[0].name) for node in nodes if node.inputs[0] is not None]


def constant_range(_: Sequence[str]) -> float:
    """Return the same magnitude for every group of values."""
    return 4.0


def seen_ranges(model: ir.Model, images: Array) -> Callable[[Sequence[str]], float]:
    """Return what tells the largest magnitude of a group of values, in a run of the network."""
    values = run(with_all_outputs(model), images) | {"images": images}
    return lambda names: max(float(np.abs(values[name]).max()) for name in names)
