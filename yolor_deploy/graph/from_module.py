"""Write a folded network as ONNX: one operator per layer, named after the checkpoint's layer.

torch has an exporter of its own. For a folded YOLOR-P6 it gives the same numbers to the bit, takes
8.2 s where this takes 2.3 s, names nodes by its own counter instead of the layer, and writes IR 10
where 8 is the one of opset 17: ``benchmarks/results/exporters.json``. A folded detector has a
dozen kinds of layers, listed in ``_Emitter``.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from yolor_deploy.core.errors import PassError
from yolor_deploy.core.spec import DetectorSpec, InputSpec
from yolor_deploy.nn.affine import Affine
from yolor_deploy.nn.graph_edit import concat_pieces, module_of
from yolor_deploy.nn.layers import HaarTransform, PrependChannels, ReOrg

logger = logging.getLogger(__name__)

OPSET = 17  # the newest that TensorRT 8.6 reads
IR_VERSION = 8  # the first with functions, and the one of that opset
PRODUCER = "yolor-deploy"
IMAGES = "images"


def onnx_from_module(graph_module: fx.GraphModule, spec: DetectorSpec) -> ir.Model:
    """Write a traced network as an ONNX model that ends in raw maps.

    Args:
        graph_module: As ``nn.fold`` gives it. Its weights are cast to float32 here.
        spec: Size, batch, type and layout of the input; the levels.

    Returns:
        Input ``images``; outputs ``raw_0 ..``, float32 [batch, anchors * (5 + classes), h, w],
        finest stride first. The batch is the dimension ``batch`` unless it is static.

    Raises:
        PassError: The graph has a layer without an ONNX form here; it is named.
    """
    batch = spec.input.batch
    rows = ir.SymbolicDim("batch") if not batch.is_static else batch.minimum
    emitter = _Emitter(rows, _Shapes(graph_module).of_values(spec.input))
    images = ir.Value(
        name=IMAGES,
        type=ir.TensorType(_onnx_type(spec.input)),
        shape=ir.Shape([rows, *spec.input.shape(1)[1:]]),
    )
    for node in graph_module.graph.nodes:
        if node.op == "placeholder":
            emitter.values[node] = emitter.image(images, spec.input)
        elif node.op == "get_attr":
            emitter.values[node] = emitter.constant(
                str(node.target), graph_module.get_buffer(str(node.target))
            )
        elif node.op == "output":
            emitter.outputs(node.args[0])
        else:
            emitter.emit(node)
    graph = ir.Graph(
        [images],
        emitter.raw_maps,
        nodes=emitter.nodes,
        initializers=tuple(emitter.initializers.values()),
        opset_imports={"": OPSET},
        name=spec.variant,
    )
    logger.info("onnx_from_module: %d nodes, %d initializers", len(graph), len(graph.initializers))
    return ir.Model(graph, ir_version=IR_VERSION, producer_name=PRODUCER)


class _Shapes(fx.Interpreter):
    """Runs a traced network on the meta device: shapes come out, nothing is computed."""

    def of_values(self, image: InputSpec) -> dict[fx.Node, tuple[int, ...]]:
        """Return the shape of each value for one image."""
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        self.run(torch.empty(1, 3, image.height, image.width, device="meta"))
        return self.shapes

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if isinstance(value, Tensor):
            self.shapes[n] = tuple(value.shape)
        return value

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(target)
        weights = {
            name: torch.empty_like(tensor, device="meta", dtype=torch.float32)
            for named in (module.named_parameters(), module.named_buffers())
            for name, tensor in named
        }
        return functional_call(module, weights, args, kwargs)

    def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        value: Tensor = super().get_attr(target, args, kwargs)
        return torch.empty_like(value, device="meta", dtype=torch.float32)


def _onnx_type(image: InputSpec) -> ir.DataType:
    return ir.DataType.UINT8 if image.dtype == "uint8" else ir.DataType.FLOAT


class _Emitter:
    """Appends nodes; a value per node of the traced graph."""

    def __init__(self, rows: ir.SymbolicDim | int, shapes: dict[fx.Node, tuple[int, ...]]) -> None:
        self.rows = rows
        self.shapes = shapes
        self.nodes: list[ir.Node] = []
        self.values: dict[fx.Node, ir.Value] = {}
        self.initializers: dict[str, ir.Value] = {}
        self.raw_maps: list[ir.Value] = []
        self.names: set[str] = set()
        self.layers: dict[type[nn.Module], Callable[[fx.Node, str, Any], ir.Value]] = {
            nn.Conv2d: self.convolution,
            HaarTransform: self.convolution,
            nn.SiLU: self.silu,
            nn.Mish: self.mish,
            nn.LeakyReLU: self.leaky_relu,
            nn.ReLU: self.relu,
            nn.Sigmoid: self.sigmoid,
            nn.MaxPool2d: self.max_pool,
            nn.Upsample: self.upsample,
            nn.ZeroPad2d: self.zero_pad,
            Affine: self.affine,
            ReOrg: self.reorg,
            PrependChannels: self.prepend,
        }

    def image(self, images: ir.Value, spec: InputSpec) -> ir.Value:
        """Bring the input to float32 NCHW; its scale is in the first convolution."""
        value = images
        if spec.dtype == "uint8":
            value = self.op("Cast", [value], f"{IMAGES}.cast", to=ir.DataType.FLOAT.value)
        if spec.layout == "NHWC":
            value = self.op("Transpose", [value], f"{IMAGES}.transpose", perm=[0, 3, 1, 2])
        if value is not images:
            value.shape = ir.Shape([self.rows, 3, spec.height, spec.width])
            value.type = ir.TensorType(ir.DataType.FLOAT)
        return value

    def emit(self, node: fx.Node) -> None:
        """Append the operators of one node."""
        module = module_of(node)
        name = str(node.target) if module is not None else f"{node.meta['scope']}.{node.name}"
        if isinstance(module, Affine):
            name = f"{node.meta['scope']}.affine"
        name = self.unique(name.lstrip("."))
        if module is None:
            value = self.function(node, name)
        else:
            write = self.layers.get(type(module))
            if write is None:
                raise self.unknown(type(module).__name__, name)
            value = write(node, name, module)
        value.shape = ir.Shape([self.rows, *self.shapes[node][1:]])
        value.type = ir.TensorType(ir.DataType.FLOAT)
        self.values[node] = value

    def function(self, node: fx.Node, name: str) -> ir.Value:
        pieces = concat_pieces(node)
        if pieces is not None:
            return self.op("Concat", [self.values[piece] for piece in pieces], name, axis=1)
        kinds = {operator.add: "Add", torch.add: "Add", operator.mul: "Mul", torch.mul: "Mul"}
        maps = [self.values[arg] for arg in node.args if isinstance(arg, fx.Node)]
        if node.target not in kinds or len(maps) != len(node.args) or node.kwargs:
            raise self.unknown(str(node.target), name)
        return self.op(kinds[node.target], maps, name)

    def outputs(self, maps: Any) -> None:
        """Give the raw maps their names."""
        for level, node in enumerate(maps):
            value = self.values[node]
            if value in self.raw_maps:  # two levels of one map: each output needs a value
                shape = value.shape
                value = self.op("Identity", [value], f"raw_{level}.copy")
                value.shape, value.type = shape, ir.TensorType(ir.DataType.FLOAT)
            value.name = f"raw_{level}"
            self.raw_maps.append(value)

    def convolution(self, node: fx.Node, name: str, conv: nn.Conv2d) -> ir.Value:
        inputs = [self.read(node), self.constant(f"{name}.weight", conv.weight)]
        if conv.bias is not None:
            inputs.append(self.constant(f"{name}.bias", conv.bias))
        return self.op(
            "Conv",
            inputs,
            name,
            kernel_shape=list(conv.kernel_size),
            strides=list(conv.stride),
            pads=[int(p) for p in conv.padding] * 2,
            dilations=list(conv.dilation),
            group=conv.groups,
        )

    def silu(self, node: fx.Node, name: str, _: nn.Module) -> ir.Value:
        x = self.read(node)
        return self.op("Mul", [x, self.step("Sigmoid", [x], f"{name}.sigmoid")], name)

    def mish(self, node: fx.Node, name: str, _: nn.Module) -> ir.Value:
        # Softplus, Tanh, Mul: ONNX has a Mish since opset 18, which TensorRT 8.6 does not read.
        x = self.read(node)
        soft = self.step("Softplus", [x], f"{name}.softplus")
        return self.op("Mul", [x, self.step("Tanh", [soft], f"{name}.tanh")], name)

    def leaky_relu(self, node: fx.Node, name: str, module: nn.LeakyReLU) -> ir.Value:
        return self.op("LeakyRelu", [self.read(node)], name, alpha=float(module.negative_slope))

    def relu(self, node: fx.Node, name: str, _: nn.Module) -> ir.Value:
        return self.op("Relu", [self.read(node)], name)

    def sigmoid(self, node: fx.Node, name: str, _: nn.Module) -> ir.Value:
        return self.op("Sigmoid", [self.read(node)], name)

    def max_pool(self, node: fx.Node, name: str, pool: nn.MaxPool2d) -> ir.Value:
        pairs = [_pair(value) for value in (pool.kernel_size, pool.stride, pool.padding)]
        kernel, strides, pads = pairs
        return self.op(
            "MaxPool", [self.read(node)], name, kernel_shape=kernel, strides=strides, pads=pads * 2
        )

    def upsample(self, node: fx.Node, name: str, module: nn.Upsample) -> ir.Value:
        factor = module.scale_factor
        assert isinstance(factor, float)
        scales = self.constant(f"{name}.scales", torch.tensor([1.0, 1.0, factor, factor]))
        return self.op(
            "Resize",
            [self.read(node), None, scales],
            name,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def zero_pad(self, node: fx.Node, name: str, module: nn.ZeroPad2d) -> ir.Value:
        left, right, top, bottom = module.padding
        pads = torch.tensor([0, 0, top, left, 0, 0, bottom, right])
        return self.op("Pad", [self.read(node), self.constant(f"{name}.pads", pads)], name)

    def affine(self, node: fx.Node, name: str, module: Affine) -> ir.Value:
        x = self.read(node)
        if module.scale is None or module.shift is None:
            vector = module.scale if module.shift is None else module.shift
            assert vector is not None
            constant = self.constant(f"{name}.vector", vector.reshape(1, -1, 1, 1))
            return self.op("Mul" if module.shift is None else "Add", [x, constant], name)
        zeros = module.scale.new_zeros(self.shapes[node][1])
        inputs = {
            "scale": zeros + module.scale,
            "shift": zeros + module.shift,
            "mean": zeros,
            "variance": zeros + 1,
        }
        constants = [self.constant(f"{name}.{key}", value) for key, value in inputs.items()]
        return self.op("BatchNormalization", [x, *constants], name, epsilon=0.0)

    def reorg(self, node: fx.Node, name: str, _: nn.Module) -> ir.Value:
        # SpaceToDepth orders its squares (0,0) (0,1) (1,0) (1,1): the middle two swap.
        deep = self.step("SpaceToDepth", [self.read(node)], f"{name}.depth", blocksize=2)
        width = self.shapes[node][1] // 4
        blocks = torch.arange(4 * width).reshape(4, width)[[0, 2, 1, 3]].flatten()
        indices = self.constant(f"{name}.order", blocks)
        return self.op("Gather", [deep, indices], name, axis=1)

    def prepend(self, node: fx.Node, name: str, _: nn.Module) -> ir.Value:
        x, constant = (self.values[source] for source in node.all_input_nodes)
        shape = self.step("Shape", [x], f"{name}.shape")
        spread = self.step("Expand", [constant, shape], f"{name}.expand")
        return self.op("Concat", [spread, x], name, axis=1)

    def read(self, node: fx.Node) -> ir.Value:
        """Return the value of the only map that a node reads."""
        return self.values[node.all_input_nodes[0]]

    def constant(self, name: str, tensor: Tensor) -> ir.Value:
        """Return an initializer: float32 for any float, int64 for any integer."""
        name = self.unique(name)
        kind = torch.float32 if tensor.is_floating_point() else torch.int64
        array: np.ndarray[Any, Any] = tensor.detach().to(kind).contiguous().numpy()
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        value.shape = ir.Shape(array.shape)
        value.type = ir.TensorType(ir.DataType.from_numpy(array.dtype))
        self.initializers[name] = value
        return value

    def step(
        self, kind: str, inputs: Sequence[ir.Value | None], name: str, **attributes: Any
    ) -> ir.Value:
        """Append an operator inside a layer."""
        return self.op(kind, inputs, self.unique(name), **attributes)

    def op(
        self, kind: str, inputs: Sequence[ir.Value | None], name: str, **attributes: Any
    ) -> ir.Value:
        """Append an operator and return its value, of the same name."""
        node = ir.node(kind, inputs, attributes or None, name=name)
        node.outputs[0].name = name
        self.nodes.append(node)
        return node.outputs[0]

    def unique(self, name: str) -> str:
        """Return the name, with a number behind it if it is taken."""
        count, free = 1, name
        while free in self.names:
            count, free = count + 1, f"{name}.{count}"
        self.names.add(free)
        return free

    def unknown(self, kind: str, name: str) -> PassError:
        return PassError(
            f"{kind} has no ONNX form here",
            where=name,
            hint="report this model: it has a layer that the published ones have not",
        )


def _pair(value: int | tuple[int, ...]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)
