"""Weights of a checkpoint in a network, and drawn ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.nn.networks import Wired, batchnorm, conv, vector
from yolor_deploy.core.errors import CheckpointError
from yolor_deploy.nn.implicit import ImplicitVector
from yolor_deploy.nn.layers import HaarTransform, Sum
from yolor_deploy.nn.loading import (
    expected_shapes,
    load_tensors,
    prior_head_bias,
    random_tensors,
)

SHAPES = {
    "stem.weight": (4, 12, 3, 3),
    "stem.bias": (4,),
    "norm.weight": (4,),
    "norm.bias": (4,),
    "norm.running_mean": (4,),
    "norm.running_var": (4,),
    "z.implicit": (1, 4, 1, 1),
}


def _network() -> Wired:
    return Wired(
        lambda n, x: [n.shift(n.norm(n.stem(n.haar(x))), n.z())],
        haar=HaarTransform(3),
        stem=conv(12, kernel=3),
        norm=batchnorm(),
        shift=Sum(),
        z=vector(),
    )


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return random_tensors(network, seed=7)


def test_expected_shapes_lists_what_a_file_holds() -> None:
    """Counters and the fixed filters of the wavelet transform are not asked for."""
    shapes = expected_shapes(_network())

    assert shapes == SHAPES


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_load_tensors_gives_the_same_network(device: str) -> None:
    """Two networks with the same weights give the same maps, wherever they were built."""
    torch.manual_seed(0)
    first = _network()
    with torch.device(device):
        second = Wired(
            first.wiring,
            haar=HaarTransform(3),
            stem=conv(12, kernel=3),
            norm=nn.BatchNorm2d(4, eps=1e-3),
            shift=Sum(),
            z=ImplicitVector(4),
        )
    tensors = _tensors(first)
    x = torch.randn(1, 3, 8, 8)

    load_tensors(first, tensors, where="a.pt")
    load_tensors(second, tensors, where="a.pt")

    assert torch.equal(first(x)[0], second(x)[0])
    assert not second.training
    assert not any(p.requires_grad for p in second.parameters())
    assert not any(t.is_meta for t in second.state_dict().values())


def test_load_tensors_makes_float32() -> None:
    """Half precision becomes float32 of the same value, and float32 is taken without a copy."""
    network = _network()
    tensors = _tensors(network)
    tensors["stem.weight"] = tensors["stem.weight"].half()

    load_tensors(network, tensors, where="a.pt")

    loaded = network.state_dict()
    assert {loaded[name].dtype for name in SHAPES} == {torch.float32}
    assert torch.equal(loaded["stem.weight"], tensors["stem.weight"].float())
    assert loaded["stem.bias"].data_ptr() == tensors["stem.bias"].data_ptr()


def test_load_tensors_ignores_counters() -> None:
    """How many batches were seen in training may be in the file, or not."""
    network = _network()
    tensors = {**_tensors(network), "norm.num_batches_tracked": torch.tensor(9000)}

    load_tensors(network, tensors, where="a.pt")

    assert int(network.state_dict()["norm.num_batches_tracked"]) == 0


def _missing(tensors: dict[str, Tensor]) -> None:
    del tensors["norm.running_var"]


def _extra(tensors: dict[str, Tensor]) -> None:
    tensors["stem.mask"] = torch.zeros(2, 3)


def _misshapen(tensors: dict[str, Tensor]) -> None:
    tensors["z.implicit"] = torch.zeros(1, 5, 1, 1)


def _transposed(tensors: dict[str, Tensor]) -> None:
    tensors["stem.weight"] = tensors["stem.weight"].transpose(0, 1)


def _fixed_filter(tensors: dict[str, Tensor]) -> None:
    tensors["haar.weight"] = torch.zeros(12, 3, 2, 2)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(_missing, "tensor norm.running_var [4] is missing", id="missing"),
        pytest.param(_extra, "stem.mask [2, 3] belongs to no layer of the model", id="extra"),
        pytest.param(
            _misshapen, "z.implicit has shape [1, 5, 1, 1], expected [1, 4, 1, 1]", id="shape"
        ),
        pytest.param(
            _transposed,
            "stem.weight has shape [12, 4, 3, 3], expected [4, 12, 3, 3]",
            id="transposed",
        ),
        pytest.param(_fixed_filter, "haar.weight [12, 3, 2, 2] belongs to no layer", id="fixed"),
    ],
)
def test_load_tensors_refuses(damage: Callable[[dict[str, Tensor]], None], message: str) -> None:
    """What does not fit is named with its shape and its file, and the network stays as it was."""
    torch.manual_seed(0)
    network = _network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    tensors = _tensors(network)
    damage(tensors)

    with pytest.raises(CheckpointError) as error:
        load_tensors(network, tensors, where="a.pt", hint="look again")

    assert message in error.value.problem
    assert (error.value.where, error.value.hint) == ("a.pt", "look again")
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_random_tensors_follow_their_seed() -> None:
    """The same seed gives the same weights on every call, another seed gives others."""
    first, again, other = (random_tensors(_network(), seed=seed) for seed in (3, 3, 4))

    assert first.keys() == other.keys() == SHAPES.keys()
    assert {name: tuple(t.shape) for name, t in first.items()} == SHAPES
    assert all(torch.equal(first[name], again[name]) for name in SHAPES)
    assert all(not torch.equal(first[name], other[name]) for name in SHAPES)


def test_random_tensors_need_no_memory_for_the_network() -> None:
    """A network on the meta device gets the values that a real one gets."""
    with torch.device("meta"):
        empty = Wired(lambda _, x: [x], body=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4))
    real = Wired(lambda _, x: [x], body=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4))

    drawn, expected = random_tensors(empty), random_tensors(real)

    assert all(torch.equal(drawn[name], value) for name, value in expected.items())


def test_random_tensors_have_the_documented_spread() -> None:
    """Each kind of weight is drawn around its centre with its deviation."""
    network = Wired(
        lambda _, x: [x],
        conv=nn.Conv2d(100, 200, 3),
        norm=nn.BatchNorm2d(20_000),
        add=ImplicitVector(20_000),
        mul=ImplicitVector(20_000, mean=1.0),
    )

    drawn = random_tensors(network, seed=0)

    expected = {
        "conv.weight": (0.0, 1.5 / math.sqrt(900)),
        "norm.weight": (1.0, 0.1),
        "norm.bias": (0.0, 0.1),
        "norm.running_mean": (0.0, 0.1),
        "add.implicit": (0.0, 0.02),
        "mul.implicit": (1.0, 0.02),
    }
    for name, (mean, deviation) in expected.items():
        assert float(drawn[name].mean()) == pytest.approx(mean, abs=deviation / 20), name
        assert float(drawn[name].std()) == pytest.approx(deviation, rel=0.05), name
    assert float(drawn["norm.running_var"].min()) >= 1.0


def test_random_tensors_are_smaller_at_the_end_of_a_residual_branch() -> None:
    """A weight that is named as such is a fifth of what it would be, and no other changes."""
    plain = random_tensors(_network(), seed=1)

    drawn = random_tensors(_network(), seed=1, residual={"norm.weight"})

    changed = {name for name in plain if not torch.equal(plain[name], drawn[name])}
    assert changed == {"norm.weight"}
    torch.testing.assert_close(drawn["norm.weight"], plain["norm.weight"] * 0.2)


def test_prior_head_bias_expects_eight_objects() -> None:
    """The objectness of all cells together is eight objects in an image of 640 pixels."""
    bias = prior_head_bias(3, 80, 16).reshape(3, 85)

    cells = (640 // 16) ** 2
    assert torch.equal(bias[:, :4], torch.zeros(3, 4))
    assert float(bias[:, 4].exp().sum() * cells / 3) == pytest.approx(8, rel=1e-5)
    assert torch.equal(bias[:, 5:], bias[:1, 5:6].expand(3, 80))
    assert float(bias[0, 5].exp()) == pytest.approx(0.6 / 79.01, rel=1e-5)
