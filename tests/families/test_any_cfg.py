"""Whatever cfg is accepted: network, folded network and ONNX agree, in the shapes of the spec."""

from __future__ import annotations

import copy
from dataclasses import replace

import onnx_ir as ir
import onnxruntime as ort
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.families.small import ANCHORS, cfg_of, plan_of
from yolor_deploy.checkpoint import Checkpoint
from yolor_deploy.core.errors import CheckpointError
from yolor_deploy.core.spec import BatchRange, InputSpec
from yolor_deploy.families import darknet
from yolor_deploy.families.darknet.network import network_from_plan
from yolor_deploy.graph.from_module import onnx_from_module
from yolor_deploy.nn.fold import fold
from yolor_deploy.nn.loading import random_tensors

FIRST: tuple[str, ...] = (
    "net width=64 height=64",
    "convolutional filters=8 size=3 stride=2 pad=1 activation=silu batch_normalize=1",
    "implicit_add filters=8",
    "implicit_mul filters=8",
    "implicit_cat_2d filters=4 atoms=2",
    "route layers=0",
)
LAST = (
    "convolutional filters=16 activation=linear",
    "silence",
    f"yolo mask=0,1 anchors={ANCHORS} classes=3",
)
ACTIVATIONS = st.sampled_from(["linear", "leaky", "silu", "mish", "logistic"])
EARLIER = st.sampled_from([0, -1, -2, -3])
SECTIONS = st.one_of(
    st.builds(
        "convolutional filters={} size={} stride={} pad=1 activation={} {} {}".format,
        st.sampled_from([4, 8]),
        st.sampled_from([1, 3]),
        st.sampled_from([1, 1, 2]),
        ACTIVATIONS,
        st.sampled_from(["groups=1", "groups=2"]),
        st.sampled_from(["batch_normalize=0", "batch_normalize=1"]),
    ),
    st.builds("route layers={},{}".format, EARLIER, EARLIER),
    st.builds("shortcut from={} {}".format, EARLIER, st.sampled_from(["", "weights_type=x"])),
    st.builds("sam from={}".format, EARLIER),
    st.builds(
        "{}_channels{} from={}".format,
        st.sampled_from(["shift", "control", "select", "alternate"]),
        st.sampled_from(["", "_2d"]),
        st.sampled_from([1, 2, 3]),
    ),
    st.sampled_from(
        ["maxpool size=2 stride=2", "maxpool size=2 stride=1", "maxpool size=5 stride=1"]
    ),
    st.sampled_from(["upsample stride=2", "reorg", "silence"]),
)
# Float32 resolves 6e-8; a dozen layers of sums and products lose a few hundred times that.
CLOSE = 1e-4


def accepted(drawn: list[str]) -> tuple[str, ...]:
    """Return a cfg of those sections that fit behind one another."""
    sections = FIRST
    for section in drawn:
        try:
            plan_of(*sections, section, *LAST)
        except CheckpointError:
            continue
        sections = (*sections, section)
    return (*sections, *LAST)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(SECTIONS, min_size=2, max_size=12), st.booleans())
def test_accepted_cfg_means_the_same_everywhere(drawn: list[str], fold_implicit: bool) -> None:
    """Raw maps have the shapes of the spec; folding keeps them in float64, ONNX in float32."""
    cfg = cfg_of(*accepted(drawn))
    tensors = random_tensors(network_from_plan(plan_of(*accepted(drawn))), seed=1)
    for name, value in tensors.items():
        if name.endswith((".implicit", ".w")):
            value.mul_(20)
    checkpoint = Checkpoint(name="x.pt", sha256=None, container="zip", tensors=tensors, cfg=cfg)
    spec = darknet.spec(checkpoint)
    network = darknet.module(checkpoint).double()
    height, width = 2 * spec.max_stride, 3 * spec.max_stride
    image = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(2)).double()
    with torch.no_grad():
        (expected,) = network(image)
    largest = expected.abs().max() + 1

    folded, _ = fold(copy.deepcopy(network), fold_implicit=fold_implicit)
    with torch.no_grad():
        (kept,) = folded(image)
    size = InputSpec(height, width, BatchRange(1, 2, 4))
    model = onnx_from_module(folded, replace(spec, input=size))
    session = ort.InferenceSession(ir.to_proto(model).SerializeToString())
    (found,) = session.run(None, {"images": image.float().numpy()})

    assert expected.shape == (
        2,
        16,
        height // spec.levels[0].stride,
        width // spec.levels[0].stride,
    )
    assert (kept - expected).abs().max() < 1e-12 * largest
    assert (torch.from_numpy(found) - expected).abs().max() < CLOSE * largest
