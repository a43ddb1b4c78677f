"""``yolor-deploy tune``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolor_deploy.cli.choices import calibration_config, data_files, one_of
from yolor_deploy.core.precision import FLOAT_KINDS, GRAPH_TARGETS, Precision

if TYPE_CHECKING:
    from yolor_deploy.tuning.file import Tuning
    from yolor_deploy.tuning.options import TuneConfig

_WORST = 10  # units in the table; the file has all


def tune(
    model: Annotated[Path, typer.Argument(help="Model that `export` wrote.", metavar="MODEL")],
    *,
    calibration: Annotated[
        list[str] | None,
        typer.Option(help="Images to choose ranges by: folder, file, pattern; may be repeated."),
    ] = None,
    max_ap_drop: Annotated[
        float, typer.Option(help="Most that AP may drop by, points.", metavar="POINTS")
    ] = 0.3,
    target: Annotated[
        str, typer.Option(metavar="|".join(GRAPH_TARGETS), help="Runtime of the result.")
    ] = "tensorrt",
    base: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(FLOAT_KINDS),
            help="What kept layers are.",
            show_default="fp16; fp32 for onnxruntime",
        ),
    ] = None,
    fp8: Annotated[bool, typer.Option("--fp8", help="8-bit floats, not integers.")] = False,
    by: Annotated[
        str, typer.Option(metavar="layer|block", help="What is kept or quantised as one.")
    ] = "layer",
    budget: Annotated[
        float, typer.Option(help="Minutes of this run; a later run goes on.", metavar="MIN")
    ] = 60.0,
    max_trials: Annotated[int | None, typer.Option(help="Of this run.", metavar="N")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with annotations.json and images to score on.", metavar="DIR"),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="COCO annotations, instead of --data.", metavar="FILE")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of their images.", metavar="DIR")
    ] = None,
    match_classes: Annotated[
        str, typer.Option(metavar="name|order", help="How categories find the model's classes.")
    ] = "name",
    score_images: Annotated[
        int | None,
        typer.Option(
            help="Score on at most so many.", show_default="all annotated; else 64", metavar="N"
        ),
    ] = None,
    truth_threshold: Annotated[
        float, typer.Option(help="Without annotations: score of boxes that count as true.")
    ] = 0.25,
    calibration_file: Annotated[
        Path | None,
        typer.Option(help="Keeps what was seen of the images.", show_default="beside the model"),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="max|percentile|entropy|mse",
            help="How ranges are chosen.",
            show_default="mse; max for fp8",
        ),
    ] = None,
    calibration_images: Annotated[
        int | None, typer.Option(help="Calibrate with at most so many.", metavar="N")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="JSON file; goes on if it is there.", metavar="FILE"),
    ] = None,
    picture: Annotated[bool, typer.Option(help="Draw a PNG beside the JSON file.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Choose the layers that must not be quantised, by what they do to detections."""
    from yolor_deploy.cli.stages import shown_work  # noqa: PLC0415 - rich
    from yolor_deploy.tuning.options import TuneConfig  # noqa: PLC0415 - late
    from yolor_deploy.tuning.tune import require_met  # noqa: PLC0415 - late
    from yolor_deploy.tuning.tune import tune as run  # noqa: PLC0415 - late

    files = data_files(data, annotations, images) if data else (annotations, images)
    config = TuneConfig(
        model,
        calibration_config(model, calibration, calibration_file, method, calibration_images),
        output=output,
        precision=_precision(base, target, fp8=fp8),
        target=one_of(target, GRAPH_TARGETS, "--target"),
        annotations=files[0],
        images=files[1],
        match_classes=one_of(match_classes, ("name", "order"), "--match-classes"),
        score_images=score_images,
        truth_threshold=truth_threshold,
        max_ap_drop=max_ap_drop,
        by=one_of(by, ("layer", "block"), "--by"),
        budget_minutes=budget,
        max_trials=max_trials,
        picture=picture,
    )
    with shown_work("tune") as (note, advance):
        result = run(config, note=note, progress=advance)
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=1))
    else:
        _show(result, config)
    require_met(result, config.output_file)


def _precision(base: str | None, target: str, *, fp8: bool) -> Precision:
    chosen = base or ("fp32" if target == "onnxruntime" else "fp16")
    return Precision(one_of(chosen, FLOAT_KINDS, "--base"), "fp8" if fp8 else "int8")


def _show(tuning: Tuning, config: TuneConfig) -> None:
    from yolor_deploy.cli.tables import console  # noqa: PLC0415 - rich

    out = console()

    def say(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    say(f"score: {tuning.assumptions['score']}")
    _show_units(tuning)
    _show_front(tuning)
    say(f"time: {tuning.assumptions['predicted_time']}")
    _show_choice(tuning, say)
    say(f"wrote {config.output_file}" + (f", {config.picture_file}" if config.picture else ""))
    say(_build_command(config))


def _show_units(tuning: Tuning) -> None:
    from yolor_deploy.tuning.search import by_gain  # noqa: PLC0415 - beside its use

    gains = tuning.gains
    rows = {unit.name: unit for unit in tuning.units}
    noise = {
        name: unit.signal_to_noise_db
        for name, unit in rows.items()
        if unit.signal_to_noise_db is not None
    }
    if not gains and not noise:
        return
    order = [name for name in by_gain(list(rows), gains, noise) if name in gains or name in noise]
    ranked = len(noise.keys() - gains.keys())
    _print_table(
        f"units that cost most: {len(gains)} of {len(rows)} measured"
        + (f", {ranked} only ranked" if ranked else ""),
        ("unit", "gain in float [points]", "alone [dB]", "multiply-adds [%]", "kept"),
        [
            (
                name,
                f"{gains[name]:+.2f}" if name in gains else "not measured",
                f"{noise[name]:.1f}" if name in noise else "-",
                f"{100 * rows[name].share:.2f}",
                "yes" if name in tuning.kept_units else "",
            )
            for name in order[:_WORST]
        ],
    )


def _show_front(tuning: Tuning) -> None:
    _print_table(
        "Pareto front",
        ("in float", "drop [points]", "multiply-adds in float [%]", "predicted time", ""),
        [
            (
                _kept(trial.keep, len(tuning.units)),
                f"{trial.drop:.2f}",
                f"{100 * trial.float_share:.2f}",
                f"{trial.predicted_time:.3f}",
                "chosen" if set(trial.keep) == set(tuning.kept_units) else "",
            )
            for trial in tuning.front
        ],
    )


def _show_choice(tuning: Tuning, say: Any) -> None:
    baseline, checked = tuning.baseline, tuning.verification
    assert baseline is not None
    assert checked is not None
    assert tuning.float_score is not None
    kind = tuning.settings["score"]
    say(
        f"{kind}: float {100 * tuning.float_score:.2f}, all units in 8 bits "
        f"{100 * baseline.score:.2f} (drop {baseline.drop:.2f}), chosen {100 * checked.score:.2f}"
    )
    say(
        f"verified: drop {checked.drop:.2f} points, {100 * checked.level:.0f} % interval "
        f"[{checked.drop_low:.2f}, {checked.drop_high:.2f}] over these images; limit "
        f"{tuning.max_ap_drop:g}; {_kept(tuning.kept_units, len(tuning.units))} in float"
    )
    if tuning.state == "met" and checked.drop_high > tuning.max_ap_drop:
        say(
            "note: the interval reaches beyond the limit, and the set was chosen on these images: "
            "evaluate the built model on others"
        )
    if not tuning.search_complete:
        say("the budget was spent before the search had come to an end; a second run goes on")


def _kept(names: Sequence[str], total: int) -> str:
    if not names:
        return "nothing"
    if len(names) == total:
        return "all"
    return names[0] if len(names) == 1 else f"{len(names)} of {total} units"


def _build_command(config: TuneConfig) -> str:
    precision, calibration = config.precision, config.calibration
    words = ["yolor-deploy", "build", str(config.model), f"--{precision.quantised}"]
    if precision.base != "fp32":
        words.append(f"--{precision.base}")
    words += ["--target", config.target]
    for source in calibration.images:
        words += ["--calibration", source]
    if calibration.limit is not None:
        words += ["--images", str(calibration.limit)]
    words += ["--calibration-file", str(calibration.file), "--method", config.method]
    return shlex.join([*words, "--tuning", str(config.output_file)])


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table  # noqa: PLC0415 - slow to load
    from rich.text import Text  # noqa: PLC0415

    from yolor_deploy.cli.tables import console  # noqa: PLC0415 - rich

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if 0 < number < len(columns) - 1 else "left")
    for row in rows:
        table.add_row(*map(Text, row))  # a name may look like markup
    console().print(table)
