"""The speed of light of a model on this machine, and which of its layers are furthest from it.

A layer takes at least as long as its arithmetic at the machine's best rate, and at least as long as
its traffic at the machine's best rate; the longer of the two is its limit.

Source: S. Williams, A. Waterman, D. Patterson, "Roofline", CACM 52(4), 2009.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from yolor_deploy.core.runtime import LayerTime, Peak
from yolor_deploy.measure.latency.record import LayerCost, Subject
from yolor_deploy.measure.latency.summary import LayerLimit, Roofline

_REFORMAT = re.compile(r"^Reformatting CopyNode for \w+ Tensor \d+ (?:to|of) ")
_JOINTS = re.compile(r" \+ | \|\| |[,()\[\]{}\s]+|\x1e")
_RANGE = "..."


HEAD_OP = "YolorNMS"
"""Operator of the post-processing, which is one node of a model that detects."""


def roofline(subject: Subject, *, measured_ms: float, with_head: bool = True) -> Roofline | None:
    """Compare the time of a model with its limit.

    Args:
        subject: Its layers, their times and the peaks are used.
        measured_ms: Of the model, one batch, milliseconds.
        with_head: Whether the post-processing is in ``measured_ms``. If it is not, its node is in
            no figure but ``matched``, which is of the whole profile.

    Returns:
        None if layers were not counted, cost nothing, or the peaks are not known.
    """
    peak = subject.peak
    if not subject.layers or peak is None or min(peak.gflops, peak.gbytes_per_s) <= 0:
        return None
    layers = [layer for layer in subject.layers if with_head or layer.op != HEAD_OP]
    limits = [_limit_of(layer, peak) for layer in layers]
    limit_ms = sum(limit.limit_ms for limit in limits)
    if limit_ms <= 0:
        return None
    gflop = sum(layer.flops for layer in layers) / 1e9
    return Roofline(
        gflop=gflop,
        gbytes=sum(layer.num_bytes for layer in layers) / 1e9,
        limit_ms=limit_ms,
        measured_ms=measured_ms,
        times_from_limit=measured_ms / limit_ms,
        gflops=gflop / measured_ms * 1e3,
        peak_gflops=peak.gflops,
        peak_gbytes_per_s=peak.gbytes_per_s,
        matched=_matched(subject.layers, subject.profile),
        layers=tuple(sorted(limits, key=_loss, reverse=True)),
    )


def join_profile(
    costs: Sequence[LayerCost], profile: Sequence[LayerTime]
) -> tuple[tuple[LayerCost, ...], float | None]:
    """Find the layers of a graph in a runtime's profile, by name.

    An entry may name several nodes that were fused into one, in the ways of TensorRT: ``a + b``,
    ``PWN(a, b)``, ``a || b``, ``{ForeignNode[a...b]}`` for all from one to another; or a part of a
    node, as ``node/part``; or a copy for a node. Its time is shared by their arithmetic, so that a
    convolution has nearly all of it and its activation what is left; by their traffic where they
    have no arithmetic, and equally where they have neither.

    Args:
        costs: Nodes in the order of the graph; their ``ms`` is not read.
        profile: Of one runtime, milliseconds of a run.

    Returns:
        The costs in their order with ``ms``, None where no entry names the node; and the share of
        the profile's time whose entries name one, None for a profile without time.
    """
    position = {cost.name: i for i, cost in enumerate(costs)}
    times: dict[int, float] = {}
    for entry in profile:
        found = _named_in(entry.name, position)
        for i, share in zip(found, _shares([costs[i] for i in found]), strict=True):
            times[i] = times.get(i, 0.0) + entry.ms * share
    joined = tuple(replace(cost, ms=times.get(i)) for i, cost in enumerate(costs))
    return joined, _matched(joined, profile)


def _limit_of(layer: LayerCost, peak: Peak) -> LayerLimit:
    compute_ms = layer.flops / peak.gflops / 1e6
    memory_ms = layer.num_bytes / peak.gbytes_per_s / 1e6
    limit_ms = max(compute_ms, memory_ms)
    return LayerLimit(
        name=layer.name,
        op=layer.op,
        limit_ms=limit_ms,
        bound="compute" if compute_ms >= memory_ms else "memory",
        ms=layer.ms,
        excess_ms=None if layer.ms is None else max(0.0, layer.ms - limit_ms),
    )


def _loss(limit: LayerLimit) -> tuple[bool, float, float]:
    """Order layers: what they lose, and those that were not seen behind, by their limits."""
    return (limit.excess_ms is not None, limit.excess_ms or 0.0, limit.limit_ms)


def _shares(fused: Sequence[LayerCost]) -> list[float]:
    """Return which part of a common time each has; they sum to 1 if there are any."""
    for weights in ([cost.flops for cost in fused], [cost.num_bytes for cost in fused]):
        if sum(weights) > 0:
            return [weight / sum(weights) for weight in weights]
    return [1 / len(fused) for _ in fused]


def _matched(layers: Sequence[LayerCost], profile: Sequence[LayerTime]) -> float | None:
    total = sum(entry.ms for entry in profile)
    if total <= 0:
        return None
    return min(1.0, sum(layer.ms or 0.0 for layer in layers) / total)


def _named_in(entry: str, position: dict[str, int]) -> list[int]:
    """Return the places of all nodes that an entry names, each once."""
    name = _REFORMAT.sub("", entry)
    if name in position:
        return [position[name]]
    found: dict[int, None] = {}
    for word in _JOINTS.split(name):
        first, is_range, last = word.partition(_RANGE)
        ends = [i for i in (_place_of(first, position), _place_of(last, position)) if i is not None]
        found |= dict.fromkeys(range(min(ends), max(ends) + 1) if is_range and ends else ends)
    return list(found)


def _place_of(word: str, position: dict[str, int]) -> int | None:
    """Return the place of the node that a word is, or is a part of."""
    while word and word not in position:
        word = word.rpartition("/")[0]
    return position.get(word) if word else None
