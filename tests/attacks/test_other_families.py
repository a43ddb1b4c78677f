"""Checkpoints of other detectors: readable, and not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.attacks.hostile import archive, saved, stream
from yolor_deploy.checkpoint import read_checkpoint
from yolor_deploy.core.errors import CheckpointError, UnsupportedModelError


def naming(names: str) -> bytes:
    """Return a pickle of a list of classes."""
    classes = b"".join(
        b"c" + module.encode() + b"\n" + name.encode() + b"\n"
        for module, _, name in (dotted.rpartition(".") for dotted in names.split())
    )
    return b"\x80\x02](" + classes + b"e."


PICKLES = [
    ("ultralytics.nn.tasks.DetectionModel", "YOLOv8"),
    ("torch.nn.modules.container.Sequential ultralytics.nn.modules.block.C2f", "YOLOv8"),
    ("models.yolo.DetectionModel models.common.Conv models.common.C3", "YOLOv5"),
    ("models.yolo.Model models.yolo.Detect models.common.SPPF", "YOLOv5"),
    ("models.yolo.Model models.common.Focus models.common.BottleneckCSP", "YOLOv5"),
    ("models.yolo.Model models.common.MP models.common.Conv", "YOLOv7"),
    ("models.yolo.Model models.yolo.IDetect models.common.SP models.common.MP", "YOLOv7"),
    ("models.yolo.IAuxDetect models.common.ReOrg models.common.SPPCSPC", "YOLOv7"),
    ("models.yolo.IKeypoint models.common.Conv", "YOLOv7"),
    ("models.yolo.IBin models.common.RepConv", "YOLOv7"),
    ("models.yolo.DetectionModel models.common.RepNCSPELAN4 models.yolo.DualDDetect", "YOLOv9"),
    ("models.yolo.DetectionModel models.yolo.DDetect", "YOLOv9"),
    ("yolox.models.yolox.YOLOX", "YOLOX"),
    ("yolov6.models.yolo.Model", "YOLOv6"),
    ("mmengine.logging.history_buffer.HistoryBuffer", "OpenMMLab"),
    ("torchvision.models.detection.retinanet.RetinaNet", "torchvision"),
]


@pytest.mark.parametrize(("names", "family"), PICKLES)
def test_pickle_of_another_family_is_recognised(tmp_path: Path, names: str, family: str) -> None:
    """The classes in the pickle tell the family, in both containers."""
    path = tmp_path / "other.pt"

    for content in (archive(naming(names)), stream(naming(names))):
        path.write_bytes(content)
        with pytest.raises(UnsupportedModelError, match=f"checkpoint of {family}"):
            read_checkpoint(path)


STATE_DICTS = [
    (["model.22.dfl.conv.weight", "model.22.cv2.0.0.conv.weight"], "YOLOv8"),
    (["model.38.dfl.conv.weight", "model.38.dfl2.conv.weight"], "YOLOv9"),
    (["model.104.rbr_reparam.weight"], "YOLOv7"),
    (["model.102.rbr_dense.0.weight"], "YOLOv7"),
    (["model.0.conv.conv.weight"], "YOLOv5"),
    (
        ["model.2.m.0.cv1.conv.weight", "model.2.cv2.conv.weight", "model.2.cv3.conv.weight"],
        "YOLOv5",
    ),
    (["backbone.backbone.stem.conv.conv.weight"], "YOLOX"),
    (["head.cls_convs.0.0.conv.weight"], "YOLOX"),
    (["backbone.ERBlock_2.0.conv.weight"], "YOLOv6"),
    (["backbone.stem.conv.weight", "bbox_head.multi_level_cls.0.weight"], "MMDetection"),
    (["backbone.body.conv1.weight"], "torchvision"),
    (["transformer.encoder.layers.0.linear1.weight"], "DETR"),
    (["down1.conv1.conv.0.weight"], "pytorch-YOLOv4"),
]


@pytest.mark.parametrize(("names", "family"), STATE_DICTS)
def test_state_dict_of_another_family_is_recognised(
    tmp_path: Path, names: list[str], family: str
) -> None:
    """Without classes, the names of the tensors tell, prefixes or not."""
    path = tmp_path / "other.pt"

    for prefix in ("", "module."):
        path.write_bytes(saved({"model": {f"{prefix}{name}": torch.ones(1) for name in names}}))
        with pytest.raises(UnsupportedModelError, match=f"weights of {family}"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    "names",
    [
        # BottleneckCSP2 and SPPCSP of ours, which resemble C3
        ["model.2.m.0.cv1.conv.weight", "model.2.cv2.weight", "model.2.cv3.conv.weight"],
        ["model.9.cv1.conv.weight", "model.9.cv3.conv.weight", "model.9.bn.weight"],
        ["module_list.0.Conv2d.weight"],
        ["something.weight"],
    ],
)
def test_state_dict_that_tells_nothing_is_read(tmp_path: Path, names: list[str]) -> None:
    """What is not known to be another's is left for the families to match."""
    path = tmp_path / "maybe.pt"
    path.write_bytes(saved({name: torch.ones(1) for name in names}))

    assert list(read_checkpoint(path).tensors) == names


def test_unknown_layer_of_a_user_is_named(tmp_path: Path) -> None:
    """A class that belongs to no known family may be the user's own: the hint says what to do."""
    path = tmp_path / "custom.pt"
    path.write_bytes(archive(naming("models.yolo.Model models.common.CoordConv")))

    with pytest.raises(CheckpointError, match=r"`models\.common\.CoordConv`") as error:
        read_checkpoint(path)

    assert "state_dict()" in error.value.hint


@pytest.mark.parametrize(
    "name", ["mish_cuda.MishCuda", "mc.build.lib.mish_mish.MishCuda", "utils.layers.Mish", "x.Mish"]
)
def test_mish_is_known_under_every_name(tmp_path: Path, name: str) -> None:
    """Whoever compiled it, and wherever, the class has no parameters."""
    path = tmp_path / "mish.pt"
    path.write_bytes(archive(naming(name)))

    with pytest.raises(CheckpointError, match="no model inside: a value of type list"):
        read_checkpoint(path)
