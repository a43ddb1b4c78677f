"""``yolor-deploy bench``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from yolor_deploy.cli.boundary import printable
from yolor_deploy.cli.choices import DeviceOption, TrustOption, device_of, one_of

if TYPE_CHECKING:
    from yolor_deploy.benchmark.options import BenchConfig, Recipe
    from yolor_deploy.measure.latency.record import Record, Settings
    from yolor_deploy.measure.latency.summary import Summary

_SECONDS_PER_ARTIFACT = 60.0
_INTERRUPTED = 130


def bench(
    artifacts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARTIFACT|NAME",
            help="Models or engines; or names of published models (see `models`), which are made "
            "with random weights.",
        ),
    ] = None,
    *,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="ARTIFACT|NAME",
            help="What ratios are taken against; a name is made like the first artifact.",
        ),
    ] = None,
    suite: Annotated[
        str | None, typer.Option(metavar="yolor", help="All published models of a family.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of the artifacts, what ratios are taken against.",
            show_default="the last",
        ),
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            help="Pictures to run on: folder, file, pattern; may be repeated.",
            show_default="drawn ones",
        ),
    ] = None,
    density: Annotated[
        str | None,
        typer.Option(
            metavar="CANDIDATES:OBJECTS",
            help="Per image, of models of random weights.",
            show_default="1000:100",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Images a run.")] = 1,
    streams: Annotated[
        list[int] | None,
        typer.Option(help="Measure throughput too, with so many sessions; may be repeated."),
    ] = None,
    noise: Annotated[
        float, typer.Option(help="Stop when medians are known so well, percent.", metavar="PCT")
    ] = 1.0,
    time_limit: Annotated[
        float | None,
        typer.Option(help="Of sampling, seconds.", show_default="60 per artifact", metavar="S"),
    ] = None,
    min_samples: Annotated[int, typer.Option(help="Of each artifact, at least.")] = 20,
    max_samples: Annotated[int, typer.Option(help="Of each artifact, at most.")] = 10_000,
    warmup: Annotated[float, typer.Option(help="Least warm-up of each, seconds.")] = 1.0,
    fp16: Annotated[bool, typer.Option("--fp16", help="Make models of names so.")] = False,
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="onnxruntime|tensorrt|tensorrt_rtx",
            help="Runtime of models of names.",
            show_default="that of the first artifact",
        ),
    ] = None,
    optimization_level: Annotated[
        int | None, typer.Option(help="Of engines of names, 0 to 5.", metavar="N")
    ] = None,
    work: Annotated[
        Path, typer.Option(help="Folder that models of names are kept in.", metavar="DIR")
    ] = Path("yolor-bench"),
    device: DeviceOption = None,
    trust: TrustOption = False,
    layers: Annotated[
        bool, typer.Option(help="Count and profile layers; measure the machine's peak.")
    ] = True,
    curve: Annotated[bool, typer.Option(help="Time post-processing at several densities.")] = True,
    allow_different_work: Annotated[
        bool,
        typer.Option("--allow-different-work", help="Compare other classes or thresholds too."),
    ] = False,
    allow_shared_gpu: Annotated[
        bool,
        typer.Option("--allow-shared-gpu", help="Measure on a GPU that others compute on too."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if invalid.")] = False,
    seed: Annotated[int, typer.Option(help="Of random weights and drawn pictures.")] = 0,
    replay: Annotated[
        Path | None,
        typer.Option(help="Show samples of an earlier benchmark again.", metavar="FILE"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="JSON file of all samples; goes on if unfinished.",
            metavar="FILE",
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="HTML page to write.", metavar="FILE")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all samples as JSON, not as tables.")
    ] = False,
) -> None:
    """Measure latency, side by side, and whether it can be trusted."""
    if replay is not None:
        record = _replayed(replay, artifacts or [], against, suite, reference, (output, report))
    else:
        from yolor_deploy.benchmark.options import BenchConfig  # noqa: PLC0415 - late
        from yolor_deploy.benchmark.planting import Density  # noqa: PLC0415 - late
        from yolor_deploy.source import require_seed  # noqa: PLC0415 - beside its use

        require_seed(seed)
        subjects = _subjects(artifacts or [], suite)
        config = BenchConfig(
            subjects,
            settings=_settings(
                noise=noise,
                min_samples=min_samples,
                max_samples=max_samples,
                time_limit_s=_SECONDS_PER_ARTIFACT * (len(subjects) + bool(against))
                if time_limit is None
                else time_limit,
                warmup_s=warmup,
                batch=batch,
                streams=tuple(streams or ()),
                reference=reference,
            ),
            against=against,
            recipe=_recipe(backend, optimization_level, fp16=fp16),
            images=tuple(images or ()),
            density=None if density is None else Density.parse(density),
            device=device_of(device),
            trust=trust,
            work=work,
            allow_shared_gpu=allow_shared_gpu,
            allow_different_work=allow_different_work,
            layers=layers,
            curve=curve,
            output=output,
            seed=seed,
            command=("yolor-deploy", *sys.argv[1:]),
        )
        record = _measured(config, report)
    _tell(
        record,
        report,
        as_json=as_json,
        output=output,
        strict=strict,
        is_replay=replay is not None,
    )


def _subjects(artifacts: Sequence[str], suite: str | None) -> tuple[str, ...]:
    from yolor_deploy.benchmark.options import SUITES  # noqa: PLC0415 - late

    if suite is not None:
        artifacts = [*artifacts, *SUITES[one_of(suite, SUITES, "--suite")]]
    if not artifacts:
        raise typer.BadParameter("give one or more, --suite, or --replay", param_hint="ARTIFACT")
    return tuple(artifacts)


def _recipe(backend: Any, level: int | None, *, fp16: bool) -> Recipe:
    from yolor_deploy.benchmark.options import Recipe  # noqa: PLC0415 - late
    from yolor_deploy.core.precision import Precision  # noqa: PLC0415 - beside its use

    if backend is not None:
        backend = one_of(backend, ("onnxruntime", "tensorrt", "tensorrt_rtx"), "--backend")
    return Recipe(Precision("fp16") if fp16 else None, backend, level)


def _settings(
    *,
    noise: float,
    min_samples: int,
    max_samples: int,
    time_limit_s: float,
    warmup_s: float,
    batch: int,
    streams: tuple[int, ...],
    reference: str | None,
) -> Settings:
    from yolor_deploy.benchmark.limits import require_settings  # noqa: PLC0415 - late
    from yolor_deploy.measure.latency.record import Settings  # noqa: PLC0415 - late

    settings = Settings(
        noise_target=noise / 100,
        min_samples=min_samples,
        max_samples=max_samples,
        time_limit_s=time_limit_s,
        warmup_s=warmup_s,
        batch=batch,
        streams=streams,
        reference=reference,
    )
    require_settings(settings)
    return settings


def _replayed(
    replay: Path,
    artifacts: Sequence[str],
    against: str | None,
    suite: str | None,
    reference: str | None,
    outputs: tuple[Path | None, Path | None],
) -> Record:
    from yolor_deploy.measure.latency.record_file import read_record  # noqa: PLC0415 - late

    if artifacts or against or suite:
        raise typer.BadParameter("it measures nothing: leave artifacts out", param_hint="--replay")
    _require_outputs(*outputs, inputs=[replay])
    record = read_record(replay)
    if reference is None:
        return record
    from yolor_deploy.benchmark.limits import require_reference  # noqa: PLC0415 - late

    require_reference(reference, [subject.name for subject in record.subjects])
    return replace(record, settings=replace(record.settings, reference=reference))


def _measured(config: BenchConfig, report: Path | None) -> Record:
    from yolor_deploy.benchmark.run import run_benchmark  # noqa: PLC0415 - late
    from yolor_deploy.cli.bench_progress import shown_bench  # noqa: PLC0415 - rich
    from yolor_deploy.image_files import find_images  # noqa: PLC0415 - Pillow

    inputs = [Path(subject) for subject in config.all_subjects]
    pictures = [file.path for file in find_images(config.images)] if config.images else []
    _require_outputs(config.output, report, inputs=[*inputs, *pictures])
    if report is not None:
        from yolor_deploy.benchmark.report.plots import require_matplotlib  # noqa: PLC0415 - late

        require_matplotlib(str(report))  # before the long work, not after it

    def save(record: Record) -> None:
        assert config.output is not None
        _write(record, config.output)

    with shown_bench(config.settings) as (note, progress):
        return run_benchmark(
            config, note=note, progress=progress, save=save if config.output else None
        )


def _require_outputs(output: Path | None, report: Path | None, *, inputs: Sequence[Path]) -> None:
    """Refuse what cannot be written, or would be written over something else that is needed.

    Raises:
        ArtifactError: With the option.
    """
    from yolor_deploy.core.artifact import passport_path  # noqa: PLC0415 - beside its use
    from yolor_deploy.core.errors import ArtifactError  # noqa: PLC0415 - beside its use
    from yolor_deploy.output_file import require_writable  # noqa: PLC0415 - beside its use

    read = [*inputs, *map(passport_path, inputs)]
    for path, option in ((output, "-o"), (report, "--report")):
        if path is not None:
            require_writable(path, inputs=read, option=option)
    if output is not None and report is not None and output.resolve() == report.resolve():
        raise ArtifactError(
            "samples and page have the same name",
            where=str(report),
            hint="give another name with --report",
        )


def _tell(
    record: Record,
    report: Path | None,
    *,
    as_json: bool,
    output: Path | None,
    strict: bool,
    is_replay: bool,
) -> None:
    """Print what a record says, write its page, and exit by its state.

    Raises:
        EvaluationError: There is no sample; or ``strict``, and it is not valid.
    """
    from yolor_deploy.measure.latency.summarise import summarise  # noqa: PLC0415 - late

    _require_samples(record)
    summary = summarise(record)
    if as_json:
        typer.echo(json.dumps({**record.to_json(), "summary": summary.to_json()}, indent=1))
    else:
        from yolor_deploy.cli.bench_tables import show  # noqa: PLC0415 - rich

        show(record, summary)
    if output is not None and is_replay:
        _write(record, output)
    if report is not None:  # after the tables: a full disk must not lose them
        from yolor_deploy.benchmark.report.page import write_report  # noqa: PLC0415 - late

        write_report(record, summary, report)
    if not as_json:
        from yolor_deploy.cli.tables import say  # noqa: PLC0415 - rich

        for path in (output, report):
            if path is not None:
                say(f"wrote {printable(str(path))}")
    if strict:
        _require_valid(summary)
    if record.interrupted and not is_replay:
        raise typer.Exit(_INTERRUPTED)


def _require_samples(record: Record) -> None:
    from yolor_deploy.core.errors import EvaluationError  # noqa: PLC0415 - beside its use

    if not any(subject.at_s for subject in record.subjects):
        raise EvaluationError(
            "no samples: it was stopped before the first",
            where=shlex.join(record.command),
            hint="measure again: a sample is one run of the whole network",
        )


def _require_valid(summary: Summary) -> None:
    from yolor_deploy.core.errors import EvaluationError  # noqa: PLC0415 - beside its use

    reasons = [finding for finding in summary.findings if finding.severity == "invalid"]
    if reasons:
        raise EvaluationError(
            f"invalid: {'; '.join(finding.text for finding in reasons)}",
            where=", ".join(dict.fromkeys(finding.subject or "all" for finding in reasons)),
            hint="quieten the machine and measure again; without --strict it is only told",
        )


def _write(record: Record, path: Path) -> None:
    from yolor_deploy.core.whole_file import whole_file  # noqa: PLC0415 - beside its use
    from yolor_deploy.output_file import unwritable  # noqa: PLC0415 - beside its use

    try:
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(record.to_json()) + "\n", encoding="utf-8")
    except OSError as error:
        raise unwritable(path, error) from error
