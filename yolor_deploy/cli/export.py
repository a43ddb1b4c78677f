"""``yolor-deploy export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from yolor_deploy.cli.choices import batch_range, one_of, whole_numbers
from yolor_deploy.cli.stages import shown_stages
from yolor_deploy.core.spec import InputDtype, InputLayout, NmsConfig, OutputKind

if TYPE_CHECKING:
    from yolor_deploy.pipeline import ExportResult

_INPUTS: dict[str, tuple[InputDtype, InputLayout]] = {
    "float32": ("float32", "NCHW"),
    "uint8": ("uint8", "NCHW"),
    "float32-nhwc": ("float32", "NHWC"),
    "uint8-nhwc": ("uint8", "NHWC"),
}
_DEFAULTS = NmsConfig()


def export(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT|NAME",
            help="A .pt, .weights or .safetensors file; or the name of a published model "
            "(see `models`), which gets random weights.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output-file", "-o", help="ONNX file to write.")
    ] = None,
    cfg: Annotated[
        str | None, typer.Option(help="Darknet description: a file, or a published name.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="File with one class name a line.")] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="N|HxW", help="Input size in pixels.", show_default="native"),
    ] = None,
    batch: Annotated[
        str, typer.Option(metavar="N|MIN:OPT:MAX", help="Static batch, or a range.")
    ] = "1",
    output_kind: Annotated[
        str,
        typer.Option("--output", metavar="|".join(get_args(OutputKind)), help="What it ends in."),
    ] = "detections",
    input_kind: Annotated[
        str,
        typer.Option("--input", metavar="|".join(_INPUTS), help="What images it takes; RGB."),
    ] = "float32",
    score_threshold: Annotated[
        float, typer.Option(help="Default of the graph input.")
    ] = _DEFAULTS.score_threshold,
    iou_threshold: Annotated[
        float, typer.Option(help="Default of the graph input.")
    ] = _DEFAULTS.iou_threshold,
    max_detections: Annotated[
        int, typer.Option(help="Rows of the output per image.")
    ] = _DEFAULTS.max_detections,
    max_candidates: Annotated[
        int, typer.Option(help="Best scores of an image that enter suppression.")
    ] = _DEFAULTS.max_candidates,
    multi_label: Annotated[
        bool,
        typer.Option("--multi-label/--best-class", help="Every class of a box, or its best."),
    ] = _DEFAULTS.multi_label,
    class_agnostic: Annotated[
        bool, typer.Option("--class-agnostic", help="Boxes of all classes suppress each other.")
    ] = _DEFAULTS.class_agnostic,
    fold_implicit: Annotated[
        bool,
        typer.Option("--fold-implicit/--no-fold-implicit", help="Fold it into convolutions."),
    ] = True,
    seed: Annotated[int, typer.Option(help="Of random weights and of the proof's image.")] = 0,
    density: Annotated[
        str | None,
        typer.Option(
            metavar="CANDIDATES:OBJECTS",
            help="Of a published name: bias the head so that this comes out of each image.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export a checkpoint to one ONNX file that detects by itself, with proof."""
    nms = NmsConfig(
        score_threshold, iou_threshold, max_detections, max_candidates, multi_label, class_agnostic
    )
    dtype, layout = _INPUTS[one_of(input_kind, _INPUTS, "--input")]
    kind: OutputKind = one_of(output_kind, get_args(OutputKind), "--output")
    batches, sides = batch_range(batch, "--batch"), _size(size) if size else None

    from yolor_deploy.core.density import Density  # noqa: PLC0415 - numpy
    from yolor_deploy.pipeline import ExportConfig  # noqa: PLC0415 - torch
    from yolor_deploy.pipeline import export as run  # noqa: PLC0415 - torch

    config = ExportConfig(
        checkpoint,
        output=output,
        cfg=cfg,
        names=names,
        size=sides,
        batch=batches,
        output_kind=kind,
        dtype=dtype,
        layout=layout,
        nms=nms,
        fold_implicit=fold_implicit,
        seed=seed,
        density=None if density is None else Density.parse(density),
    )
    with shown_stages("export") as note:
        result = run(config, note=note)
    if as_json:
        typer.echo(json.dumps(_as_json(result), indent=2))
    else:
        _show(result)


def _size(text: str) -> tuple[int, int]:
    parts = text.lower().split("x")
    if len(parts) not in {1, 2}:
        parts = [""]
    hint = "such as 1280, or 768x1280"
    numbers = whole_numbers(parts, f"{text!r} is not N or HxW", "--size", hint)
    return numbers[0], numbers[-1]


def _as_json(result: ExportResult) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415 - beside its use

    from yolor_deploy.core.artifact import sha256_of_file  # noqa: PLC0415 - beside its use

    path = result.artifact.path
    return {
        "path": str(path),
        "size_bytes": path.stat().st_size,
        "sha256": sha256_of_file(path),
        "meta": json.loads(result.artifact.meta.to_json()),
        "nodes": result.nodes,
        "fold": [asdict(site) for site in result.sites],
        "proof": [parity.to_json() for parity in result.parities],
        "seconds": result.seconds,
        **({"planted": asdict(result.planted)} if result.planted else {}),
    }


def _show(result: ExportResult) -> None:
    from yolor_deploy.cli.tables import show_fold, show_parities  # noqa: PLC0415 - rich

    meta = result.artifact.meta
    spec = meta.spec
    show_parities(result.parities, title=f"{spec.variant}: proof")
    show_fold(result.sites)
    if result.planted:
        typer.echo(f"random weights: this file measures speed; planted: {result.planted}")
    elif spec.random_weights:
        typer.echo("random weights: this file measures speed, it detects nothing")
    megabytes = result.artifact.path.stat().st_size / 1e6
    total = sum(result.seconds.values())
    nodes = ", ".join(f"{count} {kind}" for kind, count in result.nodes.items())
    typer.echo(f"{sum(result.nodes.values())} nodes: {nodes}")
    typer.echo(f"wrote {result.artifact.path} ({megabytes:.1f} MB) in {total:.1f} s")
