"""What ``bench`` refuses: work that is not the same, and batches that do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.describe import limits_text
from yolor_deploy.core.errors import EvaluationError
from yolor_deploy.measure.latency.record import GpuCondition, Settings

_MOST_STREAMS = 256


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
