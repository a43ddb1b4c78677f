"""Recognise checkpoints of detectors that are not ours, to say so instead of "damaged file"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from yolor_deploy.core.errors import UnsupportedModelError

_YOLOV9 = frozenset(
    {
        "RepNCSPELAN4",
        "SPPELAN",
        "ADown",
        "AConv",
        "CBFuse",
        "CBLinear",
        "DDetect",
        "DualDDetect",
        "TripleDDetect",
        "RepNCSP",
        "RepNBottleneck",
        "ELAN1",
    }
)
_YOLOV7 = frozenset(
    {
        "MP",
        "SP",
        "SPPCSPC",
        "GhostSPPCSPC",
        "RepConv",
        "IAuxDetect",
        "IKeypoint",
        "IBin",
        "Shortcut",
        "Chuncat",
        "Foldcut",
        "Stem",
        "RobustConv",
        "OREPA_3x3_RepConv",
        "RepConv_OREPA",
        "BottleneckCSPA",
        "BottleneckCSPB",
        "BottleneckCSPC",
    }
)
_YOLOV5 = frozenset(
    {
        "DetectionModel",
        "SegmentationModel",
        "ClassificationModel",
        "Segment",
        "C3",
        "C3x",
        "C3TR",
        "C3SPP",
        "C3Ghost",
        "Focus",
        "SPP",
        "SPPF",
        "AutoShape",
        "autoShape",
        "Contract",
        "Expand",
        "DWConv",
    }
)
_PACKAGES = {
    "ultralytics": "YOLOv8 or a later Ultralytics model",
    "yolox": "YOLOX",
    "yolov6": "YOLOv6",
    "mmdet": "MMDetection",
    "mmyolo": "MMYOLO",
    "mmengine": "OpenMMLab (MMDetection, MMYOLO)",
    "mmcv": "OpenMMLab (MMDetection, MMYOLO)",
    "super_gradients": "SuperGradients (YOLO-NAS)",
    "detectron2": "Detectron2",
    "torchvision": "torchvision",
    "pytorch_lightning": "PyTorch Lightning",
    "lightning": "PyTorch Lightning",
    "transformers": "Hugging Face Transformers",
}
_MODEL_MODULES = ("models.yolo.", "models.common.", "models.experimental.")

# Tensor names. YOLOv9 comes before YOLOv8, which shares its distribution layer `dfl`.
_TENSORS = (
    ("YOLOv9", re.compile(r"model\.\d+\.dfl2\.conv\.weight")),
    ("YOLOv8 or a later Ultralytics model", re.compile(r"model\.\d+\.dfl\.conv\.weight")),
    ("YOLOv7", re.compile(r"model\.\d+\.rbr_(dense|1x1|reparam)\b.*")),
    ("YOLOv5", re.compile(r"model\.0\.conv\.conv\.weight")),  # Focus
    ("YOLOX", re.compile(r"head\.cls_convs\..*|backbone\.backbone\.stem\..*")),
    ("YOLOv6", re.compile(r"backbone\.ERBlock_\d+\..*|detect\.proj_conv\..*")),
    ("MMDetection or MMYOLO", re.compile(r"bbox_head\..*")),
    ("torchvision", re.compile(r"backbone\.body\..*|roi_heads\..*")),
    ("DETR", re.compile(r"transformer\.(encoder|decoder)\..*")),
    ("pytorch-YOLOv4", re.compile(r"(models\.0|down1)\.conv1\.conv\.0\.weight")),
)
_C3 = re.compile(r"(model\.\d+)\.m\.0\.cv1\.conv\.weight")


def family_of_names(names: Iterable[str]) -> str | None:
    """Return the family whose classes a pickle names, or None if they tell nothing.

    Args:
        names: Dotted names of every global of the pickle.
    """
    names = set(names)
    for name in sorted(names):
        package = name.partition(".")[0]
        if package in _PACKAGES:
            return _PACKAGES[package]
    classes = {name.rpartition(".")[2] for name in names if name.startswith(_MODEL_MODULES)}
    for family, marks in (("YOLOv9", _YOLOV9), ("YOLOv7", _YOLOV7), ("YOLOv5", _YOLOV5)):
        if classes & marks:
            return family
    return None


def family_of_tensors(names: Iterable[str]) -> str | None:
    """Return the family whose state_dict has tensors of these names, or None if none is known."""
    names = set(names)
    for family, pattern in _TENSORS:
        if any(pattern.fullmatch(name) for name in names):
            return family
    for name in names:
        # C3 ends both branches in whole convolutions, where the CSP blocks of Scaled-YOLOv4 have
        # a normalisation of their own.
        block = _C3.fullmatch(name)
        if block and {f"{block[1]}.cv2.conv.weight", f"{block[1]}.cv3.conv.weight"} <= names:
            return "YOLOv5"
    return None


def require_ours(names: Iterable[str], *, where: str) -> None:
    """Check that tensors of these names do not belong to a family that is known and not ours.

    Raises:
        UnsupportedModelError: They do.
    """
    family = family_of_tensors(names)
    if family:
        raise UnsupportedModelError(
            f"weights of {family}, as the names of the tensors show",
            where=where,
            hint="give a checkpoint of YOLOR or Scaled-YOLOv4",
        )
