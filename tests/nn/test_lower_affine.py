"""What is rewritten as a scale and a shift, and what cannot be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.nn.networks import EXACT, WIDTH, Wired, batchnorm, conv, count, images, mixed, vector
from tests.nn.networks import relative_difference as difference_of
from yolor_deploy.core.errors import PassError
from yolor_deploy.nn.affine import Affine
from yolor_deploy.nn.graph_edit import module_of
from yolor_deploy.nn.layers import Gate, PrependChannels, Product, Sum
from yolor_deploy.nn.lower_affine import lower_batchnorm, lower_implicit, remove_identities
from yolor_deploy.nn.trace import trace


def _seeded(build: Callable[[], Wired]) -> Wired:
    torch.manual_seed(0)
    return build().double().eval()


def _maps(network: nn.Module) -> list[Tensor]:
    with torch.no_grad():
        maps: list[Tensor] = network(images())
    return maps


def test_remove_identities_takes_out_what_does_nothing() -> None:
    """Identities and dropouts are gone, wherever they stand, and the numbers are the same."""
    network = _seeded(
        lambda: Wired(
            lambda n, x: [n.last(n.drop(n.stem(n.first(x))))],
            first=nn.Identity(),
            stem=conv(3),
            drop=nn.Dropout(0.9),
            last=nn.Identity(),
        )
    )
    expected = _maps(network)
    graph_module = trace(network)

    taken = remove_identities(graph_module)

    assert taken == 3
    assert [node.target for node in graph_module.graph.nodes if node.op == "call_module"] == [
        "stem"
    ]
    graph_module.recompile()
    assert difference_of(graph_module, images(), expected) == 0


def test_lower_batchnorm_is_the_normalisation_of_inference() -> None:
    """Each normalisation becomes a scale and a shift of its statistics, named after its layer."""
    network = _seeded(
        lambda: Wired(
            lambda n, x: [n.second(n.stem(n.first(x)))],
            first=batchnorm(3),
            stem=conv(3),
            second=batchnorm(),
        )
    )
    expected = _maps(network)
    graph_module = trace(network)

    lowered = lower_batchnorm(graph_module)

    modules = [module_of(node) for node in graph_module.graph.nodes]
    origins = [origin for m in modules if isinstance(m, Affine) for origin in m.origins]
    assert lowered == 2
    assert [(origin.layer, origin.kind) for origin in origins] == [
        ("first", "batchnorm"),
        ("second", "batchnorm"),
    ]
    graph_module.recompile()
    assert difference_of(graph_module, images(), expected) < EXACT


def test_lower_implicit_counts_sums_and_products() -> None:
    """A sum, a product and a gate are rewritten; a constant in front of a map stays one operand."""
    network = _seeded(
        lambda: Wired(
            lambda n, x: [n.front(n.gate(n.scale(n.shift(n.stem(x), n.a()), n.m()), n.a()), n.a())],
            stem=conv(3),
            shift=Sum(),
            scale=Product(),
            gate=Gate(),
            front=PrependChannels(),
            a=mixed(),
            m=vector(1),
        )
    )
    expected = _maps(network)
    graph_module = trace(network)

    lowered = lower_implicit(graph_module)

    assert lowered == 3
    assert count(graph_module) == 3
    assert count(graph_module, PrependChannels) == 1
    assert [n.op for n in graph_module.graph.nodes].count("get_attr") == 1
    graph_module.recompile()
    assert difference_of(graph_module, images(), expected) < EXACT


@pytest.mark.parametrize(
    ("wiring", "problem"),
    [
        pytest.param(
            lambda n, x: [torch.cat([n.z(), n.pool(n.stem(x))], 1)],
            "expected a sum or a product",
            id="joined",
        ),
        pytest.param(lambda n, x: [n.stem(x) - n.z()], "expected a sum or a product", id="minus"),
        pytest.param(
            lambda n, x: [n.stem(x) + n.z().reshape(-1)], r"its shape is \[4\]", id="per-column"
        ),
        pytest.param(
            lambda n, x: [n.stem(x) * n.z().reshape(1, 1, 4, 1)],
            r"its shape is \[1, 1, 4, 1\], expected \[1, 4, 1, 1\]",
            id="per-row",
        ),
    ],
)
def test_lower_implicit_refuses(
    wiring: Callable[[Wired, Tensor], list[Tensor]], problem: str
) -> None:
    """A constant in any other place is refused rather than taken for a vector of channels."""
    network = _seeded(lambda: Wired(wiring, stem=conv(3), z=mixed(), pool=nn.AdaptiveMaxPool2d(1)))

    with pytest.raises(PassError, match=problem) as error:
        lower_implicit(trace(network))

    assert error.value.hint
    assert WIDTH == 4  # the shapes above
