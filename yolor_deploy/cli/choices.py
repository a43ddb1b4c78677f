"""What several commands take from their options."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.spec import BatchRange

if TYPE_CHECKING:
    from yolor_deploy.precision_stages import CalibrationConfig

_MOST_DIGITS = 9

DeviceOption = Annotated[
    str | None,
    typer.Option(
        metavar="cpu|cuda|cuda:N",
        help="What runs the network.",
        show_default="cpu for a model, a GPU for an engine",
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Open an engine that is not the one of its passport, or has none: it is code.",
    ),
]


def device_of(text: str | None) -> RuntimeDevice | None:
    """Return the device that is asked for, or None if none is.

    Raises:
        BackendUnavailableError: It is no device.
    """
    return None if text is None else RuntimeDevice.parse(text)


def one_of(value: str, choices: Collection[str], option: str) -> Any:
    """Return a value that is one of those allowed.

    Raises:
        BuildError: It is none of them.
    """
    if value not in choices:
        raise BuildError(
            f"{value!r} is not one of {', '.join(choices)}", where=option, hint="choose one of them"
        )
    return value


def batch_range(text: str, option: str) -> BatchRange:
    """Return the batch sizes of ``N`` or ``MIN:OPT:MAX``.

    Raises:
        BuildError: It is neither, or not in that order.
    """
    parts = text.split(":")
    if len(parts) not in {1, 3}:
        parts = [""]
    numbers = whole_numbers(
        parts, f"{text!r} is not N or MIN:OPT:MAX", option, "such as 1, or 1:4:16"
    )
    try:
        return BatchRange(*(numbers * 3 if len(numbers) == 1 else numbers))
    except BuildError as error:  # which takes it for that of `export`
        raise BuildError(error.problem, where=option, hint=error.hint) from error


def whole_numbers(parts: Sequence[str], problem: str, option: str, hint: str) -> list[int]:
    """Return parts of an option as numbers of 0 and more.

    Raises:
        BuildError: One is no such number; the error has these texts.
    """
    if not all(part.isdecimal() and len(part) <= _MOST_DIGITS for part in parts):
        raise BuildError(problem, where=option, hint=hint)
    return [int(part) for part in parts]


def calibration_config(
    model: Path,
    sources: Sequence[str] | None,
    file: Path | None,
    method: str | None,
    limit: int | None,
) -> CalibrationConfig:
    """Return where ranges come from; what was seen is kept beside the model if not said.

    Raises:
        BuildError: The method is unknown.
    """
    from yolor_deploy.measure.ranges import CalibrationMethod  # noqa: PLC0415 - numpy
    from yolor_deploy.precision_stages import CalibrationConfig  # noqa: PLC0415 - numpy

    chosen = None if method is None else one_of(method, get_args(CalibrationMethod), "--method")
    path = file or model.with_suffix(".calibration.npz")
    return CalibrationConfig(tuple(sources or ()), path, chosen, limit)


def data_files(
    data: Path | None, annotations: Path | None, images: Path | None
) -> tuple[Path, Path]:
    """Return annotation file and folder of images, named by --data or one by one.

    Raises:
        typer.BadParameter: Neither is given, or both.
        EvaluationError: The folder lacks one of them.
    """
    from yolor_deploy.evaluation.data import files_of_folder  # noqa: PLC0415 - Pillow

    if data and not (annotations or images):
        return files_of_folder(data)
    if annotations and images and not data:
        return annotations, images
    raise typer.BadParameter(
        "give --data DIR, or --annotations FILE and --images DIR", param_hint="--data"
    )
