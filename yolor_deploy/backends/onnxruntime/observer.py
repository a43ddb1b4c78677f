"""See every intermediate result of a network, in little memory."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from yolor_deploy.backends.onnxruntime.reference import session_of_model
from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.cgroup import granted_cores
from yolor_deploy.core.runtime import Array, FloatArray
from yolor_deploy.graph.nms_head import detach_head
from yolor_deploy.graph.read import read_model
from yolor_deploy.graph.segments import cut_into_segments

SEGMENT_BYTES = 400_000_000  # of intermediate results for one image; memory is about twice that


class Observer:
    """A network in pieces; each run shows all float results of one image.

    Args:
        artifact: A model of float32.
        segment_bytes: Results of so many bytes are in memory at a time.

    Raises:
        ArtifactError: ONNX Runtime refuses a piece.
    """

    def __init__(self, artifact: Artifact, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        model = read_model(artifact.path)
        detach_head(model)
        self._segments = cut_into_segments(model, segment_bytes=segment_bytes)
        self._sessions = [
            session_of_model(segment.model, artifact, threads=granted_cores(), keeps_memory=False)
            for segment in self._segments
        ]
        self.names = [
            str(value.name)
            for segment in self._segments
            for value in segment.model.graph.outputs
            if value.dtype == ir.DataType.FLOAT
        ]

    def run(self, tensor: Array) -> Iterator[tuple[str, FloatArray]]:
        """Run the network on a batch, and yield each float result by its name, in order.

        Args:
            tensor: As the artifact takes it; ``images`` is yielded first if it is float32.
        """
        known: dict[str, Array] = {"images": tensor}
        if tensor.dtype.kind == "f":
            yield "images", tensor
        for segment, session in zip(self._segments, self._sessions, strict=True):
            feed = {name: known[name] for name in segment.inputs}
            results = dict(
                zip(segment.outputs, session.run(list(segment.outputs), feed), strict=True)
            )
            known = {
                name: value
                for name, value in (known | results).items()
                if name in segment.read_later
            }
            del feed
            while results:
                name = next(iter(results))
                value = results.pop(name)
                if value.dtype.kind == "f":
                    yield name, value
