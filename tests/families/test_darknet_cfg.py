from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.families.small import ANCHORS, SMALL_CFG, cfg_of, changed, plan_of, where_of
from yolor_deploy.checkpoint import CfgText
from yolor_deploy.core.errors import CheckpointError
from yolor_deploy.families.darknet.cfg import parse_cfg
from yolor_deploy.families.darknet.plan import Plan, plan_from_sections, require_reasonable

YOLO = f"yolo mask=0,1 anchors={ANCHORS} classes=3"
HEAD = ("route layers=0", "convolutional filters=16", YOLO)
NET = "net width=64 height=32"
CONV = "convolutional filters=8 size=3 stride=2 pad=1"
FUZZED_LINES = cfg_of(*SMALL_CFG).text.splitlines()
FUZZED_WORDS = st.sampled_from(
    [
        *FUZZED_LINES,
        *("layers=0", "layers=-1,-99", "from=2", "from=-1", "filters=0", "filters=-8", "stride=0"),
        *("filters=999999999999", "size=nan", "classes=inf", "mask=7", "mask=0.5", "anchors=1"),
        *("anchors=1e400,nan", "[upsample]", "[implicit_cat_2d]", "atoms=3", "[dwt]", "[unknown]"),
        *("[]", "=", "x", "groups=3", "activation=logistic", "new_coords=1", "scale_x_y=2"),
        *("layers=", "mask=", "[net]", "[alternate_channels]", "[shortcut]", "weights_type=per_x"),
    ]
)


def plan_of_text(text: str) -> Plan:
    """Return the plan of a text."""
    return plan_from_sections(parse_cfg(CfgText("small.cfg", text)))


def test_comments_blank_lines_and_spaces_mean_nothing() -> None:
    """Comments of both signs, blank lines and spaces leave the plan equal."""
    text = cfg_of(*SMALL_CFG).text
    noisy = "# first\n\n; second\n" + text.replace("=", " = ").replace("\n", "  # note ; more\n")
    noisy = noisy.replace("[route]", " [ route ] ").replace("filters = 8", "filters = 8 ; eight")

    layers = plan_of_text(noisy).layers

    expected = plan_of(*SMALL_CFG).layers
    assert [replace(layer, section=expected[layer.index].section) for layer in layers] == [
        *expected
    ]
    assert [layer.section.options for layer in layers] == [
        layer.section.options for layer in expected
    ]


def test_windows_line_ends_are_line_ends() -> None:
    """A file with CRLF gives the same sections, at the same lines."""
    text = cfg_of(*SMALL_CFG).text

    sections = parse_cfg(CfgText("small.cfg", text.replace("\n", "\r\n")))

    assert sections == parse_cfg(CfgText("small.cfg", text))


def test_last_of_two_equal_keys_counts() -> None:
    """A key that is given twice in a section has its last value."""
    plan = plan_of(NET, f"{CONV} filters=24", *HEAD)

    assert plan.layers[0].channels == 24


def test_references_are_relative_if_negative_and_absolute_otherwise() -> None:
    """Layer 2 finds layer 0 as 0 and as -2, in the order that the section lists."""
    body = (NET, CONV, "convolutional filters=4", "route layers=-1,0,-2", *HEAD)

    plan = plan_of(*body)

    assert plan.layers[2].sources == (1, 0, 0)
    assert plan.layers[2].channels == 4 + 8 + 8


IMPLICIT = "implicit_add filters=8"


@pytest.mark.parametrize(
    ("body", "channels", "stride"),
    [
        (("convolutional filters=6 size=3 stride=2 pad=1",), 6, 4),
        (("convolutional filters=6 groups=2",), 6, 2),
        (("maxpool size=2 stride=2",), 8, 4),
        (("maxpool size=5 stride=1",), 8, 2),
        (("maxpool stride=3",), 8, 6),
        (("upsample stride=2",), 8, 1),
        (("upsample stride=4",), 8, Fraction(1, 2)),
        (("reorg",), 32, 4),
        (("silence",), 8, 2),
        (("dropout probability=.5",), 8, 2),
        (("route layers=-1",), 8, 2),
        (("silence", "route layers=0,1"), 16, 2),
        (("silence", "shortcut from=-2"), 8, 2),
        (("silence", "silence", "shortcut from=0,-2 weights_type=per_feature"), 8, 2),
        (("silence", "scale_channels from=0"), 8, 2),
        (("silence", "sam from=0"), 8, 2),
        ((IMPLICIT,), 8, 0),
        (("implicit_mul filters=5",), 5, 0),
        (("implicit_cat filters=5",), 5, 0),
        (("implicit_add_2d atoms=2 filters=5",), 10, 0),
        (("implicit_mul_2d atoms=2 filters=5",), 10, 0),
        (("implicit_cat_2d atoms=2 filters=5",), 10, 0),
        ((IMPLICIT, "route layers=0", "shift_channels from=1"), 8, 2),
        ((IMPLICIT, "route layers=0", "control_channels from=-2"), 8, 2),
        (("implicit_mul filters=1", "route layers=0", "control_channels from=1"), 8, 2),
        ((IMPLICIT, "route layers=0", "select_channels from=1"), 8, 2),
        ((IMPLICIT, "route layers=0", "alternate_channels from=1"), 16, 2),
        (("implicit_add_2d atoms=4 filters=2", "route layers=0", "shift_channels_2d from=1"), 8, 2),
        ((IMPLICIT, "route layers=0", "control_channels_2d from=1"), 8, 2),
        ((IMPLICIT, "route layers=0", "select_channels_2d from=1"), 8, 2),
        ((IMPLICIT, "route layers=0", "alternate_channels_2d from=1"), 16, 2),
    ],
)
def test_layer_is_resolved(body: tuple[str, ...], channels: int, stride: Fraction | int) -> None:
    """The layer behind a convolution of 8 channels at stride 2 has these channels and stride."""
    plan = plan_of(NET, CONV, *body, *HEAD)

    layer = plan.layers[len(body)]
    assert (layer.channels, layer.stride) == (channels, stride)


def test_heads_come_finest_first_with_their_anchors() -> None:
    """Whatever the order in the file, levels are ordered by stride and keep their own anchors."""
    coarse = "convolutional filters=16 stride=2"
    plan = plan_of(NET, CONV, coarse, f"yolo mask=2,3 anchors={ANCHORS} classes=3", *HEAD)

    assert [level.stride for level in plan.levels] == [2, 4]
    assert [level.anchors_px[0] for level in plan.levels] == [(4, 5), (20, 21)]
    assert plan.heads == (4, 1)
    assert plan.num_classes == 3


def test_head_without_mask_takes_all_anchors() -> None:
    """A [yolo] without mask= has every anchor of its list."""
    plan = plan_of(NET, "convolutional filters=32", f"yolo anchors={ANCHORS} classes=3")

    assert plan.levels[0].num_anchors == 4


@pytest.mark.parametrize(
    ("layer", "section", "problem"),
    [
        (0, "reorg3d stride=2", "[reorg3d]"),
        (0, "local_avgpool size=2 stride=2", "[local_avgpool]"),
        (0, "convolutional size=3", "no filters="),
        (0, "convolutional filters=many", "filters='many' is not a whole number"),
        (0, "convolutional filters=0", "filters=0 is not between 1 and"),
        (0, "convolutional filters=-8", "filters=-8"),
        (0, "convolutional filters=8 stride=1.5", "stride='1.5'"),
        (0, "convolutional filters=8 size=33", "size=33"),
        (0, "convolutional filters=8 stride=64", "stride=64"),
        (0, "convolutional filters=8 activation=relu", "activation='relu'"),
        (0, "convolutional filters=8 dilation=2", "dilation=2"),
        (0, "convolutional filters=8 stride_x=2", "stride_x=2"),
        (0, "convolutional filters=8 padding=3", "padding=3"),
        (0, "convolutional filters=8 groups=2", "groups=2 does not divide 3"),
        (0, "maxpool size=99", "size=99"),
        (0, "maxpool size=2 padding=2", "padding=2"),
        (0, "shortcut from=-1", "first layer"),
        (3, "route layers=3", "layers=3 refers to layer 3, expected 0 to 2"),
        (3, "route layers=40", "layers=40 refers to layer 40, expected 0 to 2"),
        (3, "route layers=-4", "layers=-4 refers to layer -1, expected 0 to 2"),
        (3, "route layers=0.5", "fraction"),
        (3, "route layers=first", "layers='first'"),
        (3, "route", "layers="),
        (3, "route layers=0 groups=2 group_id=1", "groups"),
        (7, "route layers=5", "implicit vector of layer 5"),
        (7, "route layers=0,4", "layers 0 and 4 have strides 2 and 4"),
        (7, "upsample", "implicit vector of layer 6"),
        (3, "shortcut from=0", "layer 0 has 8 channels, layer 2 has 16"),
        (3, "shortcut from=1 activation=leaky", "activation=leaky"),
        (3, "sam from=0", "layer 0 has 8 channels, layer 2 has 16"),
        (8, "shift_channels from=4", "from=4 is a [convolutional]"),
        (8, "shift_channels from=6", "layer 6 has 16 channels"),
        (5, "implicit_add_2d filters=8", "no atoms="),
        (11, "yolo mask=2,3,4 anchors=1,2,3,4,5,6,7,8 classes=3", "mask=2,3,4"),
        (11, "yolo mask=-1,0 anchors=1,2,3,4,5,6,7,8 classes=3", "mask=-1,0"),
        (11, "yolo mask=0 anchors=1,2,3 classes=3", "3 numbers"),
        (11, "yolo mask=0 anchors=1,x classes=3", "anchors='1,x'"),
        (11, "yolo mask=0 anchors=1,nan classes=3", "anchors="),
        (11, "yolo mask=0 classes=3", "anchors="),
        (11, f"yolo mask=2,3 anchors={ANCHORS}", "no classes="),
        (11, f"yolo mask=2,3 anchors={ANCHORS} classes=4", "[3, 4] classes"),
        (11, f"yolo mask=2 anchors={ANCHORS} classes=3", "reads 16 channels, expected 8"),
    ],
)
def test_wrong_layer_is_named(layer: int, section: str, problem: str) -> None:
    """A layer that cannot be built is refused with its file, index and line, quoting the value."""
    sections = changed(layer, section)

    with pytest.raises(CheckpointError) as error:
        plan_of(*sections)

    assert problem in error.value.problem
    assert error.value.where == where_of(sections, layer)
    assert error.value.hint


def test_vector_left_at_coco_size_is_named() -> None:
    """An implicit_mul of 255 values before a head of 3 classes is named, with both numbers."""
    sections = changed(6, "implicit_mul filters=255")

    with pytest.raises(CheckpointError, match="layer 6 has 255 channels") as error:
        plan_of(*sections)

    assert "16" in error.value.problem
    assert "filters=" in error.value.hint


def test_two_heads_of_one_stride_are_refused() -> None:
    """One scale has one [yolo] layer; the second one is named."""
    sections = (NET, CONV, *HEAD, *HEAD)

    with pytest.raises(CheckpointError, match="stride 2") as error:
        plan_of(*sections)

    assert error.value.where == where_of(sections, 6)


def test_head_on_an_enlarged_image_is_refused() -> None:
    """A [yolo] at stride 1/2 is refused, and the stride told."""
    with pytest.raises(CheckpointError, match="stride 1/2"):
        plan_of(NET, "upsample stride=2", "convolutional filters=16", YOLO)


def test_network_without_head_is_refused() -> None:
    """A classifier's cfg has no [yolo]; the last layer is named."""
    sections = (NET, CONV, "silence")

    with pytest.raises(CheckpointError, match=r"no \[yolo\]") as error:
        plan_of(*sections)

    assert error.value.where == where_of(sections, 1)


@pytest.mark.parametrize(
    ("activation", "options", "problem"),
    [
        ("linear", "new_coords=1 scale_x_y=2.0", "new_coords=1 behind a layer with activation=lin"),
        ("logistic", "new_coords=1 scale_x_y=1.05", "new_coords=1 with scale_x_y=1.05"),
        ("logistic", "new_coords=1", "new_coords=1 with scale_x_y=1"),
    ],
)
def test_boxes_decoded_otherwise_are_refused(activation: str, options: str, problem: str) -> None:
    """new_coords=1 without an early sigmoid or with another scale is refused at its [yolo]."""
    sections = (NET, CONV, f"convolutional filters=16 activation={activation}", f"{YOLO} {options}")

    with pytest.raises(CheckpointError) as error:
        plan_of(*sections)

    assert problem in error.value.problem
    assert error.value.where == where_of(sections, 2)


@pytest.mark.parametrize(
    ("text", "problem", "where"),
    [
        ("", "0 sections", "small.cfg"),
        ("[net]\nwidth=64\n", "1 sections", "small.cfg"),
        ("[convolutional]\nfilters=1\n[yolo]\n", "2 sections, expected [net]", "small.cfg"),
        ("width=64\n[net]\n", "line 1 is 'width=64'", "small.cfg"),
        ("[net]\n\nwidth\n", "line 3 is 'width'", "small.cfg"),
        ("[net]\n=64\n", "line 2 is '=64'", "small.cfg"),
        ("[net]\n" + "[silence]\n" * 10_001, "10002 sections", "small.cfg"),
    ],
)
def test_text_that_is_no_description_is_refused(text: str, problem: str, where: str) -> None:
    """Text without [net] and layers is refused, and the line quoted where there is one."""
    with pytest.raises(CheckpointError) as error:
        plan_of_text(text)

    assert problem in error.value.problem
    assert error.value.where == where


def test_absurd_weights_are_refused() -> None:
    """Layers that are allowed one by one may not have billions of weights together."""
    plan = plan_of(NET, CONV, "convolutional filters=99999", "convolutional filters=99999", *HEAD)

    with pytest.raises(CheckpointError, match="weights") as error:
        require_reasonable(plan, where="small.cfg")

    assert error.value.where == "small.cfg"


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.data())
def test_changed_description_gives_a_plan_or_an_error(data: st.DataObject) -> None:
    """Lines of a valid cfg that are lost, doubled or replaced never fail in another way."""
    lines = list(FUZZED_LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(lines) - 1))
        lines[position : position + data.draw(st.integers(0, 2))] = data.draw(
            st.lists(FUZZED_WORDS, max_size=2)
        )

    _plan_or_error("\n".join(lines))


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.text() | st.lists(FUZZED_WORDS, max_size=30).map("\n".join))
def test_any_text_gives_a_plan_or_an_error(text: str) -> None:
    """Random text and random order of valid lines never fail in another way."""
    _plan_or_error(text)


def _plan_or_error(text: str) -> None:
    failures: list[CheckpointError] = []
    try:
        require_reasonable(plan_of_text(text), where="small.cfg")
    except CheckpointError as error:
        failures.append(error)
    assert all("small.cfg" in error.where and error.hint for error in failures)
