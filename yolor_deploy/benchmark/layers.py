"""The layers of an artifact: counted from its graph, with the times of its runtime's profile."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from yolor_deploy.core.artifact import Artifact, is_engine, sha256_of_file
from yolor_deploy.core.passport import Passport
from yolor_deploy.core.precision import Precision
from yolor_deploy.core.runtime import LayerTime
from yolor_deploy.measure.latency.record import LayerCost
from yolor_deploy.measure.latency.roofline import join_profile

logger = logging.getLogger(__name__)

_ITEM_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}


def layers_of(
    artifact: Artifact, profile: Sequence[LayerTime], *, batch: int, folders: Sequence[Path]
) -> tuple[LayerCost, ...] | None:
    """Count what each layer has to compute and to move, and join the runtime's profile by name.

    Args:
        artifact: A model or an engine; of an engine the model that it was built from is counted, as
            if each of its values had the engine's narrowest type.
        profile: Of its runtime; may be empty.
        batch: Images a run.
        folders: Where the model of an engine is looked for besides its own folder.

    Returns:
        In the order of the graph; None where the model of an engine is not found.

    Raises:
        PassError: The graph is none of ours.
        ArtifactError: It cannot be read.
    """
    from yolor_deploy.graph.costs import node_costs  # noqa: PLC0415 - onnx
    from yolor_deploy.graph.read import read_model  # noqa: PLC0415 - onnx

    model = artifact if artifact.meta.kind == "model" else _model_of(artifact, folders)
    if model is None:
        return None
    part = _narrower(model, artifact)
    counted = node_costs(read_model(model.path), batch=batch)
    costs = [
        LayerCost(cost.name, cost.op, cost.flops, round(cost.num_bytes * part), None)
        for cost in counted
    ]
    joined, _ = join_profile(costs, profile)
    return joined


def _model_of(engine: Artifact, folders: Sequence[Path]) -> Artifact | None:
    """Return the model that an engine was built from, if it lies in one of the folders."""
    if not is_engine(engine.path):
        return None
    sha256 = Passport.read(engine.path).source_sha256
    found = (path for path in _models_in([engine.path.parent, *folders]) if _is(path, sha256))
    model = next(found, None)
    return Artifact.read(model) if model else None


def _is(path: Path, sha256: str) -> bool:
    try:
        return sha256_of_file(path) == sha256
    except OSError as error:
        logger.info("%s cannot be read: %s", path, error)
        return False


def _models_in(folders: Sequence[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for folder in folders:
        for path in sorted(folder.glob("*.onnx")) if folder.is_dir() else ():
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _narrower(model: Artifact, artifact: Artifact) -> float:
    """Return how many times as many bytes a value has in an artifact as in its model."""
    then, now = (_item_bytes(item.meta.precision) for item in (model, artifact))
    return now / then


def _item_bytes(precision: str) -> int:
    try:
        parsed = Precision.from_name(precision)
    except ValueError:
        return _ITEM_BYTES["fp32"]
    return _ITEM_BYTES[parsed.quantised or parsed.base]
