"""``yolor-deploy diff``: may this model replace that one."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yolor_deploy.cli.choices import TrustOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yolor_deploy.measure.difference_report import DifferenceReport, ImageDifference

_SHARE = "as a fraction of the boxes before; `inf` for no limit"
_P99 = "for 99 of 100 boxes; `inf` for no limit"
_DRAW = (
    "Folder for pictures of the worst images: lost boxes are red, added ones blue, those of "
    "another class purple, moved or rescored ones orange, the others grey."
)


def diff(
    before: Annotated[Path, typer.Argument(help="Model that is trusted.", metavar="BEFORE")],
    after: Annotated[
        Path,
        typer.Argument(help="Model that would replace it, of the same classes.", metavar="AFTER"),
    ],
    *,
    images: Annotated[
        list[str],
        typer.Option(help="Image file, folder, or quoted pattern; may be repeated."),
    ],
    score_threshold: Annotated[
        float | None, typer.Option(help="0 to 1, for both models.", show_default="that of BEFORE")
    ] = None,
    margin: Annotated[
        float,
        typer.Option(help="How far below the threshold a box still counts as the same object."),
    ] = 0.05,
    iou: Annotated[
        float, typer.Option(help="IoU from which two boxes are taken for the same object.")
    ] = 0.5,
    max_lost: Annotated[float, typer.Option(help=f"Boxes lost, {_SHARE}.")] = 0.01,
    max_added: Annotated[float, typer.Option(help=f"Boxes added, {_SHARE}.")] = 0.01,
    max_relabelled: Annotated[
        float, typer.Option(help=f"Boxes of another class, {_SHARE}.")
    ] = 0.01,
    max_moved: Annotated[float, typer.Option(help=f"Pixels that an edge moves, {_P99}.")] = 2.0,
    max_iou_loss: Annotated[
        float, typer.Option(help=f"1 - IoU, {_P99}.", show_default="no limit")
    ] = math.inf,
    max_rescored: Annotated[float, typer.Option(help=f"Change of score, {_P99}.")] = 0.05,
    draw: Annotated[Path | None, typer.Option(help=_DRAW)] = None,
    worst: Annotated[
        int, typer.Option(help="How many images are listed, and drawn with --draw.")
    ] = 10,
    trust: TrustOption = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the result here, as JSON.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, not as tables.")
    ] = False,
) -> None:
    """Compare what two models detect; exit code 1 if they differ by more than the limits."""
    from yolor_deploy.cli.progress import progress  # noqa: PLC0415 - --help stays fast
    from yolor_deploy.comparison import DiffConfig, compare_artifacts  # noqa: PLC0415
    from yolor_deploy.image_files import find_images  # noqa: PLC0415
    from yolor_deploy.measure.difference_report import (  # noqa: PLC0415
        DifferenceLimits,
        violations,
    )
    from yolor_deploy.output_file import require_writable  # noqa: PLC0415

    limits = DifferenceLimits(
        max_lost_fraction=max_lost,
        max_added_fraction=max_added,
        max_relabelled_fraction=max_relabelled,
        max_moved_px=max_moved,
        max_iou_loss=max_iou_loss,
        max_rescored=max_rescored,
    )
    config = DiffConfig(score_threshold, margin, iou, limits, draw, worst, trust)
    files = find_images(images)
    if output is not None:
        require_writable(output, inputs=[before, after, *(file.path for file in files)])
    with progress("comparing") as advance:
        report = compare_artifacts(before, after, files, config, progress=advance)
    reasons = violations(report, limits)
    text = json.dumps({**report.to_json(), "passed": not reasons, "violations": reasons}, indent=1)
    if output is not None:
        _write(output, text + "\n")
    if as_json:
        typer.echo(text)
    else:
        _print_summary(report)
        _print_worst(report.worst(worst), draw)
    _require_none(reasons, report, draw)


def _require_none(reasons: Sequence[str], report: DifferenceReport, draw: Path | None) -> None:
    """Raise the reasons not to sign off, a line each."""
    from yolor_deploy.core.errors import EvaluationError  # noqa: PLC0415 - beside its use

    if not reasons:
        return
    pictures = f"look at the pictures in {draw}" if draw else "look at them with --draw DIR"
    hints = [f"{pictures}, and raise a limit only if what you see is right"]
    where = f"{report.after} against {report.before}"
    if report.left_out:
        where += f"; not read: {', '.join(report.left_out)}"
        hints = ["mend or leave out the images that cannot be read", *hints[: len(reasons) - 1]]
    if not report.boxes_before and not report.boxes_after:
        hints = ["give images with objects, or a lower --score-threshold"]
    raise EvaluationError("\n       ".join(reasons), where=where, hint="; ".join(hints))


def _write(path: Path, text: str) -> None:
    from yolor_deploy.core.whole_file import whole_file  # noqa: PLC0415 - beside its use
    from yolor_deploy.output_file import unwritable  # noqa: PLC0415

    try:
        with whole_file(path) as temporary:
            # JSON escapes what is not ASCII, a file name's stray bytes too
            temporary.write_text(text, encoding="ascii")
    except OSError as error:
        raise unwritable(path, error) from error


def _print_summary(report: DifferenceReport) -> None:
    from rich.table import Table  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415

    from yolor_deploy.cli.tables import console  # noqa: PLC0415

    moved, loss, rescored = report.moved_px, report.iou_loss, report.rescored
    title = f"{_printable(report.after)} against {_printable(report.before)}"
    table = Table(title=Text(title), title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    shift = f"mean {rescored.mean:.2g} (bias {rescored.bias:+.2g})"
    for name, value in (
        ("images", f"{len(report.images):,}"),
        ("score threshold", f"{report.score_threshold:g} (margin {report.margin:g})"),
        ("same object from IoU", f"{report.iou_threshold:g}"),
        ("boxes before, after", f"{report.boxes_before:,}, {report.boxes_after:,}"),
        ("kept", f"{report.kept:,}"),
        ("at the threshold", f"{report.at_threshold:,}"),
        ("relabelled", _with_share(report, report.relabelled)),
        ("lost", _with_share(report, report.lost)),
        ("added", _with_share(report, report.added)),
        ("moved", f"p50 {moved.p50:.2g}, p99 {moved.p99:.2g}, max {moved.maximum:.2g} px"),
        ("1 - IoU", f"p50 {loss.p50:.2g}, p99 {loss.p99:.2g}, max {loss.maximum:.2g}"),
        ("rescored", f"{shift}, p99 {rescored.p99:.2g}, max {rescored.maximum:.2g}"),
    ):
        table.add_row(name, value)
    console().print(table)


def _with_share(report: DifferenceReport, count: int) -> str:
    return f"{count:,} ({report.fraction(count):.2%})"


def _print_worst(images: Sequence[ImageDifference], draw: Path | None) -> None:
    from rich.table import Table  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415

    from yolor_deploy.cli.tables import console  # noqa: PLC0415

    if not images:
        return
    caption = Text(f"pictures in {_printable(str(draw))}") if draw else None
    table = Table(title="worst images", title_justify="left", caption=caption)
    table.add_column("image", overflow="fold")
    for column in ("boxes", "lost", "added", "relabelled", "moved px", "1 - IoU", "rescored"):
        table.add_column(column, justify="right", no_wrap=True)
    for image in images:
        row = image.to_json()
        counts = (row[key] for key in ("boxes_before", "lost", "added", "relabelled"))
        largest = (row[key] for key in ("max_moved_px", "max_iou_loss", "max_rescored"))
        table.add_row(
            Text(_printable(image.name)), *map(str, counts), *(f"{value:.2g}" for value in largest)
        )
    console().print(table)


def _printable(path: str) -> str:
    """Return a path without the bytes that are not UTF-8, which a terminal cannot show."""
    return path.encode("utf-8", errors="replace").decode("utf-8")
