"""``yolor-deploy build``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolor_deploy.cli.build_engine import EngineFlags, build_engine
from yolor_deploy.cli.choices import calibration_config, one_of
from yolor_deploy.cli.lowering import lowering_json, show_lowering
from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.precision import GRAPH_TARGETS, GraphTarget, Precision

if TYPE_CHECKING:
    from yolor_deploy.pipeline import BuildConfig, BuildResult
    from yolor_deploy.precision_stages import CalibrationConfig

_BACKENDS = ("onnxruntime", "tensorrt", "tensorrt_rtx")
_ENGINES = "Engines of TensorRT and TensorRT-RTX"


def build(
    model: Annotated[Path, typer.Argument(help="Model that `export` wrote.", metavar="MODEL")],
    output: Annotated[
        Path | None, typer.Option("--output-file", "-o", help="File to write.")
    ] = None,
    *,
    backend: Annotated[
        str,
        typer.Option(
            metavar="|".join(_BACKENDS),
            help="What builds it; the latter two build engines, for GPUs.",
        ),
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
    nms: Annotated[
        str | None,
        typer.Option(
            metavar="plugin|kernels|ops",
            help="What finds the detections: our plugin inside the engine, our kernels behind it, "
            "or standard operators inside.",
            show_default="plugin where there is one",
            rich_help_panel=_ENGINES,
        ),
    ] = None,
    compute_capability: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X.Y",
            help="GPU to build for, such as 8.6; may be repeated; tensorrt_rtx only.",
            rich_help_panel=_ENGINES,
        ),
    ] = None,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N|MIN:OPT:MAX",
            help="Batch sizes to optimise for; may be repeated.",
            show_default="those of the model",
            rich_help_panel=_ENGINES,
        ),
    ] = None,
    workspace: Annotated[
        int | None,
        typer.Option(
            metavar="MIB",
            help="Most scratch memory of a layer.",
            show_default="all there is",
            rich_help_panel=_ENGINES,
        ),
    ] = None,
    optimization_level: Annotated[
        int | None,
        typer.Option(
            metavar="0..5",
            help="How long tactics are searched.",
            show_default="TensorRT's",
            rich_help_panel=_ENGINES,
        ),
    ] = None,
    aux_streams: Annotated[
        int | None,
        typer.Option(
            help="Most streams beside the main one.",
            show_default="TensorRT's",
            rich_help_panel=_ENGINES,
        ),
    ] = None,
    tf32: Annotated[
        bool | None,
        typer.Option(
            "--tf32/--no-tf32",
            help="Round products of float32 to 10 bits of mantissa.",
            show_default="off",
            rich_help_panel=_ENGINES,
        ),
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            help="Keeps what was timed; tensorrt only.",
            show_default="beside the engine",
            rich_help_panel=_ENGINES,
        ),
    ] = None,
    plugin_library: Annotated[
        Path | None,
        typer.Option(
            help="The plugin's library: its code is run.",
            show_default="that of the package",
            rich_help_panel=_ENGINES,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Build a model of fewer bits from an exported one, or an engine, and tell what that cost."""
    if fp32 and (fp16 or bf16):
        raise BuildError(
            "--fp32 and another float precision are both given",
            where="--fp32",
            hint="give one of them",
        )
    precision = Precision.from_choices(fp16=fp16, bf16=bf16, int8=int8, fp8=fp8)
    flags = EngineFlags(
        nms=nms,
        compute_capability=compute_capability,
        profile=profile,
        workspace=workspace,
        optimization_level=optimization_level,
        aux_streams=aux_streams,
        tf32=tf32,
        timing_cache=timing_cache,
        plugin_library=plugin_library,
    )
    one_of(backend, _BACKENDS, "--backend")
    for_target = _target(target, backend)
    kept = list(keep or [])
    if tuning is not None:
        kept += _tuned(tuning, model, precision, for_target)
    from yolor_deploy.pipeline import BuildConfig, EngineConfig  # noqa: PLC0415 - late

    config = BuildConfig(
        model,
        output=output,
        precision=precision,
        target=for_target,
        calibration=_calibration(model, calibration, calibration_file, method, images),
        keep=tuple(dict.fromkeys(kept)),
    )
    if backend == "onnxruntime":
        flags.refuse()
        _build(config, as_json=as_json)
        return
    engine_config = EngineConfig(
        model,
        output=output,
        backend="tensorrt" if backend == "tensorrt" else "tensorrt_rtx",
        precision=precision if fp32 or fp16 or bf16 or int8 or fp8 else None,
        calibration=config.calibration,
        keep=config.keep,
        engine=flags.options(),
    )
    build_engine(engine_config, as_json=as_json)


def _build(config: BuildConfig, *, as_json: bool) -> None:
    from yolor_deploy.cli.stages import shown_work  # noqa: PLC0415 - beside its use
    from yolor_deploy.pipeline import build as run  # noqa: PLC0415 - late

    with shown_work("build") as (note, advance):
        result = run(config, note=note, progress=advance)
    if as_json:
        typer.echo(json.dumps(_as_json(result), indent=2))
    else:
        _show(result)


def _calibration(
    model: Path,
    sources: list[str] | None,
    file: Path | None,
    method: str | None,
    limit: int | None,
) -> CalibrationConfig | None:
    """Return where ranges come from; None where nothing is to be calibrated.

    Raises:
        BuildError: The method is unknown, or an option would have no effect.
    """
    if sources or file:
        return calibration_config(model, sources, file, method, limit)
    for option, value in (("--method", method), ("--images", limit)):
        if value is not None:
            raise BuildError(
                "an option of calibration, and neither images nor a calibration file are given",
                where=option,
                hint="give --calibration too, or leave it out",
            )
    return None


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
    if backend == "onnxruntime":
        name: GraphTarget = one_of(target or backend, GRAPH_TARGETS, "--target")
        return name
    if target not in {None, "tensorrt"}:
        one_of(target or "", GRAPH_TARGETS, "--target")
        raise BuildError(
            f"an engine of {backend} needs the layout of tensorrt",
            where=f"--target {target}",
            hint="leave it out",
        )
    return "tensorrt"


def _as_json(result: BuildResult) -> dict[str, Any]:
    from yolor_deploy.core.artifact import sha256_of_file  # noqa: PLC0415 - beside its use

    path = result.artifact.path
    return {
        "path": str(path),
        "size_bytes": path.stat().st_size,
        "sha256": sha256_of_file(path),
        "meta": json.loads(result.artifact.meta.to_json()),
        **lowering_json(result),
        "seconds": result.seconds,
    }


def _show(result: BuildResult) -> None:
    from yolor_deploy.cli.tables import say  # noqa: PLC0415 - rich

    show_lowering(result, say)
    meta, size = result.artifact.meta, result.artifact.path.stat().st_size / 1e6
    target = f" for {meta.target}" if meta.target else ""
    say(
        f"wrote {result.artifact.path} ({meta.precision}{target}, {size:.1f} MB) in "
        f"{sum(result.seconds.values()):.1f} s"
    )
