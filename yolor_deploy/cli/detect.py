"""``yolor-deploy detect``: find objects in images, and see them."""

from __future__ import annotations

import json
from collections import Counter
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolor_deploy.cli.choices import DeviceOption, TrustOption, device_of

if TYPE_CHECKING:
    from yolor_deploy.detection_report import DetectionReport, ImageDetections


_MOST_ROWS = 20  # of the table on the screen; the files have all


class DetectionFormatOption(str, Enum):
    """Forms that detections are written in."""

    JSON = "json"
    CSV = "csv"
    YOLO = "yolo"


def detect(
    model: Annotated[
        Path,
        typer.Argument(help="Model or engine that `export` or `build` wrote.", metavar="MODEL"),
    ],
    images: Annotated[
        list[str],
        typer.Argument(help="Image files, folders, or quoted patterns.", metavar="IMAGE"),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that everything is written to.")
    ] = Path("detections"),
    score_threshold: Annotated[
        float | None, typer.Option(help="0 to 1, instead of the model's own.")
    ] = None,
    iou_threshold: Annotated[
        float | None, typer.Option(help="0 to 1, instead of the model's own.")
    ] = None,
    device: DeviceOption = None,
    trust: TrustOption = False,
    formats: Annotated[
        list[DetectionFormatOption] | None,
        typer.Option("--format", help="Form of the detections; may be repeated. Default: json."),
    ] = None,
    draw: Annotated[bool, typer.Option("--draw/--no-draw", help="Write annotated images.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the detections as JSON, not as a table.")
    ] = False,
) -> None:
    """Find objects in images; write annotated images and the detections."""
    from yolor_deploy.cli.progress import progress  # noqa: PLC0415 - --help stays fast
    from yolor_deploy.detection_run import DetectConfig, run_detection  # noqa: PLC0415
    from yolor_deploy.detector import Detector  # noqa: PLC0415
    from yolor_deploy.image_files import find_images  # noqa: PLC0415

    chosen = formats or [DetectionFormatOption.JSON]
    config = DetectConfig(output, tuple(item.value for item in chosen), draw=draw)
    files = find_images(images)
    with (
        progress("detecting") as advance,
        Detector(
            model,
            score_threshold=score_threshold,
            iou_threshold=iou_threshold,
            device=device_of(device),
            trust=trust,
        ) as detector,
    ):
        report = run_detection(detector, files, config, progress=advance)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1))
    else:
        _print_table(report, output)


def _print_table(report: DetectionReport, output: Path) -> None:
    from rich.table import Table  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415

    from yolor_deploy.cli.tables import console  # noqa: PLC0415

    left_out = len(report.images) - _MOST_ROWS
    more = f"and {left_out} images more; all " if left_out > 0 else ""
    table = Table(caption=Text(f"{more}written to {_printable(output)}"))
    table.add_column("image", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("objects", justify="right", no_wrap=True)
    table.add_column("classes", overflow="fold")
    for item in report.images[:_MOST_ROWS]:
        table.add_row(
            Text(_printable(item.image.path)),
            f"{item.width}x{item.height}",
            str(len(item.detections)),
            Text(_class_counts(item, report.class_names)),
        )
    console().print(table)


def _class_counts(item: ImageDetections, class_names: tuple[str, ...]) -> str:
    """Return ``3 circle, 1 square``: the most frequent first."""
    counts = Counter(class_names[class_id] for class_id in item.detections.class_ids)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common())


def _printable(path: Path) -> str:
    """Return a path without the bytes that are not UTF-8, which a terminal cannot show."""
    return str(path).encode("utf-8", errors="replace").decode("utf-8")
