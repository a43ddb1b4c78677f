"""Small edits of a traced graph, shared by the passes over it."""

from __future__ import annotations

import torch
from torch import fx, nn

from yolor_deploy.nn.layers import PrependChannels, ReOrg


def module_of(node: fx.Node) -> nn.Module | None:
    """Return the module that a node calls; None if it calls none."""
    if node.op != "call_module":
        return None
    owner = node.graph.owning_module
    assert owner is not None
    return owner.get_submodule(str(node.target))


def own_convolution(node: fx.Node) -> nn.Conv2d | None:
    """Return the convolution of a node, if no other node calls the same one."""
    module = module_of(node)
    if not isinstance(module, nn.Conv2d):
        return None
    callers = [n for n in node.graph.nodes if n.op == "call_module" and n.target == node.target]
    return module if len(callers) == 1 else None


def name_of(node: fx.Node) -> str:
    """Return a node's layer of the checkpoint, for messages; its own name if it has none."""
    own = str(node.target) if node.op == "call_module" else node.name
    return str(node.meta.get("scope") or own)


def not_a_convolution(user: fx.Node) -> str:
    """Return why nothing folds into a node that is no convolution, or not one to be changed."""
    if user.op == "output":
        return "it is an output of the network"
    name, module = name_of(user), module_of(user)
    if own_convolution(user) is not None:
        return f"{name} is a convolution in groups, dilated or fixed"
    if isinstance(module, nn.Conv2d):
        return f"{name} is used more than once"
    return f"{name} is not a convolution"


def insert_module(
    graph_module: fx.GraphModule, module: nn.Module, source: fx.Node, *, before: fx.Node
) -> fx.Node:
    """Add a call of a new module in front of a node; nothing uses it yet."""
    prefix = type(module).__name__.lower()
    taken = {name for name, _ in graph_module.named_children()}
    index = next(i for i in range(len(taken) + 1) if f"{prefix}_{i}" not in taken)
    graph_module.add_submodule(f"{prefix}_{index}", module)
    with graph_module.graph.inserting_before(before):
        node = graph_module.graph.call_module(f"{prefix}_{index}", (source,))
    node.meta["scope"] = before.meta.get("scope", "")
    return node


def remove_module(node: fx.Node, source: fx.Node) -> None:
    """Take a node with its module out of the graph; its users read ``source`` instead."""
    owner = node.graph.owning_module
    assert owner is not None
    node.replace_all_uses_with(source)
    node.graph.erase_node(node)
    owner.delete_submodule(str(node.target))


def replace_module(node: fx.Node, module: nn.Module) -> None:
    """Make a node call another module under the name of its own."""
    owner = node.graph.owning_module
    assert owner is not None
    owner.add_submodule(str(node.target), module)


def concat_pieces(node: fx.Node) -> list[fx.Node] | None:
    """Return the maps that a node joins along their channels; None if it does not."""
    if node.op != "call_function" or node.target is not torch.cat:
        return None
    pieces = node.args[0]
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    if axis != 1 or not isinstance(pieces, list | tuple):
        return None
    return [piece for piece in pieces if isinstance(piece, fx.Node)]


def channels_of(node: fx.Node) -> int:
    """Return how many channels the map of a node has."""
    total, waiting = 0, [(node, 1)]  # each with how often its channels count
    while waiting:
        current, factor = waiting.pop()
        module = module_of(current)
        pieces = concat_pieces(current)
        if current.op == "placeholder":
            total += 3 * factor
        elif isinstance(module, nn.Conv2d):
            total += module.out_channels * factor
        elif pieces is not None:
            waiting += [(piece, factor) for piece in pieces]
        else:
            factor *= 4 if isinstance(module, ReOrg) else 1
            if isinstance(module, PrependChannels):
                waiting.append((current.all_input_nodes[0], factor))
            waiting.append((current.all_input_nodes[0], factor))
    return total
