"""Inputs that look wrong: found by their statistics before a calibration is spent on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np

from yolor_deploy.core.runtime import Array
from yolor_deploy.core.spec import DetectorSpec
from yolor_deploy.measure.input_statistics import InputStatistics, Levels, has_colours

Severity = Literal["error", "warning"]

FEW_IMAGES = 32
"""With fewer inputs than this, ranges depend on which images were taken."""

_ENOUGH_TO_JUDGE = 8  # inputs, before anything is said of borders
_SWAP_TENSORS = 8  # inputs that the network runs on, twice each
_SWAP_DETECTING = 4  # of these, with anything detected
_SWAP_GAIN = 1.15
_SWAP_SHARE = 0.75  # of the detecting inputs, that are better swapped


@dataclass(frozen=True, slots=True)
class InputFinding:
    """Something about the inputs of a network that looks wrong.

    Attributes:
        kind: Short name that does not change, such as ``above_range``.
        severity: With an ``error`` a calibration is worthless.
        problem: What was found and what was expected.
        hint: What to do about it.
    """

    kind: str
    severity: Severity
    problem: str
    hint: str

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def findings(statistics: InputStatistics, spec: DetectorSpec) -> list[InputFinding]:
    """Judge the inputs of a network by their statistics.

    Where the values have the wrong range, nothing is said of borders: their colour is wrong too.

    Args:
        statistics: After all inputs were added.
        spec: Of the network; the same that the statistics were made for.

    Returns:
        Errors first.
    """
    errors = [
        *_not_finite(statistics),
        *_negative(statistics, spec),
        *_above_range(statistics),
        *_below_range(statistics, spec),
    ]
    warnings = [*_constant(statistics), *_duplicates(statistics), *_few(statistics)]
    if not errors:
        warnings += [*_letterbox(statistics, spec), *_stretched(statistics, spec)]
    return [*errors, *warnings]


def swapped_channels_finding(
    run: Callable[[Array], float], tensors: Sequence[Array], spec: DetectorSpec
) -> InputFinding | None:
    """Ask the detector itself whether it would rather see red and blue swapped.

    No statistic of pixels tells RGB from BGR; a trained detector does, as far as its classes have
    colours. Grey images say nothing and are left out.

    Args:
        run: Returns the sum of the scores of all that is detected in a tensor.
        tensors: Inputs of the network; the first 8 that have colours are used.
        spec: Of the network.

    Returns:
        A warning if something is detected in at least 4 inputs, the sum of scores over all is at
        least 15 % higher with swapped channels, and at least 75 % of these inputs are better so.

    Raises:
        ValueError: A tensor has another type or shape than the network takes.
    """
    coloured = (tensor for tensor in tensors if has_colours(tensor, spec))
    axis = 1 if spec.input.layout == "NCHW" else 3
    scores = []
    for tensor in islice(coloured, _SWAP_TENSORS):
        swapped = np.ascontiguousarray(np.flip(tensor, axis))
        scores.append((run(tensor), run(swapped)))
    detecting = [pair for pair in scores if max(pair) > 0]
    better = sum(1 for given, swapped in detecting if swapped > given)
    given_sum = sum(given for given, _ in detecting)
    swapped_sum = sum(swapped for _, swapped in detecting)
    if (
        len(detecting) < _SWAP_DETECTING
        or better < _SWAP_SHARE * len(detecting)
        or not swapped_sum >= _SWAP_GAIN * given_sum  # NaN is no evidence
    ):
        return None
    return InputFinding(
        "swapped_channels",
        "warning",
        f"with red and blue swapped the scores of {len(detecting)} images add up to "
        f"{swapped_sum:.2f} instead of {given_sum:.2f}, higher in {better} of them: the images "
        "look like BGR, expected RGB",
        "cv2.imread gives BGR: convert with image[..., ::-1] before writing; if the images are "
        "right in a viewer, the model may have been trained on BGR",
    )


def _not_finite(statistics: InputStatistics) -> list[InputFinding]:
    if not statistics.not_finite:
        return []
    return [
        InputFinding(
            "not_finite",
            "error",
            f"{_of(statistics.not_finite, statistics)} have values that are NaN or infinite",
            "mend the preprocessing; a division by zero is the usual cause",
        )
    ]


def _negative(statistics: InputStatistics, spec: DetectorSpec) -> list[InputFinding]:
    if not statistics.negative:
        return []
    means = ", ".join(f"{value:.2f}" for value in statistics.mean)
    return [
        InputFinding(
            "normalised",
            "error",
            f"{_of(statistics.negative, statistics)} have negative values, down to "
            f"{min(statistics.minimum):.3g} (means per channel {means}), expected {_range(spec)}: "
            "they look normalised by a mean",
            "divide by 255, and neither subtract a mean nor divide by a standard deviation",
        )
    ]


def _above_range(statistics: InputStatistics) -> list[InputFinding]:
    if not statistics.above_range:
        return []
    whole = f", {statistics.whole_number_share:.0%} of the values whole numbers above 1"
    return [
        InputFinding(
            "above_range",
            "error",
            f"{_of(statistics.above_range, statistics)} have values above 1, up to "
            f"{max(statistics.maximum):.4g}{whole}, expected 0 to 1",
            "divide by 255, once, and do nothing else to the values",
        )
    ]


def _below_range(statistics: InputStatistics, spec: DetectorSpec) -> list[InputFinding]:
    seen = statistics.count - statistics.not_finite
    if not seen or statistics.single_level < seen:
        return []
    hint = (
        "write pixels as they are, 0 to 255: this network divides by 255 itself"
        if spec.input.dtype == "uint8"
        else "divide by 255 once, not twice"
    )
    return [
        InputFinding(
            "below_range",
            "error",
            f"no value of any image is above {max(statistics.maximum):.3g}, "
            f"expected {_range(spec)}",
            hint,
        )
    ]


def _constant(statistics: InputStatistics) -> list[InputFinding]:
    if not statistics.constant:
        return []
    black = f", {statistics.black} of them black" if statistics.black else ""
    return [
        InputFinding(
            "constant",
            "warning",
            f"{_of(statistics.constant, statistics)} show one single colour{black}",
            "remove them: they narrow the ranges and hold nothing to detect",
        )
    ]


def _duplicates(statistics: InputStatistics) -> list[InputFinding]:
    seen, different = statistics.count - statistics.not_finite, statistics.different
    if seen < 2 or different * 2 > seen:  # noqa: PLR2004 - one image is no copy of another
        return []
    problem = (
        f"all {seen} images are the same"
        if different == 1
        else f"only {different} of {seen} images are different, the others are copies"
    )
    return [
        InputFinding("duplicates", "warning", problem, "give images of different scenes"),
    ]


def _few(statistics: InputStatistics) -> list[InputFinding]:
    if statistics.count >= FEW_IMAGES:
        return []
    return [
        InputFinding(
            "few_images",
            "warning",
            f"{statistics.count} images, expected {FEW_IMAGES} or more",
            "give 100 or more, as varied as what the model will see",
        )
    ]


def _letterbox(statistics: InputStatistics, spec: DetectorSpec) -> list[InputFinding]:
    """Judge tensors that were preprocessed elsewhere: image files are letterboxed here."""
    seen = statistics.count - statistics.not_finite
    if (
        seen < _ENOUGH_TO_JUDGE
        or statistics.preprocessed < seen
        or statistics.with_pad_border
        or statistics.constant == seen
    ):
        return []
    pad = spec.letterbox.pad_value
    expected = f"expected the grey {pad} of the letterbox"
    colour, times = max(
        statistics.other_borders.items(), key=lambda item: item[1], default=((0, 0, 0), 0)
    )
    if times * 2 >= seen:
        return [
            InputFinding(
                "border_colour",
                "warning",
                f"{_of(times, statistics)} have a border of {_name(colour)}, {expected}",
                f"fill the border with {pad}, as in training; or give the image files themselves",
            )
        ]
    return [
        InputFinding(
            "no_letterbox",
            "warning",
            f"none of {seen} images has a border, {expected}: they look stretched or cropped",
            "scale images with their aspect ratio kept, and fill up; or give the image files "
            "themselves. Ignore this if all of them have the aspect ratio of the input",
        )
    ]


def _stretched(statistics: InputStatistics, spec: DetectorSpec) -> list[InputFinding]:
    """Judge image files, of which only the size before letterboxing is known."""
    seen = statistics.count - statistics.not_finite
    image = spec.input
    if (
        seen < _ENOUGH_TO_JUDGE
        or statistics.exact_size < seen
        or statistics.preprocessed
        or image.height != image.width
    ):
        return []
    return [
        InputFinding(
            "exact_size",
            "warning",
            f"all {seen} image files have exactly {image.width} x {image.height} pixels, the size "
            "of the input: they may have been stretched to it",
            "give the original images, which are letterboxed here as for inference",
        )
    ]


def _of(number: int, statistics: InputStatistics) -> str:
    return f"{number} of {statistics.count} images"


def _range(spec: DetectorSpec) -> str:
    return "0 to 255" if spec.input.dtype == "uint8" else "0 to 1"


def _name(colour: Levels) -> str:
    known = {(0, 0, 0): "black", (255, 255, 255): "white"}
    if colour in known:
        return known[colour]
    return f"grey {colour[0]}" if len(set(colour)) == 1 else f"colour {colour}"
