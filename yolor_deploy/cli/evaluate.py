"""``yolor-deploy eval``: average precision of a model, or of two."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolor_deploy.cli.choices import DeviceOption, TrustOption, data_files, device_of

if TYPE_CHECKING:
    from yolor_deploy.evaluation.report import Evaluation, PairEvaluation
    from yolor_deploy.measure.bootstrap import Interval

_SIZES = {
    "AP": "ap",
    "AP50": "ap50",
    "AP75": "ap75",
    "AP small": "ap_small",
    "AP medium": "ap_medium",
    "AP large": "ap_large",
}


class ProtocolOption(str, Enum):
    """Ways to bring images to the input size."""

    LETTERBOX = "letterbox"
    YOLOR = "yolor"


class MatchOption(str, Enum):
    """Ways to match categories with classes."""

    NAME = "name"
    ORDER = "order"


def evaluate(
    model: Annotated[
        Path,
        typer.Argument(help="Model or engine that `export` or `build` wrote.", metavar="MODEL"),
    ],
    other: Annotated[
        Path | None, typer.Argument(help="Another, to be compared with it.", metavar="OTHER")
    ] = None,
    *,
    data: Annotated[
        Path | None, typer.Option(help="Folder with annotations.json and images.", metavar="DIR")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="COCO annotations, instead of --data.", metavar="FILE")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of their images.", metavar="DIR")
    ] = None,
    protocol: Annotated[
        ProtocolOption,
        typer.Option(help="The model's own letterbox, or the authors' AP test."),
    ] = ProtocolOption.LETTERBOX,
    score_threshold: Annotated[float, typer.Option(help="0 to 1; AP is over all scores.")] = 0.001,
    iou_threshold: Annotated[float, typer.Option(help="0 to 1, of suppression.")] = 0.65,
    device: DeviceOption = None,
    trust: TrustOption = False,
    match_classes: Annotated[
        MatchOption, typer.Option(help="How categories find the model's classes.")
    ] = MatchOption.NAME,
    bootstrap: Annotated[
        int, typer.Option(help="Samples for the 95 % interval; 0 for none.")
    ] = 500,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="JSON file to write.", metavar="FILE")
    ] = None,
    save_detections: Annotated[
        Path | None,
        typer.Option(help="COCO result file to write; of one model.", metavar="FILE"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, not as tables.")
    ] = False,
) -> None:
    """Measure COCO average precision; of two models also their difference."""
    from yolor_deploy.cli.progress import progress  # noqa: PLC0415 - --help stays fast
    from yolor_deploy.evaluation.run import EvalConfig, evaluate_pair  # noqa: PLC0415
    from yolor_deploy.evaluation.run import evaluate as evaluate_one  # noqa: PLC0415

    if save_detections and other:
        raise typer.BadParameter("it takes one model", param_hint="--save-detections")
    files = data_files(data, annotations, images)
    inputs = [model, files[0], *([other] if other else [])]
    _require_writable(output, "--output", inputs)
    _require_writable(save_detections, "--save-detections", inputs)
    config = EvalConfig(
        *files,
        score_threshold=score_threshold,
        iou_threshold=iou_threshold,
        protocol=protocol.value,
        match_classes=match_classes.value,
        bootstrap=bootstrap,
        device=device_of(device),
        trust=trust,
    )
    with progress("evaluating") as advance:
        if other:
            pair = evaluate_pair(model, other, config, progress=advance)
        else:
            single = evaluate_one(model, config, progress=advance)
    if save_detections:
        _write_json(save_detections, list(single.rows))
    value = pair.to_json() if other else single.to_json()
    if output:
        _write_json(output, value)
    if as_json:
        typer.echo(json.dumps(value, indent=1))
    elif other:
        _show_pair(pair)
    else:
        _show_one(single)


def _require_writable(path: Path | None, option: str, inputs: Sequence[Path]) -> None:
    from yolor_deploy.core.errors import ArtifactError, EvaluationError  # noqa: PLC0415
    from yolor_deploy.output_file import require_writable  # noqa: PLC0415 - beside its use

    if path is None:
        return
    try:
        require_writable(path, inputs=inputs)
    except ArtifactError as error:
        raise EvaluationError(
            error.problem, where=error.where, hint=f"give another file by {option}"
        ) from error


def _write_json(path: Path, value: Any) -> None:
    from yolor_deploy.core.errors import EvaluationError  # noqa: PLC0415 - beside its use
    from yolor_deploy.core.whole_file import whole_file  # noqa: PLC0415

    try:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise EvaluationError(
            f"cannot be written: {error.strerror or error}",
            where=str(path),
            hint="check that the disk has room and that the folder may be written to",
        ) from error


def _show_one(evaluation: Evaluation) -> None:
    accuracy = evaluation.accuracy
    _print_table(
        f"{evaluation.model} on {evaluation.annotations}",
        ("", "points", "95 % interval"),
        [
            (label, _points(getattr(accuracy, name)), _interval(evaluation, name))
            for label, name in _SIZES.items()
        ],
    )
    _print_table(
        "AP by class",
        ("class", "points"),
        [(name, _points(value)) for name, value in accuracy.per_class.items()],
    )
    _show_conditions(evaluation)


def _show_pair(pair: PairEvaluation) -> None:
    a, b = pair.a.accuracy, pair.b.accuracy
    columns = ("A", "B", "B - A")
    _print_table(
        f"A: {pair.a.model}\nB: {pair.b.model}\non {pair.a.annotations}",
        ("", *columns, "95 % interval"),
        [
            (
                label,
                *_difference(getattr(a, name), getattr(b, name)),
                _bounds(pair.interval) if name == "ap" else "",
            )
            for label, name in _SIZES.items()
        ],
    )
    _print_table(
        "AP by class",
        ("class", *columns),
        [
            (name, *_difference(a.per_class.get(name), b.per_class.get(name)))
            for name in a.per_class
        ],
    )
    for name, evaluation in (("A", pair.a), ("B", pair.b)):
        typer.echo(f"{name}: ", nl=False)
        _show_conditions(evaluation)
    typer.echo(pair.verdict)


def _show_conditions(evaluation: Evaluation) -> None:
    """Print how it was measured: without that a number cannot be compared with another."""
    from yolor_deploy.cli.boundary import printable  # noqa: PLC0415 - beside its use

    protocol, nms, accuracy = evaluation.protocol, evaluation.nms, evaluation.accuracy
    nominal = f", long side {protocol.nominal_size}" if protocol.nominal_size else ""
    typer.echo(
        f"{accuracy.images} images, {accuracy.objects} objects; protocol {protocol.name}, "
        f"input {protocol.input_width}x{protocol.input_height}{nominal}; "
        f"score > {nms.score_threshold:g}, IoU {nms.iou_threshold:g}, at most "
        f"{nms.max_detections} detections; {evaluation.median_seconds * 1000:.1f} ms an image"
    )
    for note in (*protocol.notes, *evaluation.notes):
        typer.echo(f"note: {printable(note)}")


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415

    from yolor_deploy.cli.boundary import printable  # noqa: PLC0415
    from yolor_deploy.cli.tables import console  # noqa: PLC0415 - rich

    out = console()
    out.print(Text(printable(title)))
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # a name may look like markup
    out.print(table)


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.2f}"


def _difference(a: float | None, b: float | None) -> tuple[str, str, str]:
    change = "-" if a is None or b is None else f"{(b - a) * 100:+.2f}"
    return _points(a), _points(b), change


def _interval(evaluation: Evaluation, name: str) -> str:
    return _bounds(evaluation.interval) if name == "ap" else ""


def _bounds(interval: Interval | None) -> str:
    return f"[{interval.low * 100:.2f}, {interval.high * 100:.2f}]" if interval else ""
