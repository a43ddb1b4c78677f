"""``yolor-deploy verify``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from yolor_deploy.cli.stages import shown_stages


def verify(
    model: Annotated[Path, typer.Argument(help="ONNX file that `export` wrote.")],
    against: Annotated[
        str, typer.Option(help="Checkpoint that it was exported from, or the published name.")
    ],
    cfg: Annotated[
        str | None, typer.Option(help="Darknet description: a file, or a published name.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Image or folder of images.", show_default="a drawn image")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compare an ONNX file with its checkpoint: folded, ONNX, head, detections."""
    from yolor_deploy.core.artifact import Artifact  # noqa: PLC0415 - beside its use
    from yolor_deploy.image_files import find_images  # noqa: PLC0415 - Pillow
    from yolor_deploy.verification import verify as run  # noqa: PLC0415 - torch

    artifact = Artifact.read(model)
    paths = [file.path for file in find_images([images])] if images else []
    with shown_stages("verify") as note:
        report = run(artifact, against=against, cfg=cfg, images=paths, note=note)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "path": str(model),
                    "against": against,
                    "passed": report.passed,
                    "images": list(report.images),
                    "proof": [parity.to_json() for parity in report.parities],
                },
                indent=2,
            )
        )
    else:
        from yolor_deploy.cli.tables import show_parities  # noqa: PLC0415 - rich

        show_parities(report.parities, title=f"{model} against {against}")
        typer.echo("same within rounding" if report.passed else "DIFFERENT")
    if not report.passed:
        raise typer.Exit(1)
