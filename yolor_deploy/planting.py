"""Candidates and objects planted in a model of random weights: the file before, the file after."""

from __future__ import annotations

import gc
import importlib.metadata
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from yolor_deploy import __version__
from yolor_deploy.core.artifact import (
    METADATA_KEY,
    Artifact,
    StageRecord,
    output_names,
    sha256_of_file,
)
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.density import (
    Density,
    candidates_of,
    objects_in,
    objects_of,
    require_density,
)
from yolor_deploy.core.errors import ArtifactError, BuildError
from yolor_deploy.core.planted_head import PlantedHead, planted_head
from yolor_deploy.core.runtime import Array, RawOutput
from yolor_deploy.core.spec import DetectorSpec, NmsConfig
from yolor_deploy.pictures import draw_picture, tensor_from_pictures

logger = logging.getLogger(__name__)

STAGE = "plant"
_MOST_OFF = 0.1  # of what was asked for, from which on it is said


@dataclass(frozen=True, slots=True)
class PlantedCounts:
    """What was asked for, and what a planted artifact gives.

    Attributes:
        asked: Per image.
        candidates: Of each image that it was planted on, by a run of the file.
        objects: The same.
    """

    asked: Density
    candidates: tuple[int, ...]
    objects: tuple[int, ...]

    def __str__(self) -> str:
        found = zip(self.candidates, self.objects, strict=True)
        each = ", ".join(f"{candidates}:{objects}" for candidates, objects in found)
        return f"{each} candidates and objects an image, {self.asked} asked for"


def plant_file(
    artifact: Artifact, density: Density, tensor: Array, output: Path, *, about: Mapping[str, Any]
) -> PlantedCounts:
    """Write an artifact with a head that finds what is asked for, and run it.

    The numbers come out on these images, and nearly on others of their kind; less exactly where
    a precision below float32 is built of it.

    Args:
        artifact: A model in float32 with random weights.
        density: What is to come out.
        tensor: One batch of images, as the artifact takes them.
        output: A new file.
        about: What the images are, for the history; JSON values.

    Returns:
        What came out when the new file was run.

    Raises:
        ArtifactError: The model cannot be read or run.
        BuildError: Its weights were trained, or it cannot have that density.
        OSError: The file cannot be written.
        PassError: It does not end in convolutions that can be changed.
    """
    require_plantable(artifact, density)
    spec = artifact.meta.spec
    names = output_names("raw", num_levels=len(spec.levels))
    outputs = _run(artifact, tensor)
    head = planted_head([outputs[name] for name in names], spec, _nms_of(artifact), density)
    del outputs
    record = StageRecord(
        STAGE,
        {"candidates": density.candidates, "objects": density.objects, **about},
        {
            "yolor-deploy": __version__,
            **{name: importlib.metadata.version(name) for name in ("onnx-ir", "onnxruntime")},
        },
        sha256_of_file(artifact.path),
    )
    counts = PlantedCounts(density, head.candidates, head.objects)
    planted = _write(artifact, head, record, counts, output)
    counts = _counted(planted, tensor, density)
    if (counts.candidates, counts.objects) != (head.candidates, head.objects):
        _write(artifact, head, record, counts, output)  # what a run gives is what counts
    _tell(counts, artifact)
    return counts


def plant_drawn(
    artifact: Artifact, density: Density, folder: Path, *, seed: int
) -> tuple[Artifact, PlantedCounts]:
    """Write an artifact planted on the smallest batch of drawn pictures that it takes.

    Args:
        artifact: As of ``plant_file``.
        density: What is to come out.
        folder: A new one, for a file of the same name.
        seed: Of the pictures.

    Returns:
        The new file, and what came out when it was run.

    Raises:
        ArtifactError, BuildError, OSError, PassError: As of ``plant_file``.
    """
    folder.mkdir()
    spec = artifact.meta.spec
    pictures = [draw_picture(seed, number) for number in range(spec.input.batch.minimum)]
    tensor = tensor_from_pictures(pictures, spec)
    output, about = folder / artifact.path.name, {"pictures": "drawn", "seed": seed}
    counts = plant_file(artifact, density, tensor, output, about=about)
    return Artifact.read(output), counts


def require_plantable(artifact: Artifact, density: Density) -> None:
    """Refuse what nothing is planted in.

    Raises:
        BuildError: An engine, another precision, trained weights, or a density that does not fit.
    """
    meta = artifact.meta
    where = str(artifact.path)
    if meta.kind != "model" or meta.precision != "fp32":
        raise BuildError(
            f"{meta.kind} of {meta.precision}, candidates are planted in a model of fp32",
            where=where,
            hint="plant in what `yolor-deploy export` wrote, and build of that",
        )
    require_plantable_spec(density, meta.spec, _nms_of(artifact), where=where)


def require_plantable_spec(
    density: Density, spec: DetectorSpec, nms: NmsConfig, *, where: str
) -> None:
    """Refuse trained weights: a planted head finds what was planted, and nothing else.

    Raises:
        BuildError: They are not random, or the density does not fit.
    """
    if not spec.random_weights:
        raise BuildError(
            f"{spec.variant} is trained, and its head would be overwritten",
            where=where,
            hint="leave out --density: a trained model finds what is in the images",
        )
    require_density(density, spec, nms)


def planted_density(artifact: Artifact) -> Density | None:
    """Return what was planted in an artifact, or in the model that it was built from.

    Returns:
        What was asked for, the last time; None if it never was.

    Raises:
        ArtifactError: Its metadata are damaged.
    """
    for record in reversed(artifact.meta.history):
        if record.stage == STAGE:
            try:
                return Density(record.options["candidates"], record.options["objects"])
            except (BuildError, KeyError, TypeError) as error:
                raise ArtifactError(
                    f"metadata is damaged: planted {dict(record.options)}",
                    where=str(artifact.path),
                    hint="export the model again",
                ) from error
    return None


def _nms_of(artifact: Artifact) -> NmsConfig:
    return artifact.meta.nms or NmsConfig()


def _run(artifact: Artifact, tensor: Array) -> RawOutput:
    from yolor_deploy.backends.onnxruntime.probe import RawMapProbe  # noqa: PLC0415 - late

    return RawMapProbe(artifact).run(tensor)


def _write(
    artifact: Artifact, head: PlantedHead, record: StageRecord, counts: PlantedCounts, output: Path
) -> Artifact:
    from yolor_deploy.graph.plant import plant  # noqa: PLC0415 - onnx
    from yolor_deploy.graph.read import read_model  # noqa: PLC0415 - onnx
    from yolor_deploy.graph.write import write_model  # noqa: PLC0415 - onnx

    found = {"found_candidates": list(counts.candidates), "found_objects": list(counts.objects)}
    record = replace(record, options={**record.options, **found})
    meta = replace(artifact.meta, history=(*artifact.meta.history, record))
    model = read_model(artifact.path)
    plant(model, head.changes)
    model.metadata_props[METADATA_KEY] = meta.to_json()
    write_model(model, output)
    del model
    gc.collect()  # graphs are cyclic: their weights would stay through the run
    return Artifact(output, meta)


def _counted(artifact: Artifact, tensor: Array, density: Density) -> PlantedCounts:
    """Run a planted file, and count."""
    spec, nms = artifact.meta.spec, _nms_of(artifact)
    outputs = _run(artifact, tensor)
    names = output_names("raw", num_levels=len(spec.levels))
    predictions = predictions_from_raw([outputs[name] for name in names], spec)
    detects = artifact.meta.output == "detections"
    objects = objects_in(outputs) if detects else objects_of(predictions, nms)
    return PlantedCounts(density, candidates_of(predictions, nms), objects)


def _tell(counts: PlantedCounts, artifact: Artifact) -> None:
    asked = counts.asked
    is_far = any(
        abs(sum(found) - len(found) * wanted) > len(found) * max(1, _MOST_OFF * wanted)
        for found, wanted in (
            (counts.candidates, asked.candidates),
            (counts.objects, asked.objects),
        )
    )
    level = logging.WARNING if is_far else logging.INFO
    logger.log(level, "%s: %s", artifact.path.name, counts)
