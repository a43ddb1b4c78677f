"""From a file to a ``Checkpoint``."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from yolor_deploy.checkpoint.contents import authors_names, find_contents, positive_numbers
from yolor_deploy.checkpoint.darknet_weights import read_darknet_weights
from yolor_deploy.checkpoint.finite import require_finite
from yolor_deploy.checkpoint.legacy import open_stream
from yolor_deploy.checkpoint.model import CfgText, Checkpoint, Container, DarknetWeights
from yolor_deploy.checkpoint.other_families import require_ours
from yolor_deploy.checkpoint.pickles import Storages, read_pickle
from yolor_deploy.checkpoint.safetensors_file import read_safetensors
from yolor_deploy.checkpoint.sniffing import container_of
from yolor_deploy.checkpoint.stand_ins import TensorRef
from yolor_deploy.checkpoint.storages import Records, read_tensors
from yolor_deploy.checkpoint.zip_archive import open_archive
from yolor_deploy.core.artifact import sha256_of_file
from yolor_deploy.core.errors import CheckpointError

logger = logging.getLogger(__name__)

_WEIGHT_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_STRIDES = "stride of the model"


@dataclass(frozen=True, slots=True)
class _Body:
    """What every container gives: the fields of ``Checkpoint`` that come from inside it."""

    tensors: Mapping[str, torch.Tensor] = field(default_factory=dict)
    structure: Mapping[str, Any] | None = None
    strides: tuple[float, ...] | None = None
    class_names: tuple[str, ...] | None = None
    darknet: DarknetWeights | None = None
    module_classes: tuple[str, ...] = ()
    facts: Mapping[str, str | int | float] = field(default_factory=dict)


def read_checkpoint(path: Path, *, cfg: CfgText | None = None) -> Checkpoint:
    """Read a checkpoint; nothing that it names is imported or run.

    Args:
        path: A ``.pt`` of torch.save, old or new, darknet ``.weights`` or ``.safetensors``; which
            of them is decided by the content.
        cfg: Darknet description given beside the file; kept, not read.

    Returns:
        Tensors on the CPU, as stored, in memory of their own; they may share it as they did in the
        file.

    Raises:
        CheckpointError: No checkpoint, damaged, hostile, or with weights that are not finite.
        UnsupportedModelError: A checkpoint of another family of detectors.
    """
    began = time.perf_counter()
    container = container_of(path)
    sha256, body = _read_file(path, container)
    if body.darknet is None:
        _require_weights(body.tensors, where=str(path))
    seconds = time.perf_counter() - began
    logger.info("read_checkpoint: %s, %d tensors, %.2f s", container, len(body.tensors), seconds)
    return Checkpoint(
        name=str(path),
        sha256=sha256,
        container=container,
        tensors=body.tensors,
        structure=body.structure,
        strides=body.strides,
        class_names=body.class_names,
        cfg=cfg,
        darknet=body.darknet,
        module_classes=body.module_classes,
        facts=body.facts,
    )


def _read_file(path: Path, container: Container) -> tuple[str, _Body]:
    try:
        return sha256_of_file(path), _read_body(path, container)
    except OSError as error:
        raise CheckpointError(
            f"cannot be read: {error.strerror or error}",
            where=str(path),
            hint="check the disk that it lies on",
        ) from error


def _read_body(path: Path, container: Container) -> _Body:
    where = str(path)
    if container == "safetensors":
        tensors, facts = read_safetensors(path)
        return _Body(tensors=_weights(authors_names(tensors)), facts=facts)
    size = path.stat().st_size
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        if container == "darknet":
            return _Body(darknet=read_darknet_weights(file, size, where=where))
        if container == "zip":
            archive = stack.enter_context(open_archive(file, size, where=where))
            archive.require_little_endian()
            value = read_pickle(archive.read_pickle(), where=where, storages=Storages()).value
            return _body_of_pickle(value, archive, where=where, file_bytes=size)
        stream = stack.enter_context(open_stream(file, size, where=where))
        return _body_of_pickle(stream.value, stream, where=where, file_bytes=size)


def _body_of_pickle(value: object, records: Records, *, where: str, file_bytes: int) -> _Body:
    contents = find_contents(value, where=where)
    require_ours(contents.tensors, where=where)  # before gigabytes are read
    wanted = {n: t for n, t in contents.tensors.items() if t.storage.dtype in _WEIGHT_DTYPES}
    tensors = read_tensors(wanted, records, where=where, file_bytes=file_bytes)
    strides = contents.strides
    if isinstance(strides, TensorRef):
        read = read_tensors({_STRIDES: strides}, records, where=where, file_bytes=file_bytes)
        strides = positive_numbers(read[_STRIDES].flatten().tolist(), where=where)
    return _Body(
        tensors=tensors,
        structure=contents.structure,
        strides=strides,
        class_names=contents.class_names,
        module_classes=contents.module_classes,
        facts=contents.facts,
    )


def _weights(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if tensor.dtype in _WEIGHT_DTYPES}


def _require_weights(tensors: Mapping[str, torch.Tensor], *, where: str) -> None:
    if not tensors:
        raise CheckpointError(
            "no floating-point tensors inside",
            where=where,
            hint="give a checkpoint with the weights of a model",
        )
    require_ours(tensors, where=where)
    require_finite(tensors, where=where)
