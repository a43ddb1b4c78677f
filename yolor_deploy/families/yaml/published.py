"""The published yaml models, generated from the layout that all of them follow.

Source: tables of layers of the YOLOR paper branch and of Scaled-YOLOv4 yolov4-large; checked
against the weight names and shapes of their own code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from yolor_deploy.families.darknet.published import (
    ANCHORS_CSP,
    ANCHORS_P6,
    ANCHORS_V4_P6,
    ANCHORS_V4_P7,
)

ANCHORS_V4_P5 = (
    "13,17, 31,25, 24,51, 61,45, 48,102, 119,96, 97,189, 217,184, 171,384, 324,451, 616,618, "
    "800,800"
)
_UP = ["None", 2, "nearest"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What distinguishes one published yaml model from another.

    Attributes:
        stem: Rows before the first stage.
        stages: (width, repeats) of each backbone stage, fine to coarse, before the multiples.
        down: Block that halves the map.
        block: Block of a backbone stage.
        spp: Width of the pyramid pooling.
        top_down: Widths of the enlarging path, coarse to fine.
        bottom_up: Widths of the shrinking path, fine to coarse.
        heads: Widths before each head, fine to coarse.
        neck_repeats: Blocks in each neck stage.
        anchors: Of all levels, fine to coarse.
        anchors_per_level: Of them, how many a level has.
        detect: Block of the head.
        act: Activation.
        size: Height and width that the model was trained for, pixels.
        depth: Multiple of repeats.
        width: Multiple of widths.
    """

    stem: tuple[tuple[str, tuple[int, ...]], ...]
    stages: tuple[tuple[int, int], ...]
    down: str
    block: str
    spp: int
    top_down: tuple[int, ...]
    bottom_up: tuple[int, ...]
    heads: tuple[int, ...]
    neck_repeats: int
    anchors: str
    anchors_per_level: int
    detect: Literal["Detect", "IDetect"]
    act: str
    size: int
    depth: float = 1.0
    width: float = 1.0


def _yolor(
    widths: tuple[int, ...],
    repeats: tuple[int, ...],
    spp: int,
    neck: tuple[int, ...],
    *,
    down: str = "Conv",
    width: float = 1.0,
) -> Recipe:
    """Return a YOLOR of four levels; ``neck`` fine to coarse."""
    return Recipe(
        stem=(("ReOrg", ()), ("Conv", (64, 3, 1))),
        stages=tuple(zip(widths, repeats, strict=True)),
        down=down,
        block="BottleneckCSPF",
        spp=spp,
        top_down=tuple(reversed(neck)),
        bottom_up=(*neck[1:], spp),
        heads=(256, *(2 * width for width in neck[1:]), 2 * spp),
        neck_repeats=3,
        anchors=ANCHORS_P6,
        anchors_per_level=3,
        detect="IDetect",
        act="silu",
        size=1280,
        width=width,
    )


_W6 = (128, 256, 512, 768, 1024)
_SSSS = {
    "stages": ((256, 9), (512, 9), (1024, 3)),
    "down": "Conv",
    "block": "BottleneckCSP",
    "spp": 512,
    "top_down": (256, 128),
    "bottom_up": (256, 512),
    "heads": (256, 512, 1024),
    "neck_repeats": 3,
    "anchors": ANCHORS_CSP,
    "anchors_per_level": 3,
    "act": "silu",
    "size": 640,
}


def _ssss(stem: str) -> Recipe:
    values: dict[str, Any] = {**_SSSS, "detect": "IDetect", "depth": 0.33, "width": 0.5}
    return Recipe(stem=((stem, ()),) * 3, **values)


def _scaled(
    stages: tuple[tuple[int, int], ...],
    top_down: tuple[int, ...],
    anchors: str,
    size: int,
    *,
    width: float = 1.0,
    repeats: int = 3,
    per_level: int = 4,
) -> Recipe:
    """Return a Scaled-YOLOv4; ``top_down`` coarse to fine."""
    bottom_up = (*reversed(top_down[:-1]), 512)
    return Recipe(
        stem=(("Conv", (32, 3, 1)),),
        stages=stages,
        down="Conv",
        block="BottleneckCSP",
        spp=512,
        top_down=top_down,
        bottom_up=bottom_up,
        heads=(256, *(2 * width for width in bottom_up)),
        neck_repeats=repeats,
        anchors=anchors,
        anchors_per_level=per_level,
        detect="Detect",
        act="mish",
        size=size,
        width=width,
    )


_P5_STAGES = ((64, 1), (128, 3), (256, 15), (512, 15), (1024, 7))
RECIPES: dict[str, Recipe] = {
    "yolor-p6": _yolor((128, 256, 384, 512, 640), (3, 7, 7, 3, 3), 320, (128, 192, 256)),
    "yolor-w6": _yolor(_W6, (3, 7, 7, 3, 3), 512, (128, 256, 384)),
    "yolor-e6": _yolor(_W6, (3, 7, 7, 3, 3), 512, (128, 256, 384), down="DownC", width=1.25),
    "yolor-d6": _yolor(_W6, (3, 15, 15, 7, 7), 512, (128, 256, 384), down="DownC", width=1.25),
    "yolor-ssss-s2d": _ssss("ReOrg"),
    "yolor-ssss-dwt": _ssss("DWT"),
    "yolov4-csp-yaml": _scaled(
        ((64, 0), (128, 2), (256, 8), (512, 8), (1024, 4)),
        (256, 128),
        ANCHORS_CSP,
        640,
        repeats=2,
        per_level=3,
    ),
    "yolov4-p5": _scaled(_P5_STAGES, (256, 128), ANCHORS_V4_P5, 896),
    "yolov4-p6": _scaled((*_P5_STAGES, (1024, 7)), (512, 256, 128), ANCHORS_V4_P6, 1280),
    "yolov4-p7": _scaled(
        (*_P5_STAGES, (1024, 7), (1024, 7)),
        (512, 512, 256, 128),
        ANCHORS_V4_P7,
        1536,
        width=1.25,
    ),
}


def published_structure(name: str, *, num_classes: int = 80) -> dict[str, Any]:
    """Return the structure of a published model, as a pickled model's ``yaml`` has it.

    Raises:
        KeyError: There is no such model.
    """
    recipe = RECIPES[name]
    backbone, ends = _backbone(recipe)
    head = _head(recipe, len(backbone), ends)
    values = [float(value) for value in recipe.anchors.split(",")]
    step = 2 * recipe.anchors_per_level
    return {
        "nc": num_classes,
        "depth_multiple": recipe.depth,
        "width_multiple": recipe.width,
        "anchors": [values[i : i + step] for i in range(0, len(values), step)],
        "backbone": backbone,
        "head": head,
    }


def _backbone(recipe: Recipe) -> tuple[list[Any], list[int]]:
    """Return the rows of the backbone, and the index of the last row of each stage."""
    rows: list[Any] = [[-1, 1, kind, list(arguments)] for kind, arguments in recipe.stem]
    ends = []
    for width, repeats in recipe.stages:
        is_first_of_s2d = len(rows) == 3 and recipe.stem[0][0] in {"ReOrg", "DWT"}  # noqa: PLR2004
        if not is_first_of_s2d:
            arguments = [width] if recipe.down == "DownC" else [width, 3, 2]
            rows.append([-1, 1, recipe.down, arguments])
        if repeats:
            rows.append([-1, repeats, recipe.block, [width]])
        else:
            rows.append([-1, 1, "Bottleneck", [width]])  # first stage of the csp model
        ends.append(len(rows) - 1)
    return rows, ends


def _head(recipe: Recipe, first: int, ends: list[int]) -> list[Any]:
    """Return the rows of neck and head; ``first`` is the index of its first row."""
    rows: list[Any] = [[-1, 1, "SPPCSP", [recipe.spp]]]
    maps = [first]
    for width, skip in zip(recipe.top_down, reversed(ends[:-1]), strict=False):
        rows += [
            [-1, 1, "Conv", [width, 1, 1]],
            [-1, 1, "nn.Upsample", list(_UP)],
            [skip, 1, "Conv", [width, 1, 1]],
            [[-1, -2], 1, "Concat", [1]],
            [-1, recipe.neck_repeats, "BottleneckCSP2", [width]],
        ]
        maps.insert(0, first + len(rows) - 1)
    outputs = []
    for level, width in enumerate(recipe.heads):
        if level:
            down = recipe.bottom_up[level - 1]
            arguments = [down] if recipe.down == "DownC" else [down, 3, 2]
            rows += [
                [-2, 1, recipe.down, arguments],
                [[-1, maps[level]], 1, "Concat", [1]],
                [-1, recipe.neck_repeats, "BottleneckCSP2", [down]],
            ]
        rows.append([-1, 1, "Conv", [width, 3, 1]])
        outputs.append(first + len(rows) - 1)
    rows.append([outputs, 1, recipe.detect, ["nc", "anchors"]])
    return rows
