"""Read a model from disk, with type and shape of every value."""

from __future__ import annotations

import logging
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from yolor_deploy.core.errors import ArtifactError


def read_model(path: Path) -> ir.Model:
    """Read an ONNX file; its weights stay on disk until they are used.

    Raises:
        ArtifactError: It cannot be read as ONNX, or its shapes contradict each other.
    """
    try:
        model = ir.load(path)
        # The values inside a layer, such as the sigmoid of a SiLU, are not declared in the file
        inferred = ShapeInferencePass(check_type=True, strict_mode=True)(model).model
    except Exception as error:  # of protobuf, of onnx and of onnx_ir; they share no base
        raise ArtifactError(
            f"not a readable ONNX file: {error}",
            where=str(path),
            hint="export the model again; keep the file of external data, if any, beside it",
        ) from error
    logging.getLogger(__name__).debug("read %s: %d nodes", path, len(inferred.graph))
    return inferred
