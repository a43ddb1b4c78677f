"""The published cfg models, generated from the grammar that all of them follow.

Their files differ in widths, repeats and activation only, so each is one line here. The result has
the layer numbers, and so the weight names, of the authors' files.

Source: cfg folders of YOLOR (main branch) and Scaled-YOLOv4 (csp branch); the grammar and these
numbers were checked against the weight names and shapes of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from yolor_deploy.checkpoint import CfgText

ANCHORS_CSP = "12,16, 19,36, 40,28, 36,75, 76,55, 72,146, 142,110, 192,243, 459,401"
ANCHORS_P6 = (
    "19,27, 44,40, 38,94, 96,68, 86,152, 180,137, 140,301, 303,264, 238,542, 436,615, 739,380, "
    "925,792"
)
ANCHORS_V4_P6 = (
    "13,17, 31,25, 24,51, 61,45, 61,45, 48,102, 119,96, 97,189, 97,189, 217,184, 171,384, "
    "324,451, 324,451, 545,357, 616,618, 1024,1024"
)
ANCHORS_V4_P7 = (
    "13,17, 22,25, 27,66, 55,41, 57,88, 112,69, 69,177, 136,138, 136,138, 287,114, 134,275, "
    "268,248, 268,248, 232,504, 445,416, 640,640, 812,393, 477,808, 1070,908, 1408,1408"
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What distinguishes one published cfg from another.

    Attributes:
        stem: Widths before the first stage.
        stages: (width, residual blocks) of each backbone stage, each halving the map.
        spp: Width of the pyramid pooling.
        top_down: Widths of the path that enlarges, coarse to fine.
        neck_repeats: Blocks in each neck stage.
        bottom_up: Widths of the path that shrinks, fine to coarse.
        heads: Widths before each head, fine to coarse.
        anchors: Of all levels, fine to coarse.
        anchors_per_level: Of them, how many a level has.
        size: Height and width that the model was trained for, pixels.
        act: Activation.
        stem_kind: ``residual`` (two convolutions and a residual block), ``reorg`` (space to depth
            and one), or ``csp`` (two convolutions' width and a one-block stage).
        is_stage_closed: Whether a stage ends with a 1x1 convolution before its concat.
        spp_pairs: 1x1 and 3x3 convolutions after the pooling, pairs of them.
        has_implicit: Whether the heads have implicit vectors.
        heads_at_end: Whether the heads come after the whole neck.
    """

    stem: tuple[int, ...]
    stages: tuple[tuple[int, int], ...]
    spp: int
    top_down: tuple[int, ...]
    neck_repeats: int
    bottom_up: tuple[int, ...]
    heads: tuple[int, ...]
    anchors: str
    anchors_per_level: int
    size: int
    act: str
    stem_kind: Literal["residual", "reorg", "csp"]
    is_stage_closed: bool
    spp_pairs: int = 1
    has_implicit: bool = False
    heads_at_end: bool = True


_CSP = Recipe(
    stem=(32, 64),
    stages=((128, 2), (256, 8), (512, 8), (1024, 4)),
    spp=512,
    top_down=(256, 128),
    neck_repeats=2,
    bottom_up=(256, 512),
    heads=(256, 512, 1024),
    anchors=ANCHORS_CSP,
    anchors_per_level=3,
    size=640,
    act="silu",
    stem_kind="residual",
    is_stage_closed=True,
)
_CSP_X = replace(
    _CSP,
    stem=(32, 80),
    stages=((160, 3), (320, 10), (640, 10), (1280, 5)),
    spp=640,
    top_down=(320, 160),
    neck_repeats=3,
    bottom_up=(320, 640),
    heads=(320, 640, 1280),
    spp_pairs=2,
)
_P6 = Recipe(
    stem=(64,),
    stages=((128, 3), (256, 7), (384, 7), (512, 3), (640, 3)),
    spp=320,
    top_down=(256, 192, 128),
    neck_repeats=3,
    bottom_up=(192, 256, 320),
    heads=(256, 384, 512, 640),
    anchors=ANCHORS_P6,
    anchors_per_level=3,
    size=1280,
    act="silu",
    stem_kind="reorg",
    is_stage_closed=False,
    has_implicit=True,
)
_W6 = replace(
    _P6,
    stages=((128, 3), (256, 7), (512, 7), (768, 3), (1024, 3)),
    spp=512,
    top_down=(384, 256, 128),
    bottom_up=(256, 384, 512),
    heads=(256, 512, 768, 1024),
)
_V4_P6 = Recipe(
    stem=(32, 64),
    stages=((64, 1), (128, 3), (256, 15), (512, 15), (1024, 7), (1024, 7)),
    spp=512,
    top_down=(512, 256, 128),
    neck_repeats=3,
    bottom_up=(256, 512, 512),
    heads=(256, 512, 1024, 1024),
    anchors=ANCHORS_V4_P6,
    anchors_per_level=4,
    size=1280,
    act="mish",
    stem_kind="csp",
    is_stage_closed=True,
)
_V4_P7 = replace(
    _V4_P6,
    stem=(40, 80),
    stages=((80, 1), (160, 3), (320, 15), (640, 15), (1280, 7), (1280, 7), (1280, 7)),
    spp=640,
    top_down=(640, 640, 320, 160),
    bottom_up=(320, 640, 640, 640),
    heads=(320, 640, 1280, 1280, 1280),
    anchors=ANCHORS_V4_P7,
    size=1536,
)

RECIPES: dict[str, Recipe] = {
    "yolor_csp": replace(_CSP, has_implicit=True),
    "yolor_csp_x": replace(_CSP_X, has_implicit=True),
    "yolor_p6": _P6,
    "yolor_w6": _W6,
    "yolov4_csp": _CSP,
    "yolov4_csp_x": _CSP_X,
    "yolov4_p6": _V4_P6,
    "yolov4_p7": _V4_P7,
    "yolov4-csp": replace(_CSP, act="mish", heads_at_end=False),
}


def published_cfg(name: str, *, num_classes: int = 80) -> CfgText:
    """Return the description of a published model as cfg text.

    Raises:
        KeyError: There is no such model.
    """
    return CfgText(f"{name}.cfg", _Writer(RECIPES[name], num_classes).text())


class _Writer:
    """Appends sections; methods return the index of the layer that holds their result."""

    def __init__(self, recipe: Recipe, num_classes: int) -> None:
        self.recipe = recipe
        self.num_classes = num_classes
        self.sections: list[str] = []
        self.outputs: list[int] = []  # of the neck, fine to coarse

    def text(self) -> str:
        size = self.recipe.size
        self.sections = [f"[net]\nwidth={size}\nheight={size}\nchannels=3\n"]
        skips = self.backbone()
        top = self.pyramid_pooling()
        maps = self.top_down(top, skips)
        if self.recipe.heads_at_end:
            self.bottom_up(maps)
            self.all_heads()
        else:
            self.bottom_up(maps, head_between=True)
        return "\n".join(self.sections)

    def add(self, kind: str, **options: object) -> int:
        lines = [f"[{kind}]", *(f"{key}={value}" for key, value in options.items()), ""]
        self.sections.append("\n".join(lines))
        return len(self.sections) - 2  # [net] is not a layer

    def conv(self, filters: int, size: int, stride: int = 1) -> int:
        return self.add(
            "convolutional",
            batch_normalize=1,
            filters=filters,
            size=size,
            stride=stride,
            pad=1,
            activation=self.recipe.act,
        )

    def route(self, *layers: int) -> int:
        return self.add("route", layers=",".join(str(layer) for layer in layers))

    def shortcut(self) -> int:
        return self.add("shortcut", **{"from": -3, "activation": "linear"})

    def backbone(self) -> list[int]:
        """Write stem and stages; return the last layer of each stage, fine to coarse."""
        recipe = self.recipe
        if recipe.stem_kind == "reorg":
            self.add("reorg")
            self.conv(recipe.stem[0], 3)
        else:
            self.conv(recipe.stem[0], 3)
        if recipe.stem_kind == "residual":
            self.conv(recipe.stem[1], 3, 2)
            self.conv(recipe.stem[1] // 2, 1)
            self.conv(recipe.stem[1], 3)
            self.shortcut()
        return [self.stage(width, repeats) for width, repeats in recipe.stages]

    def stage(self, width: int, repeats: int) -> int:
        self.conv(width, 3, 2)
        half = width // 2
        split = self.conv(half, 1)
        self.route(-2)
        self.conv(half, 1)
        for _ in range(repeats):
            self.conv(half, 1)
            last = self.conv(half, 3)
            last = self.shortcut()
        if self.recipe.is_stage_closed:
            last = self.conv(half, 1)
        self.route(last, split)
        return self.conv(width, 1)

    def pyramid_pooling(self) -> int:
        width = self.recipe.spp
        split = self.conv(width, 1)
        self.route(-2)
        self.conv(width, 1)
        self.conv(width, 3)
        base = self.conv(width, 1)
        pools = [self.add("maxpool", stride=1, size=5)]
        for size in (9, 13):
            self.route(base)
            pools.append(self.add("maxpool", stride=1, size=size))
        self.route(*reversed(pools), base)
        for _ in range(self.recipe.spp_pairs):
            self.conv(width, 1)
            last = self.conv(width, 3)
        self.route(last, split)
        return self.conv(width, 1)

    def neck_stage(self, width: int) -> int:
        self.conv(width, 1)
        split = self.conv(width, 1)
        self.route(-2)
        for _ in range(self.recipe.neck_repeats):
            self.conv(width, 1)
            last = self.conv(width, 3)
        self.route(last, split)
        return self.conv(width, 1)

    def top_down(self, top: int, skips: Sequence[int]) -> list[int]:
        """Write the enlarging path; return the map of each scale, fine to coarse."""
        maps = [top]
        for width, skip in zip(self.recipe.top_down, reversed(skips[:-1]), strict=False):
            self.conv(width, 1)
            up = self.add("upsample", stride=2)
            self.route(skip)
            side = self.conv(width, 1)
            self.route(side, up)
            maps.insert(0, self.neck_stage(width))
        return maps

    def bottom_up(self, maps: Sequence[int], *, head_between: bool = False) -> None:
        """Write the shrinking path; with heads between its stages or without."""
        self.outputs = [maps[0]]
        if head_between:
            self.head(0)
        for level, width in enumerate(self.recipe.bottom_up):
            if head_between:
                self.route(self.outputs[-1])
            down = self.conv(width, 3, 2)
            self.route(down, maps[level + 1])
            self.outputs.append(self.neck_stage(width))
            if head_between:
                self.head(level + 1)

    def all_heads(self) -> None:
        """Write the heads, each on its map, with the implicit vectors in front of all."""
        adds: list[int] = []
        muls: list[int] = []
        if self.recipe.has_implicit:
            adds = [self.add("implicit_add", filters=width) for width in self.recipe.heads]
            filters = self.recipe.anchors_per_level * (5 + self.num_classes)
            muls = [self.add("implicit_mul", filters=filters) for _ in self.recipe.heads]
        for level, output in enumerate(self.outputs):
            self.route(output)
            self.head(level, adds[level] if adds else None, muls[level] if muls else None)

    def head(self, level: int, shift: int | None = None, control: int | None = None) -> None:
        """Write convolution, 1x1 convolution and decode of one level."""
        recipe = self.recipe
        per_level = recipe.anchors_per_level
        self.conv(recipe.heads[level], 3)
        if shift is not None:
            self.add("shift_channels", **{"from": shift})
        self.add(
            "convolutional",
            filters=per_level * (5 + self.num_classes),
            size=1,
            stride=1,
            pad=1,
            activation="linear",
        )
        if control is not None:
            self.add("control_channels", **{"from": control})
        first = level * per_level
        self.add(
            "yolo",
            mask=",".join(str(first + index) for index in range(per_level)),
            anchors=recipe.anchors,
            classes=self.num_classes,
            num=per_level * len(recipe.heads),
        )
