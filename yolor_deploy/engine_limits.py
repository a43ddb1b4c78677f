"""What a build of an engine refuses before it begins, and what it is told in the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from yolor_deploy.backends.tensorrt.build import require_buildable
from yolor_deploy.backends.tensorrt.options import EngineOptions
from yolor_deploy.build_limits import engine_output_of
from yolor_deploy.core.artifact import Artifact, passport_path
from yolor_deploy.core.errors import ArtifactError, BuildError
from yolor_deploy.core.precision import Precision
from yolor_deploy.options import EngineConfig
from yolor_deploy.output_file import require_writable


def is_lowered(source: Artifact, config: EngineConfig) -> bool:
    """Return whether a model is brought to another precision before it becomes an engine."""
    return config.precision is not None and config.precision.name != source.meta.precision


def require_engine(source: Artifact, config: EngineConfig) -> tuple[Path, EngineOptions]:
    """Refuse, before long work, what cannot become an engine, or has no place to be written.

    Args:
        source: The model.
        config: What it is to become.

    Returns:
        Where the plan goes, and what its builder is told, with every file named.

    Raises:
        ArtifactError: No model for TensorRT, or files that cannot be written.
        BackendUnavailableError: TensorRT is not installed, or there is no GPU to build for.
        BuildError: An option does not fit the model or TensorRT, or would have no effect.
    """
    precision = config.precision or _own_precision(source)
    output = config.output or engine_output_of(config.model, precision.name, config.backend)
    require_writable(output, inputs=[config.model])  # which refuses what has no name of a file
    require_writable(passport_path(output), inputs=[config.model])
    options = config.engine
    if options.timing_cache is not None:
        _require_apart(options.timing_cache, config.model, output)
    elif config.backend == "tensorrt":
        options = replace(options, timing_cache=output.with_name(f"{output.name}.timing"))
    require_buildable(source, precision, config.backend, options)
    _require_use(source, config)
    return output, options


def _own_precision(source: Artifact) -> Precision:
    try:
        return Precision.from_name(source.meta.precision)
    except ValueError as error:
        raise ArtifactError(
            f"unknown precision {source.meta.precision!r}",
            where=str(source.path),
            hint="give a file that `export` or `build` wrote",
        ) from error


def _require_apart(cache: Path, model: Path, output: Path) -> None:
    """Refuse to write what was timed over something else."""
    require_writable(cache, inputs=[model], option="--timing-cache")
    if cache.resolve() in {path.resolve() for path in (output, passport_path(output))}:
        raise BuildError(
            "the timing cache has the name of another output",
            where=str(cache),
            hint="give another name with --timing-cache",
        )


def _require_use(source: Artifact, config: EngineConfig) -> None:
    """Refuse options of a conversion that does not take place."""
    given = [
        option
        for option, value in (("--calibration", config.calibration), ("--keep", config.keep))
        if value
    ]
    if given and not is_lowered(source, config):
        raise BuildError(
            f"the model stays {source.meta.precision}, as it is: there is nothing to calibrate",
            where=given[0],
            hint="leave it out, or say what the model is to become, such as --int8",
        )
