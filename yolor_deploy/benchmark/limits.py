"""What ``bench`` refuses: work that is not the same, and batches that do not fit."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from yolor_deploy.benchmark.options import BenchConfig, Recipe
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.cgroup import available_bytes
from yolor_deploy.core.describe import limits_text
from yolor_deploy.core.device import RuntimeDevice
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.families.catalogue import CATALOGUE
from yolor_deploy.measure.latency.record import GpuCondition, Settings
from yolor_deploy.planting import planted_density

_MOST_STREAMS = 256
_CHECKPOINTS = {".pt", ".pth", ".weights", ".safetensors"}
_COPIES = 2.4  # of weights, which are laid out anew for the processor
_ACTIVATION_BYTES_PER_PIXEL = 1500  # of the input: Scaled-YOLOv4-P7 takes 1400, YOLOR-P6 200
PUBLISHED_CLASSES = 80


def require_settings(settings: Settings) -> None:
    """Refuse numbers that no benchmark can be run with.

    Raises:
        EvaluationError: With the option.
    """
    problems = (
        (not 0 < settings.noise_target < 1, "--noise", "0 to 100 percent, both excluded"),
        (settings.min_samples < 1, "--min-samples", "1 or more"),
        (settings.max_samples < settings.min_samples, "--max-samples", "--min-samples or more"),
        (not 0 < settings.time_limit_s < float("inf"), "--time-limit", "more than 0 seconds"),
        (not 0 <= settings.warmup_s < float("inf"), "--warmup", "0 seconds or more"),
        (settings.batch < 1, "--batch", "1 or more"),
        (
            any(not 1 <= streams <= _MOST_STREAMS for streams in settings.streams),
            "--streams",
            f"1 to {_MOST_STREAMS}",
        ),
    )
    for is_wrong, option, expected in problems:
        if is_wrong:
            raise EvaluationError(
                f"{option} is out of range, expected {expected}",
                where=option,
                hint="give another number",
            )


def require_one_reference(config: BenchConfig) -> None:
    """Refuse two names for what ratios are taken against.

    Raises:
        EvaluationError: Both are given.
    """
    if config.settings.reference is not None and config.against is not None:
        raise EvaluationError(
            "--against and --reference both name what ratios are taken against",
            where="--reference",
            hint="leave one of them out",
        )


def require_reference(reference: str, names: Sequence[str]) -> None:
    """Refuse a reference that is none of the artifacts.

    Raises:
        EvaluationError: With their names.
    """
    if reference not in names:
        raise EvaluationError(
            f"{reference!r} is none of {', '.join(names)}",
            where="--reference",
            hint="give one of these names",
        )


def is_published(subject: str) -> bool:
    """Whether a subject is the name of a published model, and no file."""
    return not Path(subject).is_file() and any(model.name == subject for model in CATALOGUE)


def is_made(config: BenchConfig) -> bool:
    """Whether a model of a published name is among what is measured."""
    return any(map(is_published, config.all_subjects))


def require_subjects(config: BenchConfig) -> None:
    """Refuse what is neither a file nor a name, before anything is made.

    Raises:
        EvaluationError: With the name that is most like it.
    """
    for subject in config.all_subjects:
        path = Path(subject)
        if path.exists() or is_published(subject):
            if path.suffix in _CHECKPOINTS:
                raise EvaluationError(
                    "a checkpoint, expected a model or an engine",
                    where=subject,
                    hint=f"export it first: yolor-deploy export {shlex.quote(subject)}",
                )
            continue
        names = [model.name for model in CATALOGUE]
        alike = difflib.get_close_matches(subject, names, n=1)
        hint = f"did you mean {alike[0]}? " if alike else ""
        raise EvaluationError(
            "neither a file nor the name of a published model",
            where=subject,
            hint=f"{hint}`yolor-deploy models` lists the names",
        )


def require_recipe(config: BenchConfig, whole: Recipe) -> None:
    """Refuse options of models that are made where none is, before any is.

    Args:
        config: What was asked for.
        whole: Its recipe, completed by that of the first artifact.

    Raises:
        EvaluationError: With the option.
    """
    recipe = config.recipe
    for option, value in (
        ("--fp16", recipe.precision),
        ("--backend", recipe.backend),
        ("--optimization-level", recipe.optimization_level),
    ):
        if value is not None and not is_made(config):
            raise EvaluationError(
                "an option of models of published names, and none is given",
                where=option,
                hint="leave it out; `yolor-deploy build` makes other artifacts of a file",
            )
    if recipe.optimization_level is not None and whole.backend in {None, "onnxruntime"}:
        raise EvaluationError(
            "an option of engines, and --backend names no builder of any",
            where="--optimization-level",
            hint="give --backend tensorrt or tensorrt_rtx, or leave it out",
        )


def require_density_of_use(config: BenchConfig, artifacts: Sequence[Artifact]) -> None:
    """Refuse a density that nothing is planted with.

    Args:
        config: What was asked for.
        artifacts: Of all subjects, those that were made included.

    Raises:
        EvaluationError: No model is made, and none has random weights that were not planted.
    """
    if config.density is not None and not is_made(config) and not any(map(is_plantable, artifacts)):
        raise EvaluationError(
            "an option of models with random weights that were not planted, and none is given",
            where="--density",
            hint="leave it out: what a trained model finds is in the pictures",
        )


def is_plantable(artifact: Artifact) -> bool:
    """Whether candidates are planted in an artifact before it is measured."""
    meta = artifact.meta
    is_float = (meta.kind, meta.precision) == ("model", "fp32")
    return meta.spec.random_weights and is_float and planted_density(artifact) is None


def require_published_classes(first: Artifact, names: Sequence[str]) -> None:
    """Refuse to make models of other classes than an artifact has.

    Raises:
        EvaluationError: The artifact has not the 80 classes of the published models.
    """
    classes = first.meta.spec.num_classes
    if names and classes != PUBLISHED_CLASSES:
        raise EvaluationError(
            f"not the same work as {first.path.name}: published models have {PUBLISHED_CLASSES} "
            f"classes, expected {classes}",
            where=names[0],
            hint="give an artifact of those classes; or --allow-different-work, which is noted in "
            "the result",
        )


def require_memory(artifacts: Sequence[Artifact], batch: int, device: RuntimeDevice | None) -> None:
    """Refuse more models at once than memory holds, before the system ends the process.

    Each is loaded twice on a CPU: whole, and with network and head apart for the stages. The memory
    of their runs is shared.

    Raises:
        EvaluationError: With what is needed, by a rough estimate, and what there is.
    """
    if device is not None and device.kind == "cuda":
        return
    models = [artifact for artifact in artifacts if artifact.meta.kind == "model"]
    sizes = [_size_of(artifact.path) for artifact in models]
    runs = [_activation_bytes(artifact, batch) for artifact in models]
    needed = _COPIES * sum(sizes) + max(sizes, default=0) + max(runs, default=0)
    there = available_bytes()
    if there is not None and needed > there:
        raise EvaluationError(
            f"{len(artifacts)} models take about {needed / 1e9:.1f} GB at once, and "
            f"{there / 1e9:.1f} GB of memory are free",
            where=", ".join(artifact.path.name for artifact in artifacts),
            hint="measure fewer at once, each beside the same --against",
        )


def _activation_bytes(artifact: Artifact, batch: int) -> int:
    spec = artifact.meta.spec.input
    return _ACTIVATION_BYTES_PER_PIXEL * spec.height * spec.width * batch


def _size_of(path: Path) -> int:
    files = (path, path.with_name(f"{path.name}.data"))
    return sum(file.stat().st_size for file in files if file.is_file())


def require_own_gpu(condition: GpuCondition, gpu: str) -> None:
    """Refuse a GPU that others compute on.

    Args:
        condition: Of the GPU, with our own context on it.
        gpu: Its name.

    Raises:
        EvaluationError: With their process numbers.
    """
    others = ", ".join(map(str, condition.other_processes))
    if others:
        raise EvaluationError(
            f"others compute on the GPU: process {others}",
            where=gpu,
            hint="end them, or take another GPU with --device; or --allow-shared-gpu, which marks "
            "the result as invalid",
        )


def require_batch(artifact: Artifact, batch: int) -> None:
    """Refuse a batch that an artifact does not take.

    Raises:
        EvaluationError: With the range that it takes.
    """
    own = artifact.meta.spec.input.batch
    if not own.minimum <= batch <= own.maximum:
        raise EvaluationError(
            f"batch of {batch}, the artifact takes {limits_text(own)}",
            where=str(artifact.path),
            hint="give another --batch, or export and build it with a wider range",
        )


def require_same_work(artifacts: Sequence[Artifact]) -> None:
    """Refuse to compare artifacts whose results are not the same kind of thing.

    Input size and precision may differ: they are what one compares, and stand in every table.

    Raises:
        EvaluationError: Other classes, another post-processing, or another end.
    """
    first = artifacts[0]
    for other in artifacts[1:]:
        problem = _difference(first, other)
        if problem:
            raise EvaluationError(
                f"not the same work as {first.path.name}: {problem}",
                where=str(other.path),
                hint="give artifacts that end in the same; or --allow-different-work, which is "
                "noted in the result",
            )


def _difference(first: Artifact, other: Artifact) -> str:
    a, b = first.meta, other.meta
    if a.output != b.output:
        return f"it ends in {b.output}, expected {a.output}"
    if a.spec.num_classes != b.spec.num_classes:
        return f"{b.spec.num_classes} classes, expected {a.spec.num_classes}"
    if a.spec.class_names != b.spec.class_names:
        return "classes of other names"
    if a.nms is None or b.nms is None:
        return ""
    for name, value in asdict(a.nms).items():
        found = getattr(b.nms, name)
        if found != value:
            return f"{name} is {found}, expected {value}"
    return ""
