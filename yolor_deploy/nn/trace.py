"""Networks as graphs: the form that folding rewrites and that ONNX is written from."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from yolor_deploy.nn.affine import Affine
from yolor_deploy.nn.layers import HaarTransform, PrependChannels, ReOrg

_LEAVES = (ReOrg, HaarTransform, PrependChannels, Affine)


class _Tracer(fx.Tracer):
    """Goes into every module but torch's own and the few that have an ONNX form of their own."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _LEAVES) or super().is_leaf_module(m, module_qualified_name)


def trace(network: nn.Module) -> fx.GraphModule:
    """Return the graph of a network; the modules in it are the network's own, not copies.

    Each node's ``meta["scope"]`` is the name of the checkpoint's layer that it belongs to.

    Args:
        network: ``forward(images)`` returns a list of maps, with no branch on values.
    """
    tracer = _Tracer()
    graph = tracer.trace(network)
    scopes: dict[str, Any] = tracer.node_name_to_scope
    for node in graph.nodes:
        node.meta["scope"] = scopes[node.name][0] if node.name in scopes else ""
    return fx.GraphModule(network, graph)
