"""Models of published names: exported with random weights, planted, built, and kept."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from yolor_deploy.backends.tensorrt import Flavour, load_module
from yolor_deploy.backends.tensorrt.options import EngineOptions
from yolor_deploy.benchmark.options import Recipe
from yolor_deploy.benchmark.planting import Density, planted_density
from yolor_deploy.core.artifact import Artifact, passport_path, sha256_of_file
from yolor_deploy.core.errors import ArtifactError, BuildError
from yolor_deploy.core.passport import Passport
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.spec import BatchRange, NmsConfig
from yolor_deploy.pipeline import (
    BuildConfig,
    EngineConfig,
    ExportConfig,
    build,
    build_engine,
    export,
)
from yolor_deploy.stage_timer import Note

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """What models of published names are made with.

    Attributes:
        folder: That they are kept in.
        recipe: What they become.
        density: Candidates and objects per image.
        batch: Images a run.
        nms: Post-processing.
        seed: Of the weights.
    """

    folder: Path
    recipe: Recipe
    density: Density
    batch: int
    nms: NmsConfig
    seed: int


def recipe_of(artifact: Artifact) -> Recipe:
    """Return how another model becomes what an artifact is.

    Raises:
        BuildError: That needs calibration images, or is not known.
    """
    meta = artifact.meta
    try:
        precision = Precision.from_name(meta.precision)
    except ValueError:
        precision = None
    if precision is None or precision.quantised:
        raise BuildError(
            f"{meta.precision} cannot be made of random weights, which have no ranges",
            where=str(artifact.path),
            hint="build the other model yourself, and give its file",
        )
    if meta.kind == "model":
        return Recipe(precision if precision.base != "fp32" else None, "onnxruntime")
    options = Passport.read(artifact.path).options
    level = options.get("optimization_level")
    backend: Flavour = "tensorrt_rtx" if meta.target == "tensorrt_rtx" else "tensorrt"
    return Recipe(precision, backend, level if isinstance(level, int) else None)


def make_folder(folder: Path) -> None:
    """Make the folder that models are kept in, if it is not there.

    Raises:
        ArtifactError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(
            f"cannot make the folder: {error.strerror or error}",
            where=str(folder),
            hint="give another with --work",
        ) from error


def made_model(name: str, made: Made, *, note: Note = logger.info) -> Path:
    """Return the artifact of a published name; what is there already is taken.

    Args:
        name: Of ``families.catalogue``.
        made: What it is made with.
        note: Told each stage as it begins.

    Raises:
        ArtifactError: The folder cannot be written to.
        BackendUnavailableError: torch, or what builds engines, is not installed.
        BuildError: The density does not fit the model.
    """
    make_folder(made.folder)
    words = [name, f"{made.density.candidates}-{made.density.objects}"]
    words += [f"b{made.batch}"] if made.batch > 1 else []
    words += [f"seed{made.seed}"] if made.seed else []
    model = made.folder / f"{'.'.join(words)}.onnx"
    if not _is_same_export(model, made):
        note(f"exporting {name}")
        export(
            ExportConfig(
                name,
                output=model,
                batch=BatchRange(made.batch, made.batch, made.batch),
                nms=made.nms,
                seed=made.seed,
                density=made.density,
            ),
            note=lambda stage: note(f"exporting {name}: {stage}"),
        )
    return _built(name, model, made.recipe, note)


def _built(name: str, model: Path, recipe: Recipe, note: Note) -> Path:
    precision = recipe.precision
    kind = precision.name if precision else "fp32"
    if recipe.backend is not None and recipe.backend != "onnxruntime":
        engine = model.with_suffix(f".{kind}.{recipe.backend}.engine")
        if not _is_built_from(model, engine, recipe):
            note(f"building {engine.name}")
            build_engine(
                EngineConfig(
                    model,
                    output=engine,
                    backend=recipe.backend,
                    precision=precision,
                    engine=EngineOptions(optimization_level=recipe.optimization_level),
                ),
                note=lambda stage: note(f"building {name}: {stage}"),
            )
        return engine
    if precision is None or precision.name == "fp32":
        return model
    lowered = model.with_suffix(f".{kind}.onnx")
    if not _is_lowered_from(model, lowered):
        note(f"building {lowered.name}")
        build(
            BuildConfig(model, output=lowered, precision=precision),
            note=lambda stage: note(f"building {name}: {stage}"),
        )
    return lowered


def _is_same_export(model: Path, made: Made) -> bool:
    """Whether a file of an earlier benchmark is what would be made now."""
    artifact = _read(model)
    if artifact is None:
        return False
    meta = artifact.meta
    batch = meta.spec.input.batch
    return (
        meta.nms == made.nms
        and (batch.minimum, batch.maximum) == (made.batch, made.batch)
        and planted_density(artifact) == made.density
    )


def _is_built_from(model: Path, engine: Path, recipe: Recipe) -> bool:
    """Whether an engine of an earlier benchmark is what would be built now."""
    if not (engine.is_file() and passport_path(engine).is_file()):
        return False
    try:
        passport = Passport.read(engine)
    except ArtifactError:
        return False
    level = passport.options.get("optimization_level")
    here = _version_here(passport.builder.flavour)
    is_same = (level, here) == (recipe.optimization_level, passport.builder.version)
    return is_same and passport.source_sha256 == sha256_of_file(model)


def _version_here(flavour: str) -> str | None:
    """Return the version of the TensorRT that would build an engine; None where there is none."""
    try:
        module = load_module("tensorrt_rtx" if flavour == "tensorrt_rtx" else "tensorrt")
        return str(module.__version__)
    except ImportError:
        return None


def _is_lowered_from(model: Path, lowered: Path) -> bool:
    artifact = _read(lowered)
    if artifact is None:
        return False
    last = artifact.meta.history[-1] if artifact.meta.history else None
    return last is not None and last.input_sha256 == sha256_of_file(model)


def _read(path: Path) -> Artifact | None:
    if not path.is_file():
        return None
    try:
        return Artifact.read(path)
    except ArtifactError:  # cut short by a full disk, say: it is made again
        return None
