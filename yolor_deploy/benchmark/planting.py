"""Candidates and objects in the inputs of a benchmark: planted in random weights, and counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yolor_deploy.benchmark.inputs import BenchInput
from yolor_deploy.core.artifact import Artifact, output_names
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.density import Density, candidates_of, objects_in, objects_of
from yolor_deploy.core.runtime import Session
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.output_file import move_into_place, require_writable, temporary_folder
from yolor_deploy.planting import PlantedCounts, plant_file, planted_density, require_plantable

__all__ = [
    "Density",
    "InputCounts",
    "PlantedCounts",
    "counts_of",
    "plant_artifact",
    "planted_density",
]


@dataclass(frozen=True, slots=True)
class InputCounts:
    """What an artifact finds in the images of a benchmark.

    Attributes:
        candidates: Of each image of the batches, in their order; None where they are not seen.
        objects: The same, by the artifact's own post-processing, or by the reference if it has
            none.
    """

    candidates: tuple[int, ...] | None
    objects: tuple[int, ...]


def plant_artifact(
    artifact: Artifact, density: Density, inputs: BenchInput, output: Path
) -> PlantedCounts:
    """Write an artifact whose head finds what is asked for in the first batch, and nearly in all.

    Args:
        artifact: A model in float32 with random weights.
        density: Per image.
        inputs: One batch is run, twice.
        output: Replaced if it is there; not the artifact itself.

    Returns:
        What came out when the new file was run.

    Raises:
        ArtifactError: The model cannot be read or run, or the file cannot be written.
        BuildError: Its weights were trained, or it cannot have that density. No file is left.
        PassError: It does not end in convolutions that can be changed. No file is left.
    """
    require_writable(output, inputs=[artifact.path])
    require_plantable(artifact, density)
    about = {"pictures": inputs.kind, "seed": inputs.seed}
    with temporary_folder(output) as folder:
        made = folder / output.name
        counts = plant_file(artifact, density, inputs.preprocess(0), made, about=about)
        move_into_place(folder, output)
    return counts


def counts_of(session: Session, inputs: BenchInput) -> InputCounts:
    """Run every batch once, and count.

    Args:
        session: Of ``open_for_accuracy(with_raw=True)`` if candidates are to be counted in a model
            that ends in detections.
        inputs: Of its artifact.
    """
    meta = session.artifact.meta
    nms = meta.nms or NmsConfig()
    names = output_names("raw", num_levels=len(meta.spec.levels))
    candidates: list[int] = []
    objects: list[int] = []
    seen = True
    for index in range(inputs.batches):
        outputs = session.run(inputs.preprocess(index))
        predictions = outputs.get("predictions")
        if predictions is None and names[0] in outputs:
            predictions = predictions_from_raw([outputs[name] for name in names], meta.spec)
        if predictions is not None:
            candidates += candidates_of(predictions, nms)
        seen = seen and predictions is not None
        if "num_detections" in outputs:
            objects += objects_in(outputs)
        else:
            assert predictions is not None, "an artifact ends in one of the three"
            objects += objects_of(predictions, nms)
    return InputCounts(tuple(candidates) if seen else None, tuple(objects))
