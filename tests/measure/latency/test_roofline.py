"""The limit of a model, what it loses and where; and whose time an entry of a profile is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.measure.latency.series import clean_subject
from yolor_deploy.core.runtime import LayerTime, Peak
from yolor_deploy.measure.latency.record import LayerCost, Subject
from yolor_deploy.measure.latency.roofline import join_profile, roofline

PEAK = Peak(gflops=100.0, gbytes_per_s=10.0, precision="fp32", note="made up")
"""1e8 operations, or 1e7 bytes, are 1 ms."""

COMPUTE = LayerCost("conv", "Conv", 2 * 10**8, 10**7, 5.0)  # 2 ms, bound by arithmetic
MEMORY = LayerCost("pool", "MaxPool", 0, 4 * 10**7, 4.5)  # 4 ms, bound by traffic
UNSEEN = LayerCost("cat", "Concat", 0, 10**7, None)  # 1 ms


def with_layers(*layers: LayerCost, profile: tuple[LayerTime, ...] = ()) -> Subject:
    """Return a subject that has these layers and the peak."""
    return clean_subject(layers=layers, profile=profile, peak=PEAK)


def costs(*names: str) -> list[LayerCost]:
    """Return layers that are all the same but for their names."""
    return [LayerCost(name, "Conv", 100, 100, None) for name in names]


def test_limit_is_the_longer_of_arithmetic_and_traffic() -> None:
    """Each layer's limit is its own, and the model's is their sum."""
    found = roofline(with_layers(COMPUTE, MEMORY, UNSEEN), measured_ms=14.0)

    assert found is not None
    assert {(layer.name, layer.limit_ms, layer.bound) for layer in found.layers} == {
        ("conv", 2.0, "compute"),
        ("pool", 4.0, "memory"),
        ("cat", 1.0, "memory"),
    }
    assert found.limit_ms == pytest.approx(7.0)
    assert found.times_from_limit == pytest.approx(2.0)


def test_totals_are_those_of_the_layers() -> None:
    """Operations, bytes and the rate that was reached."""
    found = roofline(with_layers(COMPUTE, MEMORY), measured_ms=10.0)

    assert found is not None
    assert (found.gflop, found.gbytes) == pytest.approx((0.2, 0.05))
    assert found.gflops == pytest.approx(20.0)
    assert (found.peak_gflops, found.peak_gbytes_per_s) == (100.0, 10.0)


def test_layers_that_lose_most_come_first() -> None:
    """By measured time less limit; a layer that was not seen comes last and loses nothing known."""
    found = roofline(with_layers(UNSEEN, MEMORY, COMPUTE), measured_ms=14.0)

    assert found is not None
    assert [(layer.name, layer.excess_ms) for layer in found.layers] == [
        ("conv", 3.0),
        ("pool", 0.5),
        ("cat", None),
    ]


def test_layer_faster_than_its_limit_loses_nothing() -> None:
    """A cache may be faster than memory: that is no gain."""
    found = roofline(with_layers(replace(MEMORY, ms=3.0)), measured_ms=3.0)

    assert found is not None
    assert found.layers[0].excess_ms == 0.0


def test_matched_is_the_share_of_the_profile_that_layers_have() -> None:
    """Without a profile there is none."""
    profile = (LayerTime("conv", 5.0), LayerTime("reorder", 1.25))

    with_profile = roofline(with_layers(COMPUTE, profile=profile), measured_ms=6.0)
    without = roofline(with_layers(replace(COMPUTE, ms=None)), measured_ms=6.0)

    assert with_profile is not None
    assert with_profile.matched == pytest.approx(0.8)
    assert without is not None
    assert without.matched is None


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(replace(with_layers(COMPUTE), layers=None), id="not-counted"),
        pytest.param(with_layers(), id="no-layers"),
        pytest.param(replace(with_layers(COMPUTE), peak=None), id="no-peak"),
        pytest.param(replace(with_layers(COMPUTE), peak=replace(PEAK, gflops=0.0)), id="peak-0"),
        pytest.param(with_layers(LayerCost("cat", "Concat", 0, 0, 1.0)), id="nothing-to-do"),
    ],
)
def test_without_costs_or_peak_there_is_no_limit(subject: Subject) -> None:
    """A limit that is not known is None, not zero."""
    assert roofline(subject, measured_ms=1.0) is None


def test_entries_go_to_the_node_of_their_name() -> None:
    """Order and costs stay; two entries of one node are added; a node without one has no time."""
    profile = [LayerTime("b", 2.0), LayerTime("a", 1.0), LayerTime("a", 0.5)]

    joined, matched = join_profile(costs("a", "b", "c"), profile)

    assert [(cost.name, cost.ms) for cost in joined] == [("a", 1.5), ("b", 2.0), ("c", None)]
    assert joined[0].flops == 100
    assert matched == pytest.approx(1.0)


def test_entry_of_no_node_lowers_the_match() -> None:
    """What a runtime inserts on its own is part of the profile and of no node."""
    profile = [LayerTime("a", 3.0), LayerTime("Reformat_7", 1.0)]

    joined, matched = join_profile(costs("a"), profile)

    assert joined[0].ms == 3.0
    assert matched == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("entry", "nodes"),
    [
        pytest.param("a + b", "ab", id="joined"),
        pytest.param("a || c", "ac", id="side-by-side"),
        pytest.param("a + PWN(PWN(b), c)", "abc", id="pointwise"),
        pytest.param("PWN(PWN(b.sigmoid), b)", "b", id="name-unknown-in-it"),
        pytest.param("{ForeignNode[a...c]}", "abc", id="range"),
        pytest.param("{ForeignNode[b.weight...c]}", "c", id="range-of-one-known-end"),
        pytest.param("b/Fusion/", "b", id="part"),
        pytest.param("Reformatting CopyNode for Input Tensor 0 to a + b", "ab", id="copy"),
        pytest.param("ab", "", id="other"),
        pytest.param("", "", id="empty"),
    ],
)
def test_names_of_an_entry_are_taken_apart(entry: str, nodes: str) -> None:
    """An entry's time is that of all the nodes that it names, in equal shares if they are equal."""
    joined, _ = join_profile(costs("a", "b", "c"), [LayerTime(entry, 6.0)])

    share = 6.0 / max(1, len(nodes))
    found = {cost.name: cost.ms for cost in joined if cost.ms is not None}
    assert found == pytest.approx(dict.fromkeys(nodes, share))


def test_fused_nodes_share_their_time_by_arithmetic() -> None:
    """A convolution has nearly all of what it and its activation take."""
    layers = [LayerCost("conv", "Conv", 990, 8, None), LayerCost("act", "Relu", 10, 800, None)]

    joined, _ = join_profile(layers, [LayerTime("conv + act", 2.0)])

    assert [cost.ms for cost in joined] == pytest.approx([1.98, 0.02])


def test_fused_nodes_without_arithmetic_share_their_time_by_traffic() -> None:
    """What only moves values is weighed by how much it moves."""
    layers = [LayerCost("pool", "MaxPool", 0, 30, None), LayerCost("up", "Resize", 0, 10, None)]

    joined, _ = join_profile(layers, [LayerTime("pool + up", 2.0)])

    assert [cost.ms for cost in joined] == pytest.approx([1.5, 0.5])


def test_name_with_signs_of_fusion_in_it_is_found_whole() -> None:
    """A node may have any name."""
    joined, _ = join_profile(costs("f(a, b)", "a"), [LayerTime("f(a, b)", 1.0)])

    assert [cost.ms for cost in joined] == [1.0, None]


def test_empty_profile_matches_nothing() -> None:
    """There is no share of nothing."""
    joined, matched = join_profile(costs("a"), [])

    assert joined[0].ms is None
    assert matched is None


HEAD = LayerCost("/nms", "YolorNMS", 10**8, 10**7, 8.0)  # 1 ms


@pytest.mark.parametrize(
    ("with_head", "limit_ms", "gflop", "gbytes", "names"),
    [
        pytest.param(True, 3.0, 0.3, 0.02, {"conv", "/nms"}, id="in-the-model"),
        pytest.param(False, 2.0, 0.2, 0.01, {"conv"}, id="a-stage-of-its-own"),
    ],
)
def test_head_is_in_the_limit_if_it_is_in_the_time(
    with_head: bool, limit_ms: float, gflop: float, gbytes: float, names: set[str]
) -> None:
    """Its node is in no figure of a time that it is not in; the profile has it either way."""
    subject = with_layers(COMPUTE, HEAD, profile=(LayerTime("conv", 5.0), LayerTime("/nms", 8.0)))

    found = roofline(subject, measured_ms=6.0, with_head=with_head)

    assert found is not None
    assert (found.limit_ms, found.gflop, found.gbytes) == pytest.approx((limit_ms, gflop, gbytes))
    assert found.times_from_limit == pytest.approx(6.0 / limit_ms)
    assert found.gflops == pytest.approx(gflop / 6.0 * 1e3)
    assert {layer.name for layer in found.layers} == names
    assert found.matched == pytest.approx(1.0)


def test_model_of_nothing_but_its_head_has_no_limit() -> None:
    """Without it there is nothing to compare."""
    assert roofline(with_layers(HEAD), measured_ms=6.0, with_head=False) is None
