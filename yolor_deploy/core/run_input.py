"""What a run is given, against what its artifact takes."""

from __future__ import annotations

from collections.abc import Sequence

from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.describe import limits_text
from yolor_deploy.core.errors import ArtifactError


def require_images(artifact: Artifact, dtype: object, shape: Sequence[int]) -> None:
    """Refuse images that the artifact does not take.

    Args:
        artifact: That is run.
        dtype: Of the images; its text is NumPy's name of it.
        shape: Of the images.

    Raises:
        ArtifactError: They have another dtype or shape, or are too many or too few.
    """
    spec = artifact.meta.spec.input
    batch, sides = spec.batch, spec.shape(1)[1:]
    is_right = (
        (dtype == spec.dtype or str(dtype) == spec.dtype)  # a NumPy dtype equals its name, faster
        and len(shape) == 1 + len(sides)
        and tuple(shape[1:]) == sides
        and batch.minimum <= shape[0] <= batch.maximum
    )
    if not is_right:
        raise ArtifactError(
            f"images are {dtype} {list(shape)}, expected {spec.dtype} "
            f"[{limits_text(batch)}, {', '.join(map(str, sides))}]",
            where=str(artifact.path),
            hint="letterbox the images to this size, or export the model for another",
        )


def require_threshold(artifact: Artifact, name: str, value: float) -> None:
    """Refuse a threshold that is no fraction, or that the artifact has no use for.

    Args:
        artifact: That is run.
        name: Of the threshold.
        value: It.

    Raises:
        ArtifactError: It is not 0 to 1, or the artifact does not detect.
    """
    output = artifact.meta.output
    if output != "detections":
        raise ArtifactError(
            f"{name} given to an artifact whose output is {output!r}, expected 'detections'",
            where=str(artifact.path),
            hint="export with `--output detections`, or leave the threshold out",
        )
    if not 0.0 <= value <= 1.0:  # NaN fails too
        raise ArtifactError(
            f"{name} is {value}, expected 0 to 1",
            where=str(artifact.path),
            hint="give a fraction, such as 0.25",
        )
