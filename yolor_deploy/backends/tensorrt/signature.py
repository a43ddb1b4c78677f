"""Inputs and outputs of a plan, against what its metadata tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yolor_deploy.core.artifact import Artifact, output_names
from yolor_deploy.core.errors import ArtifactError
from yolor_deploy.core.nms import THRESHOLD_INPUTS
from yolor_deploy.core.passport import TensorInfo
from yolor_deploy.core.spec import DetectorSpec
from yolor_deploy.cuda.library import output_shapes
from yolor_deploy.cuda.structs import MapDtype

IMAGES = "images"
_MAP_DTYPES: Mapping[str, MapDtype] = {"float16": "float16", "float32": "float32"}


@dataclass(frozen=True, slots=True)
class Signature:
    """What a plan takes and gives.

    Attributes:
        shapes: Of each output, for one image.
        has_thresholds: Whether both thresholds are inputs.
        map_names: Raw maps, finest stride first, that post-processing is to read; else empty.
        map_dtype: Of them; None if there are none.
    """

    shapes: Mapping[str, tuple[int, ...]]
    has_thresholds: bool
    map_names: tuple[str, ...]
    map_dtype: MapDtype | None

    def shape_of(self, name: str, batch: int) -> tuple[int, ...]:
        """Return the shape of an output."""
        return (batch, *self.shapes[name][1:])


def require_signature(
    artifact: Artifact, inputs: Mapping[str, TensorInfo], outputs: Mapping[str, TensorInfo]
) -> Signature:
    """Refuse a plan that is not of the model that its metadata tell of.

    Args:
        artifact: Its metadata.
        inputs: Of the plan.
        outputs: Of the plan.

    Raises:
        ArtifactError: A name, dtype or shape differs.
    """
    meta = artifact.meta
    names = artifact.output_names
    maps = output_names("raw", num_levels=len(meta.spec.levels))
    is_raw = meta.output == "detections" and set(outputs) == set(maps)
    expected = _expected_shapes(artifact, raw=is_raw or meta.output == "raw")
    images = inputs.get(IMAGES)
    others = set(inputs) - {IMAGES}
    has_thresholds = others == set(THRESHOLD_INPUTS)
    problem = None
    if images is None or images.dtype != meta.spec.input.dtype:
        problem = f"its images are {images.dtype if images else 'missing'}"
    elif images.shape[1:] != meta.spec.input.shape(1)[1:]:
        problem = f"its images have shape {list(images.shape)}"
    elif others and (is_raw or meta.output != "detections" or not has_thresholds):
        problem = f"it has inputs {', '.join(sorted(others))}"
    elif set(outputs) != set(maps if is_raw else names):
        problem = f"it has outputs {', '.join(outputs)}"
    else:
        problem = _why_not(outputs, expected)
    if problem is None and is_raw and _map_dtype(outputs) is None:
        problem = f"its raw maps are {', '.join(outputs[name].dtype for name in maps)}"
    if problem is not None:
        raise ArtifactError(
            f"the plan is not of the model that its metadata tell of: {problem}",
            where=str(artifact.path),
            hint="build the engine again from that model",
        )
    return Signature(
        {name: shape for name, (shape, _) in expected.items()},
        has_thresholds,
        maps if is_raw else (),
        _map_dtype(outputs) if is_raw else None,
    )


def _expected_shapes(
    artifact: Artifact, *, raw: bool
) -> dict[str, tuple[tuple[int, ...], str | None]]:
    """Return shape for one image, and dtype where it is given, of each output."""
    spec: DetectorSpec = artifact.meta.spec
    if raw:
        names = output_names("raw", num_levels=len(spec.levels))
        return {
            name: ((1, *spec.head_shape(level)), None)
            for name, level in zip(names, spec.levels, strict=True)
        }
    nms = artifact.meta.nms
    if artifact.meta.output == "predictions" or nms is None:
        return {"predictions": ((1, spec.num_boxes, 5 + spec.num_classes), None)}
    return {
        name: (dims, dtype.__name__)
        for name, (dims, dtype) in output_shapes(1, nms.max_detections).items()
    }


def _why_not(
    outputs: Mapping[str, TensorInfo], expected: Mapping[str, tuple[tuple[int, ...], str | None]]
) -> str | None:
    for name, (shape, dtype) in expected.items():
        found = outputs[name]
        if len(found.shape) != len(shape) or any(
            side not in {-1, wanted}
            for side, wanted in zip(found.shape[1:], shape[1:], strict=True)
        ):
            return f"{name} has shape {list(found.shape)}, expected {list(shape)}"
        if dtype is not None and found.dtype != dtype:
            return f"{name} is {found.dtype}, expected {dtype}"
    return None


def _map_dtype(outputs: Mapping[str, TensorInfo]) -> MapDtype | None:
    """Return the one dtype of raw maps; None if they differ, or no kernel reads it."""
    dtypes = {info.dtype for info in outputs.values()}
    return _MAP_DTYPES.get(next(iter(dtypes))) if len(dtypes) == 1 else None
