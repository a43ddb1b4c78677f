"""Give a network the weights of a checkpoint, or freshly drawn ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn

from yolor_deploy.core.errors import CheckpointError
from yolor_deploy.nn.implicit import ImplicitVector
from yolor_deploy.nn.layers import HaarTransform

_COUNTERS = ("num_batches_tracked",)
_RESIDUAL_GAIN = 0.2
_HINT = "the file and the description of its model do not belong together"


def expected_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every weight that a network takes from a checkpoint, in order."""
    fixed = {
        f"{name}.{leaf}"
        for name, module in network.named_modules()
        if isinstance(module, HaarTransform)
        for leaf in ("weight", "bias")
    }
    return {
        name: tuple(value.shape)
        for name, value in network.state_dict().items()
        if name not in fixed and not name.endswith(_COUNTERS)
    }


def load_tensors(
    network: nn.Module, tensors: Mapping[str, Tensor], *, where: str, hint: str = _HINT
) -> None:
    """Replace the weights of a network by those of a checkpoint, as float32.

    The network may have been built on the meta device. Tensors are taken over without a copy
    where they are float32 already.

    Args:
        network: Changed in place; unchanged if this raises.
        tensors: By the names of ``network.state_dict()``; others must not be there.
        where: The checkpoint, for messages.
        hint: What to do if they do not fit.

    Raises:
        CheckpointError: A tensor is missing, left over, or of another shape. The first is named.
    """
    expected = expected_shapes(network)
    found = {name: t for name, t in tensors.items() if not name.endswith(_COUNTERS)}
    problem = _first_difference(expected, found)
    if problem is not None:
        raise CheckpointError(problem, where=where, hint=hint)
    # A tensor of the file may be read-only memory: autograd is never asked to change it.
    state = {name: found[name].detach().float() for name in expected}
    network.load_state_dict(state, strict=False, assign=True)  # all but fixed values and counters
    for name, buffer in network.named_buffers():
        if name.endswith(_COUNTERS) and buffer.is_meta:
            owner = network.get_submodule(name.rpartition(".")[0])
            owner.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))
    network.requires_grad_(requires_grad=False)
    network.eval()


def _first_difference(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor]
) -> str | None:
    for name, shape in expected.items():
        if name not in found:
            return f"tensor {name} {list(shape)} is missing"
        if tuple(found[name].shape) != shape:
            return f"{name} has shape {list(found[name].shape)}, expected {list(shape)}"
    extra = next((name for name in found if name not in expected), None)
    if extra is None:
        return None
    return f"tensor {extra} {list(found[extra].shape)} belongs to no layer of the model"


def random_tensors(
    network: nn.Module, *, seed: int = 0, residual: Collection[str] = ()
) -> dict[str, Tensor]:
    """Draw weights for a network, the same for the same seed.

    Convolutions keep the variance of their input (normal, 1 / sqrt(fan in), with a gain for the
    activation), batch normalisation is near the identity with drawn statistics, implicit vectors
    are drawn as the authors initialise them: deviation 0.02 around 0 or 1.

    Args:
        network: Read for names and shapes only; may be on the meta device.
        seed: Of the generator.
        residual: Names of the weights that end a residual branch: drawn smaller, or the sums of a
            deep network grow beyond what float32 resolves.

    Returns:
        float32 tensors by name.
    """
    generator = torch.Generator().manual_seed(seed)
    means = {
        f"{name}.implicit": module.mean
        for name, module in network.named_modules()
        if isinstance(module, ImplicitVector)
    }
    centres = {
        f"{name}.{leaf}": 1.0 if leaf == "weight" else 0.0
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for leaf in ("weight", "bias", "running_mean")
    }
    drawn = {}
    for name, shape in expected_shapes(network).items():
        noise = torch.randn(shape, generator=generator)
        if name in means:
            drawn[name] = noise.mul_(0.02).add_(means[name])
        elif len(shape) > 1:
            drawn[name] = noise.mul_(1.5 / math.sqrt(math.prod(shape[1:])))
        elif name.endswith("running_var"):
            drawn[name] = noise.mul_(0.1).abs_().add_(1.0)
        else:
            drawn[name] = noise.mul_(0.1).add_(centres.get(name, 0.0))
        if name in residual:
            drawn[name] *= _RESIDUAL_GAIN
    return drawn


def prior_head_bias(num_anchors: int, num_classes: int, stride: int) -> Tensor:
    """Return a head bias that expects few objects, as the authors' training starts with.

    Eight objects in 640 x 640 pixels, classes equally likely: a network with drawn weights then
    fires about as rarely as a trained one, instead of everywhere.

    Returns:
        float32 [num_anchors * (5 + num_classes)].

    Source: bias initialisation of the authors' model code.
    """
    bias = torch.zeros(num_anchors, 5 + num_classes)
    bias[:, 4] = math.log(8 / (640 / stride) ** 2)
    bias[:, 5:] = math.log(0.6 / (num_classes - 0.99))
    return bias.flatten()
