"""Candidates and objects in the inputs of a benchmark, planted in random weights."""

from __future__ import annotations

from pathlib import Path

from yolor_deploy.benchmark.inputs import BenchInput
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.density import Density
from yolor_deploy.output_file import move_into_place, require_writable, temporary_folder
from yolor_deploy.planting import PlantedCounts, plant_file, planted_density, require_plantable

__all__ = ["Density", "PlantedCounts", "plant_artifact", "planted_density"]


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
