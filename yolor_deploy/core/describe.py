"""A detector in words."""

from __future__ import annotations

from typing import Any

from yolor_deploy.core.spec import BatchRange, DetectorSpec


def limits_text(batch: BatchRange) -> str:
    """Return the smallest and largest batch in words."""
    if batch.is_static:
        return str(batch.minimum)
    return f"{batch.minimum} to {batch.maximum}"


def batch_text(batch: BatchRange) -> str:
    """Return batch sizes in words."""
    best = "" if batch.is_static else f", best {batch.optimum}"
    return f"{limits_text(batch)}{best}"


def facts_of_spec(spec: DetectorSpec) -> dict[str, Any]:
    """Return what a person wants to know of a detector, by heading, in order."""
    image = spec.input
    return {
        "model": f"{spec.variant} ({spec.family} family)"
        + (", random weights" if spec.random_weights else ""),
        "input": f"images {image.dtype} {image.layout}, {image.height} x {image.width} (height x "
        f"width), batch {batch_text(image.batch)}, RGB",
        "classes": f"{spec.num_classes}: {', '.join(spec.class_names)}",
        "levels": [
            f"stride {level.stride}: anchors "
            + ", ".join(f"{w:g}x{h:g}" for w, h in level.anchors_px)
            for level in spec.levels
        ],
        "boxes": f"{spec.num_boxes:,} before post-processing",
    }
