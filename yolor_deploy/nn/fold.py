"""The order of the passes over a network: from a checkpoint's layers to convolutions alone."""

from __future__ import annotations

import logging
import time

import torch
from torch import fx, nn

from yolor_deploy.nn.affine import Affine, Origin
from yolor_deploy.nn.fold_affine import FoldSite, fold_affine
from yolor_deploy.nn.fold_concat import fold_concat
from yolor_deploy.nn.fold_reorg import fold_reorg
from yolor_deploy.nn.graph_edit import insert_module
from yolor_deploy.nn.lower_affine import lower_batchnorm, lower_implicit, remove_identities
from yolor_deploy.nn.trace import trace

logger = logging.getLogger(__name__)


def fold(
    network: nn.Module, *, fold_implicit: bool = True, input_scale: float = 1.0
) -> tuple[fx.GraphModule, list[FoldSite]]:
    """Fold batch normalisation, implicit knowledge and space to depth into convolutions.

    All is computed in float64; the weights are cast when they are written.

    Args:
        network: Its weights become float64 and are changed: it is used up.
        fold_implicit: Leave the sums and products with implicit vectors in place if False.
        input_scale: Factor of the image before the first layer, such as 1 / 255.

    Returns:
        The folded graph, float64, and what became of each site.

    Raises:
        PassError: Implicit knowledge is used in a way that is not known.
    """
    started = time.perf_counter()
    graph_module = trace(network.double())
    remove_identities(graph_module)
    if input_scale != 1.0:
        _scale_input(graph_module, input_scale)
    lower_batchnorm(graph_module)
    lower_implicit(graph_module)
    kinds = {"batchnorm", "input"} | ({"implicit"} if fold_implicit else set())
    sites = fold_affine(graph_module, kinds=kinds)
    if fold_implicit:
        sites += fold_concat(graph_module)
    sites += fold_reorg(graph_module)
    graph_module.recompile()
    kept = sum(site.kept is not None for site in sites)
    seconds = time.perf_counter() - started
    logger.info("fold: %d sites, %d kept, %.2f s", len(sites), kept, seconds)
    return graph_module, sites


def _scale_input(graph_module: fx.GraphModule, factor: float) -> None:
    """Multiply the image by a factor before anything reads it."""
    image = next(node for node in graph_module.graph.nodes if node.op == "placeholder")
    scale = torch.full((3,), factor, dtype=torch.float64)
    affine = Affine(scale, None, (Origin("images", "input"),))
    users = list(image.users)
    node = insert_module(graph_module, affine, image, before=image.next)
    for user in users:
        user.replace_input_with(image, node)
