"""The published models as a table: what they are, and what their authors report.

Nothing here needs torch. Parameters are checked by a test against the networks themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

AP_CONDITIONS = "AP: COCO, as the authors' README says; at their enlarged rectangular test shapes."
FPS_CONDITIONS = (
    "fps: one image at a time on a V100, PyTorch half precision, forward pass only, no NMS."
)
OLD_FPS = "*: measured before a file-system bottleneck was fixed; not comparable with the others."
CONDITIONS = (
    "GFLOPs: 2 x multiplications of the convolutions at the native size, one image.",
    AP_CONDITIONS,
    FPS_CONDITIONS,
    OLD_FPS,
)
_COCO_CLASSES = 80


@dataclass(frozen=True, slots=True)
class PublishedModel:
    """One published model.

    Attributes:
        name: As ``export`` takes it; underscores are the cfg models, hyphens the yaml models.
        source: Branch that it comes from.
        parameters: Trained weights, implicit vectors included.
        gflops: At the native size.
        size: Native height and width, pixels.
        strides: Of its levels.
        ap: In percent; None if none was published.
        ap_split: Of COCO.
        fps: As published; None if none was.
        is_fps_old: Measured before the storage fix.
    """

    name: str
    source: str
    parameters: int
    gflops: float
    size: int
    strides: tuple[int, ...]
    ap: float | None = None
    ap_split: str = ""
    fps: int | None = None
    is_fps_old: bool = False


_P5, _P6, _P7 = (8, 16, 32), (8, 16, 32, 64), (8, 16, 32, 64, 128)
_MAIN, _PAPER = "YOLOR main", "YOLOR paper"
_LARGE, _CSP = "Scaled-YOLOv4 large", "Scaled-YOLOv4 csp"

CATALOGUE = (
    PublishedModel("yolor_csp", _MAIN, 52_923_994, 120.24, 640, _P5, 52.8, "test-dev", 106),
    PublishedModel("yolor_csp_x", _MAIN, 99_754_058, 221.89, 640, _P5, 54.8, "test-dev", 87),
    PublishedModel("yolor_p6", _MAIN, 37_265_016, 325.12, 1280, _P6, 55.7, "test-dev", 76),
    PublishedModel("yolor_w6", _MAIN, 79_873_400, 452.65, 1280, _P6, 56.9, "test-dev", 66),
    PublishedModel("yolov4_csp", _MAIN, 52_921_437, 120.24, 640, _P5, 49.1, "val"),
    PublishedModel("yolov4_csp_x", _MAIN, 99_751_053, 221.89, 640, _P5, 50.9, "val"),
    PublishedModel("yolov4_p6", _MAIN, 127_585_200, 717.02, 1280, _P6),
    PublishedModel("yolov4_p7", _MAIN, 287_566_300, 1636.70, 1536, _P7),
    PublishedModel("yolor-p6", _PAPER, 37_270_264, 325.12, 1280, _P6, 54.1, "test-dev", 76),
    PublishedModel("yolor-w6", _PAPER, 79_880_952, 452.65, 1280, _P6, 55.5, "test-dev", 66),
    PublishedModel("yolor-e6", _PAPER, 115_909_400, 682.12, 1280, _P6, 56.4, "test-dev", 45),
    PublishedModel("yolor-d6", _PAPER, 151_782_680, 934.43, 1280, _P6, 57.3, "test-dev", 34),
    PublishedModel("yolor-ssss-s2d", _PAPER, 9_216_634, 16.04, 640, _P5, 36.9, "val"),
    PublishedModel("yolor-ssss-dwt", _PAPER, 9_216_634, 16.04, 640, _P5, 37.0, "val"),
    PublishedModel("yolov4-csp", _CSP, 52_921_437, 120.24, 640, _P5, 48.7, "val"),
    PublishedModel("yolov4-csp-yaml", _LARGE, 52_924_765, 120.24, 640, _P5),
    PublishedModel(
        "yolov4-p5", _LARGE, 70_834_012, 326.64, 896, _P5, 51.8, "test-dev", 41, is_fps_old=True
    ),
    PublishedModel(
        "yolov4-p6", _LARGE, 127_590_576, 717.02, 1280, _P6, 54.5, "test-dev", 30, is_fps_old=True
    ),
    PublishedModel(
        "yolov4-p7", _LARGE, 287_575_580, 1636.70, 1536, _P7, 55.5, "test-dev", 16, is_fps_old=True
    ),
)


def published_as(
    variant: str, *, height: int, width: int, num_classes: int
) -> PublishedModel | None:
    """Return the published model whose figures may stand beside an artifact.

    Figures hold for one size and for the classes that were trained: at another size or with other
    classes it is another amount of work, and another accuracy.

    Args:
        variant: As its ``DetectorSpec`` calls it; of a cfg file no more than the file's name.
        height: Of its input, pixels.
        width: Of its input, pixels.
        num_classes: That it tells apart.

    Returns:
        The model of that name, if the input is its native square and the classes are as many as
        those of COCO; else None.
    """
    if num_classes != _COCO_CLASSES:
        return None
    named = (model for model in CATALOGUE if model.name == variant)
    return next((model for model in named if height == width == model.size), None)
