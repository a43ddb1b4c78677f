"""What a cfg file may not say, since darknet or the authors' code would mean something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.families.small import ANCHORS, SMALL_CFG, cfg_of, changed, plan_of, where_of
from yolor_deploy.checkpoint import CfgText, Checkpoint, DarknetWeights
from yolor_deploy.core.errors import CheckpointError
from yolor_deploy.families import cfg_text, darknet
from yolor_deploy.families.darknet.cfg import parse_cfg
from yolor_deploy.families.darknet.network import network_from_plan
from yolor_deploy.families.darknet.plan import plan_from_sections
from yolor_deploy.nn.loading import expected_shapes

CONV = "convolutional filters=8 size=3 pad=1 activation=silu"
STRIDED = f"{CONV} stride=2"


@pytest.mark.parametrize(
    ("layer", "section", "option"),
    [
        (0, f"{STRIDED} dilation=2", "dilation=2"),
        (0, f"{STRIDED} antialiasing=1", "antialiasing=1"),
        (0, f"{STRIDED} stride_x=1", "stride_x=1"),
        (0, f"{STRIDED} stride_y=4", "stride_y=4"),
        (0, f"{STRIDED} xnor=1", "xnor=1"),
        (0, f"{STRIDED} sway=1", "sway=1"),
        (0, f"{STRIDED} share_index=-1", "share_index"),
        (0, "convolutional filters=8 stride=2 pad=0 padding=1", "padding=1"),
        (0, "maxpool size=2 stride=2 stride_x=1", "stride_x=1"),
        (0, "maxpool size=2 stride=2 maxpool_depth=1", "maxpool_depth=1"),
        (0, "maxpool size=3 stride=1 padding=0", "padding=0"),
        (0, "upsample stride=2 scale=0.5", "scale=0.5"),
        (0, "reorg stride=3", "stride=3"),
        (0, "reorg stride=2 reverse=1", "reverse=1"),
        (3, "route layers=0 groups=2", "groups=2"),
        (3, "route layers=0 groups=1 group_id=1", "group_id=1"),
        (3, "shortcut from=1 activation=leaky", "activation=leaky"),
        (8, "shift_channels from=5 activation=logistic", "activation=logistic"),
        (10, "control_channels_2d from=6 activation=mish", "activation=mish"),
    ],
)
def test_option_that_changes_the_result_is_refused(layer: int, section: str, option: str) -> None:
    """The option is quoted with its value, at its layer and line."""
    sections = changed(layer, section)

    with pytest.raises(CheckpointError) as error:
        plan_of(*sections)

    assert option in error.value.problem
    assert error.value.where == where_of(sections, layer)


@pytest.mark.parametrize(
    "section",
    [
        f"{STRIDED} dilation=1 antialiasing=0 stride_x=2 stride_y=2 xnor=0 padding=7",
        f"{STRIDED} learning_rate=0.5 stopbackward=800 dropblock=1",
        "maxpool size=2 stride=2 padding=1 stride_x=2",
        "upsample stride=2 scale=1.0",
        "reorg stride=2",
        "route layers=0 groups=1 group_id=0",
        f"yolo mask=0,1 anchors={ANCHORS} classes=3 jitter=.1 new_coords=0 iou_loss=ciou max=9",
    ],
)
def test_option_that_changes_nothing_is_taken(section: str) -> None:
    """Options of training, and others at the value that they have anyway, change no layer."""
    kind = section.split(maxsplit=1)[0]
    plain = " ".join(part for part in section.split() if part.partition("=")[0] in {kind, *_NEEDED})
    body = ("convolutional filters=16", plain), ("convolutional filters=16", section)

    layers = [plan_of(SMALL_CFG[0], *part, *_TAIL).layers[1] for part in body]

    assert layers[0].channels == layers[1].channels
    assert layers[0].stride == layers[1].stride
    assert layers[0].sources == layers[1].sources


_NEEDED = {"filters", "size", "stride", "pad", "activation", "layers", "mask", "anchors", "classes"}
_TAIL = (
    "route layers=0",
    "convolutional filters=16 stride=8",
    f"yolo mask=0,1 anchors={ANCHORS} classes=3",
)


@pytest.mark.parametrize(
    ("layer", "section", "problem"),
    [
        (0, "convolutional filters=8 size=3,5 stride=2 pad=1", "size=3,5"),
        (0, "convolutional filters=8 size=3 stride=2", "a border of 0 does not give 1/2"),
        (0, "convolutional filters=8 size=2 stride=2 pad=1", "a border of 1 does not give 1/2"),
        (0, "convolutional filters=1_6 stride=2", "filters='1_6'"),
        (0, "convolutional filters=16 stride=2 groups=3 size=1", "groups=3"),
        (0, "convolutional filters=200000 stride=2", "200,000 channels"),
        (0, "maxpool size=4 stride=1", "size=4"),
        (0, "jde mask=0", "[jde]"),
        (0, "dwt", "[dwt]"),
        (3, "route layers=0,", "layers='0,'"),
        (3, "sam from=1,2", "names 2 layers"),
        (8, "shift_channels from=5,5", "names 2 layers"),
        (11, f"yolo mask=2,3 anchors=0,{ANCHORS},1 classes=3", "from 0 on"),
        (11, f"yolo mask=2,3 anchors={ANCHORS} classes=3 new_coords=yes", "new_coords='yes'"),
    ],
)
def test_layer_that_is_read_otherwise_is_refused(layer: int, section: str, problem: str) -> None:
    """What the authors' code or darknet would read in another way is refused, not guessed."""
    sections = changed(layer, section)

    with pytest.raises(CheckpointError) as error:
        plan_of(*sections)

    assert problem in error.value.problem
    assert error.value.where == where_of(sections, layer)


def test_convolution_needs_its_activation() -> None:
    """Darknet takes logistic where none is given, the authors' code fails: it must be written."""
    text = cfg_of(*SMALL_CFG).text.replace("activation=silu\n", "", 1)

    with pytest.raises(CheckpointError, match="no activation=") as error:
        plan_from_sections(parse_cfg(CfgText("small.cfg", text)))

    assert error.value.where.startswith("small.cfg, layer 0, line 6")


def test_misspelt_kind_is_offered_its_own() -> None:
    """Capitals count, as in darknet: the hint gives the kind that was meant."""
    with pytest.raises(CheckpointError, match=r"\[Route\] is not supported") as error:
        plan_of(*changed(3, "Route layers=0"))

    assert error.value.hint.startswith("write [route]")


def test_rows_of_atoms_need_the_2d_form() -> None:
    """A plain [shift_channels] on rows of atoms is refused with the form that reads them."""
    sections = list(changed(5, "implicit_add_2d filters=4 atoms=2"))

    with pytest.raises(CheckpointError, match=r"reads \[implicit_add_2d\] of layer 5") as error:
        plan_of(*sections)

    sections[9] = "shift_channels_2d from=5"
    assert error.value.hint == "write [shift_channels_2d]"
    assert plan_of(*sections).layers[8].channels == 8


def test_grey_images_are_refused() -> None:
    """A [net] of one channel is no model of colour images."""
    with pytest.raises(CheckpointError, match="channels= is not 3") as error:
        plan_of("net channels=1", *SMALL_CFG[1:])

    assert error.value.where == "small.cfg, line 1"


def test_forgotten_implicit_filters_are_named() -> None:
    """After a change of classes an implicit_mul of 255 is named with its line and new number."""
    sections = changed(6, "implicit_mul filters=255")

    with pytest.raises(CheckpointError, match=r"layer 6 has 255 channels.*has 16") as error:
        plan_of(*sections)

    assert "filters=16 in layer 6" in error.value.hint
    assert where_of(sections, 6) in error.value.hint


def test_forgotten_head_filters_are_named() -> None:
    """Where convolution and implicit_mul both kept their number, both layers are named."""
    sections = list(changed(9, "convolutional filters=255 activation=linear"))
    sections[7] = "implicit_mul filters=255"

    with pytest.raises(
        CheckpointError, match="reads 255 channels, expected 16 = 2 anchors"
    ) as error:
        plan_of(*sections)

    assert "filters=16 in layer 9 [convolutional] and layer 6 [implicit_mul]" in error.value.hint


def test_weights_of_other_classes_name_layer_and_shapes() -> None:
    """Weights of a model of other classes are refused with the first layer and both shapes."""
    cfg = cfg_of(*SMALL_CFG)
    other = cfg_of(
        *(
            line.replace("classes=3", "classes=80").replace("filters=16", "filters=170")
            for line in SMALL_CFG
        )
    )
    with torch.device("meta"):
        trained = network_from_plan(plan_from_sections(parse_cfg(other)))
    tensors = {name: torch.zeros(shape) for name, shape in expected_shapes(trained).items()}
    checkpoint = Checkpoint(name="best.pt", sha256=None, container="zip", tensors=tensors, cfg=cfg)

    with pytest.raises(CheckpointError) as error:
        darknet.module(checkpoint)

    assert error.value.problem == (
        "module_list.1.Conv2d.weight has shape [170, 8, 1, 1], expected [16, 8, 1, 1]"
    )
    assert error.value.where == "best.pt with small.cfg"
    assert "implicit_mul" in error.value.hint


@pytest.mark.parametrize(
    ("between", "stride"),
    [
        (("maxpool size=2 stride=2", "upsample stride=2"), "stride 4"),
        (("upsample stride=4", "maxpool size=4 stride=4"), "stride 1/2"),
    ],
)
def test_map_that_is_not_whole_is_refused(between: tuple[str, ...], stride: str) -> None:
    """A head of stride 2 takes images of 2 pixels, which a layer of stride 4 cannot divide."""
    sections = (SMALL_CFG[0], STRIDED, *between, *SMALL_CFG[2:4])

    with pytest.raises(CheckpointError, match=stride) as error:
        plan_of(*sections)

    assert error.value.where == where_of(sections, 1)


def test_weighted_shortcut_of_a_weights_file_is_refused() -> None:
    """The weights of a shortcut mean something else in darknet, so they are not read."""
    sections = (SMALL_CFG[0], STRIDED, CONV, "shortcut from=-2 weights_type=per_feature")
    cfg = cfg_of(*sections, *SMALL_CFG[2:4])
    weights = DarknetWeights(0, 2, 5, 0, np.zeros(10, np.float32))
    checkpoint = Checkpoint(
        name="x.weights", sha256=None, container="darknet", tensors={}, cfg=cfg, darknet=weights
    )

    with pytest.raises(CheckpointError, match="weights_type= cannot be read") as error:
        darknet.module(checkpoint)

    assert error.value.where.startswith("small.cfg, layer 2")


def test_text_without_end_is_refused(tmp_path: Path) -> None:
    """A file of five million characters is not read as a description."""
    path = tmp_path / "long.cfg"
    path.write_text("# " + "x" * 5_000_000)

    with pytest.raises(CheckpointError, match="more than 4,000,000 characters") as error:
        cfg_text(str(path))

    assert error.value.where == str(path)


@pytest.mark.parametrize("name", ["x" * 5_000, "."])
def test_path_that_no_file_has_is_refused(name: str) -> None:
    """A name that is too long, or a folder, cannot be read; the published names are offered."""
    with pytest.raises(CheckpointError, match="cannot read the darknet description") as error:
        cfg_text(name)

    assert "yolor_p6" in error.value.hint


def test_size_of_a_machine_room_is_refused() -> None:
    """A [net] of a million pixels a side is refused before an image of it is made."""
    tensors = {"module_list.0.Conv2d.weight": torch.zeros(1)}
    cfg = cfg_of("net width=1000000 height=32", *SMALL_CFG[1:])

    with pytest.raises(CheckpointError, match="width=1000000 is not between 1 and 16384"):
        darknet.spec(
            Checkpoint(name="x.pt", sha256=None, container="zip", tensors=tensors, cfg=cfg)
        )
