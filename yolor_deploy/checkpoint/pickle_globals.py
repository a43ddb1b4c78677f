"""The table of names that a checkpoint may hold.

Nothing outside it is accepted, and nothing in it is imported: a name is a key here, and its value
is of ``stand_ins``.

Source: the module trees that the authors' repositories pickle (yolor ``paper`` and ``main``,
ScaledYOLOv4 ``yolov4-large`` and ``yolov4-csp``), and ``torch.save``.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

from yolor_deploy.checkpoint.other_families import family_of_names
from yolor_deploy.checkpoint.stand_ins import CALLS, StorageType, stand_in_class
from yolor_deploy.core.errors import CheckpointError, UnsupportedModelError

MODEL_CLASSES = ("models.yolo.Model",)
WRAPPER_CLASSES = (
    "torch.nn.parallel.data_parallel.DataParallel",
    "torch.nn.parallel.distributed.DistributedDataParallel",
)
AVERAGE_CLASSES = ("utils.torch_utils.ModelEMA",)

_CLASSES = {
    "models.yolo": "Model Detect IDetect",
    "models.common": (
        "Conv Bottleneck BottleneckCSP BottleneckCSPF BottleneckCSP2 SPPCSP DownC ReOrg DWT Concat "
        "ImplicitA ImplicitM"
    ),
    "models.models": "Darknet YOLOLayer JDELayer",
    "utils.layers": (
        "Reorg DWT Flatten Concat FeatureConcat FeatureConcat2 FeatureConcat3 FeatureConcat_l "
        "WeightedFeatureFusion MixConv2d Swish HardSwish MemoryEfficientSwish MemoryEfficientMish "
        "DeformConv2d GAP Silence ScaleChannel ScaleSpatial ShiftChannel ShiftChannel2D "
        "ControlChannel ControlChannel2D AlternateChannel AlternateChannel2D SelectChannel "
        "SelectChannel2D ImplicitA ImplicitC ImplicitM Implicit2DA Implicit2DC Implicit2DM"
    ),
    "pytorch_wavelets.dwt.transform2d": "DWTForward DWTInverse",
    "pytorch_wavelets": "DWTForward DWTInverse",
    "torch.nn.modules.container": "Sequential ModuleList ModuleDict ParameterList ParameterDict",
    "torch.nn.modules.conv": "Conv2d ConvTranspose2d",
    "torch.nn.modules.batchnorm": "BatchNorm2d SyncBatchNorm",
    "torch.nn.modules.normalization": "GroupNorm",
    "torch.nn.modules.activation": (
        "SiLU LeakyReLU ReLU ReLU6 PReLU ELU GELU Hardswish Hardsigmoid Hardtanh Sigmoid Softmax "
        "Softplus Tanh LogSigmoid"
    ),
    "torch.nn.modules.pooling": "MaxPool2d AvgPool2d AdaptiveAvgPool2d AdaptiveMaxPool2d",
    "torch.nn.modules.upsampling": "Upsample UpsamplingNearest2d UpsamplingBilinear2d",
    "torch.nn.modules.linear": "Identity Linear",
    "torch.nn.modules.padding": "ZeroPad2d",
    "torch.nn.modules.dropout": "Dropout Dropout2d",
    "torch.nn.modules.flatten": "Flatten",
    "torch.nn.modules.pixelshuffle": "PixelShuffle PixelUnshuffle",
    "argparse": "Namespace",
    "builtins": "dict list tuple int float str bool",  # factories of a defaultdict
    "numpy": "ndarray",
    "torch": "Tensor",
    "torch.nn.parameter": "Parameter Buffer",
}
_STORAGES = {
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Float": torch.float32,
    "Double": torch.float64,
    "Byte": torch.uint8,
    "Char": torch.int8,
    "Short": torch.int16,
    "Int": torch.int32,
    "Long": torch.int64,
    "Bool": torch.bool,
    "ComplexFloat": torch.complex64,
    "ComplexDouble": torch.complex128,
}
_DTYPES = (
    "float16 half bfloat16 float32 float float64 double uint8 int8 int16 short int32 int int64 "
    "long bool complex64 complex128"
)
# Of no parameters, and known under whatever path its author compiled it at.
_ANYWHERE = frozenset({"Mish", "MishCuda"})


def _table() -> dict[str, object]:
    table: dict[str, object] = dict(CALLS)
    for module, names in _CLASSES.items():
        table |= {f"{module}.{name}": stand_in_class(f"{module}.{name}") for name in names.split()}
    for dotted in (*WRAPPER_CLASSES, *AVERAGE_CLASSES):
        table[dotted] = stand_in_class(dotted)
    for name, dtype in _STORAGES.items():
        table[f"torch.{name}Storage"] = StorageType(dtype)
    for name in ("torch.storage.UntypedStorage", "torch.UntypedStorage"):
        table[name] = StorageType(torch.uint8)
    table |= {f"torch.{name}": getattr(torch, name) for name in _DTYPES.split()}
    return table


_GLOBALS = _table()


def resolve(dotted: str) -> object | None:
    """Return what stands for a name of a pickle, or None if it may not be in a checkpoint."""
    if dotted.startswith("__builtin__."):  # Python 2, and every pickle of protocol 2
        dotted = f"builtins.{dotted.partition('.')[2]}"
    if dotted.rpartition(".")[2] in _ANYWHERE:
        return stand_in_class(dotted)
    return _GLOBALS.get(dotted)


def require_known(names: Iterable[str], *, where: str) -> None:
    """Check that every name is in the table.

    Raises:
        UnsupportedModelError: One is not, and together they belong to another family.
        CheckpointError: One is not.
    """
    unknown = sorted(name for name in names if resolve(name) is None)
    if not unknown:
        return
    family = family_of_names(names)
    if family:
        raise UnsupportedModelError(
            f"checkpoint of {family}: it holds `{unknown[0]}`",
            where=where,
            hint="give a checkpoint of YOLOR or Scaled-YOLOv4",
        )
    raise CheckpointError(
        f"pickle names `{unknown[0]}`, which is outside the allow list"
        + (f", and {len(unknown) - 1} more such names" if len(unknown) > 1 else ""),
        where=where,
        hint="nothing of the file was run; if you do not trust it, do not open it with torch.load; "
        "if the model has layers of your own, save its state_dict() instead",
    )
