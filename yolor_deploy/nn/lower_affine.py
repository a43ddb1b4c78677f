"""Rewrite every input-independent operand, and every batch normalisation, as ``Affine``."""

from __future__ import annotations

import operator
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from yolor_deploy.core.errors import PassError
from yolor_deploy.nn.affine import Affine, Origin, affine_from_batchnorm
from yolor_deploy.nn.graph_edit import channels_of, insert_module, module_of
from yolor_deploy.nn.layers import PrependChannels

_ADD = (operator.add, torch.add)
_MUL = (operator.mul, torch.mul)


def remove_identities(graph_module: fx.GraphModule) -> int:
    """Take out the layers that do nothing at inference.

    Returns:
        The number taken out.
    """
    nodes = [
        node
        for node in graph_module.graph.nodes
        if isinstance(module_of(node), nn.Identity | nn.Dropout)
    ]
    for node in nodes:
        node.replace_all_uses_with(node.all_input_nodes[0])
        graph_module.graph.erase_node(node)
    return len(nodes)


def lower_batchnorm(graph_module: fx.GraphModule) -> int:
    """Rewrite each batch normalisation as the scale and shift that it is at inference.

    Returns:
        The number rewritten.
    """
    nodes = [n for n in graph_module.graph.nodes if isinstance(module_of(n), nn.BatchNorm2d)]
    for node in nodes:
        norm = cast("nn.BatchNorm2d", module_of(node))
        affine = affine_from_batchnorm(norm, layer=str(node.target))
        _replace(graph_module, node, node.all_input_nodes[0], affine)
    graph_module.graph.lint()
    return len(nodes)


def lower_implicit(graph_module: fx.GraphModule) -> int:
    """Compute every input-independent subgraph, and rewrite what it meets as ``Affine``.

    Whatever models the implicit knowledge (a vector, ``W z``, ``Z^T c``, a sigmoid of one), its
    value is a constant: one per channel, added to or multiplied with a map. A constant that is
    concatenated in front of a map stays the operand of ``PrependChannels``.

    Returns:
        The number of additions and multiplications rewritten.

    Raises:
        PassError: A constant is used in another way, or is not one value per channel.
    """
    constants = _constants(graph_module)
    count = 0
    for node in list(graph_module.graph.nodes):
        operands = [source for source in node.all_input_nodes if source in constants]
        if node in constants or not operands:
            continue
        if isinstance(module_of(node), PrependChannels):
            _store_constant(graph_module, node, constants[operands[0]], operands[0])
            continue
        maps = [arg for arg in node.args if isinstance(arg, fx.Node) and arg not in constants]
        if node.target not in {*_ADD, *_MUL} or len(operands) != 1 or len(maps) != 1:
            raise _unknown(node, f"{node.target} takes it", "a sum or a product with a map")
        vector = _per_channel(constants[operands[0]], channels_of(maps[0]), node)
        scope = node.meta["scope"]
        origins = tuple(Origin(f"{name} at {scope}", "implicit") for name in _sources(operands[0]))
        is_sum = node.target in _ADD
        affine = Affine(None if is_sum else vector, vector if is_sum else None, origins)
        _replace(graph_module, node, maps[0], affine)
        count += 1
    graph_module.graph.eliminate_dead_code()
    graph_module.graph.lint()
    return count


def _per_channel(value: Tensor, width: int, node: fx.Node) -> Tensor:
    """Return a constant as float [width], or float [1] for all channels."""
    if value.numel() != 1 and tuple(value.shape) != (1, width, 1, 1):
        raise _unknown(node, f"its shape is {list(value.shape)}", f"[1, {width}, 1, 1]")
    return value.reshape(-1)


def _unknown(node: fx.Node, problem: str, expected: str) -> PassError:
    return PassError(
        f"a value that does not depend on the image: {problem}, expected {expected}",
        where=str(node.meta.get("scope") or node.name),
        hint="report this model: its implicit knowledge is used in a new way",
    )


def _constants(graph_module: fx.GraphModule) -> dict[fx.Node, Tensor]:
    """Return the value of each node that does not depend on the image."""
    interpreter = fx.Interpreter(graph_module)
    values: dict[fx.Node, Any] = {}
    interpreter.env = values
    for node in graph_module.graph.nodes:
        if node.op == "get_attr":
            values[node] = _attribute(graph_module, str(node.target))
        elif node.all_input_nodes and all(source in values for source in node.all_input_nodes):
            with torch.no_grad():
                values[node] = interpreter.run_node(node)
    return {node: value for node, value in values.items() if isinstance(value, Tensor)}


def _attribute(graph_module: fx.GraphModule, target: str) -> Tensor:
    owner, _, leaf = target.rpartition(".")
    value = getattr(graph_module.get_submodule(owner), leaf)
    assert isinstance(value, Tensor)
    return value.detach()


def _sources(node: fx.Node) -> list[str]:
    """Return the parameters that a constant was computed from."""
    if node.op == "get_attr":
        return [str(node.target)]
    return list(dict.fromkeys(name for source in node.all_input_nodes for name in _sources(source)))


def _store_constant(
    graph_module: fx.GraphModule, node: fx.Node, value: Tensor, source: fx.Node
) -> None:
    """Make a computed constant the operand of a concatenation."""
    name = f"{node.name}_constant"
    graph_module.register_buffer(name, value.clone())
    with graph_module.graph.inserting_before(node):
        constant = graph_module.graph.get_attr(name)
    constant.meta["scope"] = node.meta.get("scope", "")
    constant.meta["sources"] = _sources(source)
    node.replace_input_with(source, constant)


def _replace(graph_module: fx.GraphModule, node: fx.Node, source: fx.Node, affine: Affine) -> None:
    """Put an affine map, applied to ``source``, in the place of a node."""
    new = insert_module(graph_module, affine, source, before=node)
    new.meta["scope"] = str(node.target) if node.op == "call_module" else node.meta["scope"]
    node.replace_all_uses_with(new)
    graph_module.graph.erase_node(node)
