"""What an artifact finds in the pictures of a benchmark, counted by running it."""

from __future__ import annotations

from dataclasses import dataclass

from yolor_deploy.benchmark.inputs import BenchInput
from yolor_deploy.core.artifact import output_names
from yolor_deploy.core.decode import predictions_from_raw
from yolor_deploy.core.density import candidates_of, objects_in, objects_of
from yolor_deploy.core.runtime import Session
from yolor_deploy.core.spec import NmsConfig


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
