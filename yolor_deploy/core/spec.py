"""What a detector is, apart from its weights: levels, input, classes, post-processing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from yolor_deploy.core.errors import BuildError

InputDtype = Literal["float32", "uint8"]
InputLayout = Literal["NCHW", "NHWC"]
OutputKind = Literal["raw", "predictions", "detections"]


@dataclass(frozen=True, slots=True)
class HeadLevel:
    """One detection scale.

    Attributes:
        stride: Input pixels per cell of this level's map.
        anchors_px: (width, height) of each anchor, input pixels.
    """

    stride: int
    anchors_px: tuple[tuple[float, float], ...]

    @property
    def num_anchors(self) -> int:
        """Anchors per cell."""
        return len(self.anchors_px)


@dataclass(frozen=True, slots=True)
class BatchRange:
    """Batch sizes that an artifact takes; static where all three are equal."""

    minimum: int = 1
    optimum: int = 1
    maximum: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.optimum <= self.maximum:
            raise BuildError(
                f"batch range {self.minimum}:{self.optimum}:{self.maximum} is not "
                "1 <= MIN <= OPT <= MAX",
                where="--batch",
                hint="give one number for a static batch, or MIN:OPT:MAX, such as 1:4:16",
            )

    @property
    def is_static(self) -> bool:
        """Whether only one batch size is taken."""
        return self.minimum == self.maximum


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The image tensor that an artifact takes.

    Attributes:
        height: Pixels.
        width: Pixels.
        batch: Images per run.
        dtype: float32 in 0..1, or uint8 in 0..255 with the division inside the graph.
        layout: Order of axes; the channels are RGB.
    """

    height: int
    width: int
    batch: BatchRange = field(default_factory=BatchRange)
    dtype: InputDtype = "float32"
    layout: InputLayout = "NCHW"

    def shape(self, batch: int) -> tuple[int, int, int, int]:
        """Return the shape of an input of ``batch`` images."""
        if self.layout == "NCHW":
            return (batch, 3, self.height, self.width)
        return (batch, self.height, self.width, 3)


@dataclass(frozen=True, slots=True)
class LetterboxRule:
    """How an image is brought to the input size.

    Attributes:
        pad_value: Grey level of the border, 0..255.
        scale_up: Whether a small image is enlarged.

    Source: the authors' detection scripts: border 114, enlarged; their AP test does not enlarge.
    """

    pad_value: int = 114
    scale_up: bool = True


@dataclass(frozen=True, slots=True)
class NmsConfig:
    """Post-processing: the meaning of ``yolor_deploy::YolorNMS``.

    A candidate is a pair (anchor, class) with ``objectness * class_score > score_threshold``.

    Attributes:
        score_threshold: Default of the graph input ``score_threshold``; compared with ``>``.
        iou_threshold: Default of the graph input ``iou_threshold``; a box is suppressed by a
            better one of its class when their IoU is ``>`` this.
        max_detections: Rows of the output per image.
        max_candidates: The best this many candidates of an image enter suppression; the others
            are dropped. Below the number of candidates above the threshold it lowers recall.
        multi_label: Every class of an anchor above the threshold is a candidate; otherwise only
            its best class.
        class_agnostic: Boxes of different classes suppress each other.

    Source: ``non_max_suppression`` of the authors' repositories; they have no ``max_candidates``.
    """

    score_threshold: float = 0.25
    iou_threshold: float = 0.45
    max_detections: int = 300
    max_candidates: int = 30_000
    multi_label: bool = True
    class_agnostic: bool = False

    def __post_init__(self) -> None:
        for name in ("score_threshold", "iou_threshold"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:  # NaN fails too
                raise BuildError(
                    f"{name} is {value}, expected 0 to 1",
                    where=f"--{name.replace('_', '-')}",
                    hint="give a fraction, such as 0.25",
                )
        for name in ("max_detections", "max_candidates"):
            value = getattr(self, name)
            if value < 1:
                raise BuildError(
                    f"{name} is {value}, expected 1 or more",
                    where=f"--{name.replace('_', '-')}",
                    hint="give a positive number",
                )


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """A detector without its weights.

    Attributes:
        family: The folder of ``families/`` that read it.
        variant: Published name, such as ``yolor-p6``, or ``custom``.
        class_names: One name per class, in the order of the class scores.
        levels: Detection scales, finest stride first.
        input: The image tensor.
        letterbox: How images are brought to the input size.
        random_weights: The weights were drawn, not trained: nothing will be detected.
    """

    family: str
    variant: str
    class_names: tuple[str, ...]
    levels: tuple[HeadLevel, ...]
    input: InputSpec
    letterbox: LetterboxRule = field(default_factory=LetterboxRule)
    random_weights: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def max_stride(self) -> int:
        """The stride that height and width are multiples of."""
        return max(level.stride for level in self.levels)

    def head_shape(self, level: HeadLevel) -> tuple[int, int, int]:
        """Return (channels, height, width) of the raw map of ``level``."""
        channels = level.num_anchors * (5 + self.num_classes)
        return channels, self.input.height // level.stride, self.input.width // level.stride

    @property
    def num_boxes(self) -> int:
        """Anchors of all cells of all levels: rows of ``predictions``."""
        return sum(
            level.num_anchors * self.head_shape(level)[1] * self.head_shape(level)[2]
            for level in self.levels
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain dicts and lists, as stored in an artifact."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> DetectorSpec:
        """Read what ``to_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: The value is not of that form.
        """
        image = value["input"]
        return DetectorSpec(
            family=str(value["family"]),
            variant=str(value["variant"]),
            class_names=tuple(str(name) for name in value["class_names"]),
            levels=tuple(
                HeadLevel(
                    int(level["stride"]),
                    tuple((float(w), float(h)) for w, h in level["anchors_px"]),
                )
                for level in value["levels"]
            ),
            input=InputSpec(
                height=int(image["height"]),
                width=int(image["width"]),
                batch=BatchRange(**image["batch"]),
                dtype=image["dtype"],
                layout=image["layout"],
            ),
            letterbox=LetterboxRule(**value["letterbox"]),
            random_weights=bool(value["random_weights"]),
        )
