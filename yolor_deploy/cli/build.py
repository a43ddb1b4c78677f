"""``yolor-deploy build``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolor_deploy.cli.choices import calibration_config, one_of
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.precision import GRAPH_TARGETS, GraphTarget, Precision

if TYPE_CHECKING:
    from yolor_deploy.pipeline import BuildResult

_BACKENDS = ("onnxruntime",)
_MOST_TENSORS = 5  # in the table; --json has all


def build(
    model: Annotated[Path, typer.Argument(help="Model that `export` wrote.", metavar="MODEL")],
    output: Annotated[
        Path | None, typer.Option("--output-file", "-o", help="File to write.")
    ] = None,
    *,
    backend: Annotated[
        str, typer.Option(metavar="|".join(_BACKENDS), help="What builds it.")
    ] = "onnxruntime",
    target: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(GRAPH_TARGETS),
            help="Runtime that 8-bit layers are laid out for.",
            show_default="the backend",
        ),
    ] = None,
    fp32: Annotated[bool, typer.Option("--fp32", help="Single precision.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Half precision.")] = False,
    bf16: Annotated[bool, typer.Option("--bf16", help="bfloat16.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="8-bit integers; with --fp16 the rest.")] = (
        False
    ),
    fp8: Annotated[bool, typer.Option("--fp8", help="8-bit floats (E4M3).")] = False,
    calibration: Annotated[
        list[str] | None,
        typer.Option(help="Images to choose ranges by: folder, file, pattern; may be repeated."),
    ] = None,
    calibration_file: Annotated[
        Path | None,
        typer.Option(help="Keeps what was seen of them.", show_default="beside the model"),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="max|percentile|entropy|mse",
            help="How ranges are chosen.",
            show_default="mse; max for fp8",
        ),
    ] = None,
    images: Annotated[int | None, typer.Option(help="Take at most so many, spread evenly.")] = None,
    keep: Annotated[
        list[str] | None, typer.Option(help="Layer that is not quantised; may be repeated.")
    ] = None,
    tuning: Annotated[
        Path | None, typer.Option(help="File that `tune` wrote: layers that are not quantised.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Build a model of fewer bits from an exported one, and tell what that cost."""
    if fp32 and (fp16 or bf16):
        raise BuildError(
            "--fp32 and another float precision are both given",
            where="--fp32",
            hint="give one of them",
        )
    precision = Precision.from_choices(fp16=fp16, bf16=bf16, int8=int8, fp8=fp8)
    one_of(backend, _BACKENDS, "--backend")

    from yolor_deploy.cli.stages import shown_work  # noqa: PLC0415 - beside its use
    from yolor_deploy.pipeline import BuildConfig  # noqa: PLC0415 - late
    from yolor_deploy.pipeline import build as run  # noqa: PLC0415 - late

    kept, for_target = list(keep or []), _target(target, backend)
    if tuning is not None:
        kept += _tuned(tuning, model, precision, for_target)
    config = BuildConfig(
        model,
        output=output,
        precision=precision,
        target=for_target,
        calibration=calibration_config(model, calibration, calibration_file, method, images)
        if calibration or calibration_file
        else None,
        keep=tuple(dict.fromkeys(kept)),
    )
    with shown_work("build") as (note, advance):
        result = run(config, note=note, progress=advance)
    if as_json:
        typer.echo(json.dumps(_as_json(result), indent=2))
    else:
        _show(result)


def _tuned(path: Path, model: Path, precision: Precision, target: GraphTarget) -> tuple[str, ...]:
    """Return the layers that tuning keeps; it holds for one precision and one target."""
    from yolor_deploy.tuning.file import read_tuning  # noqa: PLC0415 - beside its use

    tuning = read_tuning(path, model=model)
    found = (tuning.settings.get("precision"), tuning.settings.get("target"))
    if found != (precision.name, target):
        raise BuildError(
            f"tuned for {found[0]} on {found[1]}, to be built for {precision.name} on {target}",
            where=str(path),
            hint="build with the options that `tune` printed, or tune for this build",
        )
    return tuning.keep


def _target(target: str | None, backend: str) -> GraphTarget:
    name: GraphTarget = one_of(target or backend, GRAPH_TARGETS, "--target")
    return name


def _as_json(result: BuildResult) -> dict[str, Any]:
    from yolor_deploy.core.artifact import sha256_of_file  # noqa: PLC0415 - beside its use

    path = result.artifact.path
    return {
        "path": str(path),
        "size_bytes": path.stat().st_size,
        "sha256": sha256_of_file(path),
        "meta": json.loads(result.artifact.meta.to_json()),
        "sites": result.sites.to_json(),
        "cost": result.cost.to_json(),
        "seconds": result.seconds,
    }


def _show(result: BuildResult) -> None:
    from yolor_deploy.cli.tables import console  # noqa: PLC0415 - rich

    out = console()
    meta, sites, cost = result.artifact.meta, result.sites, result.cost

    def say(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    if result.manifest is not None:
        _show_calibration(result, say)
    if sites.quantised:
        total = len(sites.quantised) + len(sites.kept)
        say(f"8 bits: {len(sites.quantised)} of {total} convolutions")
        for name, reason in sites.kept:
            say(f"  {name}: kept, {reason}")
    for name, reason in sites.float_nodes:
        say(f"  {name}: float32, {reason}")
    if sites.tensors and "16" in meta.precision:
        lossy = sum(item.is_lossy for item in sites.tensors)
        largest = ", ".join(f"{t.name} {t.largest:.4g}" for t in sites.tensors[:_MOST_TENSORS])
        over = sum(item.overflows for item in sites.tensors)
        say(
            f"half precision: {over} of {len(sites.tensors)} tensors may leave its range; {lossy} "
            f"have more than 1 % of their values below 2**-14; the largest: {largest}"
        )
    decibels = ", ".join(f"{value:.1f}" for value in cost.signal_to_noise_db)
    say(
        f"against fp32 on {cost.images} images: raw maps {decibels} dB; detections agree with AP "
        f"{100 * cost.agreement_ap:.2f} ({cost.boxes} boxes)"
    )
    size = result.artifact.path.stat().st_size / 1e6
    target = f" for {meta.target}" if meta.target else ""
    say(
        f"wrote {result.artifact.path} ({meta.precision}{target}, {size:.1f} MB) in "
        f"{sum(result.seconds.values()):.1f} s"
    )


def _show_calibration(result: BuildResult, say: Any) -> None:
    manifest = result.manifest
    assert manifest is not None
    drawn = manifest.preprocessing.get("kind") == "drawn"
    what = "drawn images: give --calibration for real ones" if drawn else "images"
    say(f"calibration: {len(manifest.images)} {what}")
    for name, reason in manifest.skipped:
        say(f"  skipped {name}: {reason}")
    for finding in manifest.findings:
        say(f"  {finding['severity']}: {finding['problem']} ({finding['hint']})")
