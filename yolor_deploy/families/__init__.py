"""Model families: each recognises its checkpoints, describes them, and builds their network."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from yolor_deploy.core.errors import CheckpointError, UnsupportedModelError

if TYPE_CHECKING:
    from torch import nn

    from yolor_deploy.checkpoint import CfgText, Checkpoint
    from yolor_deploy.core.spec import DetectorSpec

_MAX_CFG = 4_000_000  # characters; the longest published file has 50 thousand


class Family(Protocol):
    """What a folder of this package offers."""

    NAME: str

    def recognises(self, checkpoint: Checkpoint) -> bool:
        """Return whether a checkpoint is of this family."""
        ...

    def spec(self, checkpoint: Checkpoint) -> DetectorSpec:
        """Describe the model of a checkpoint at its native size."""
        ...

    def module(self, checkpoint: Checkpoint) -> nn.Module:
        """Build the network of a checkpoint; its forward returns one raw map per level."""
        ...

    def random_checkpoint(self, name: str, *, seed: int = 0) -> Checkpoint:
        """Draw weights for a published model."""
        ...

    def published_names(self) -> tuple[str, ...]:
        """Return the names that ``random_checkpoint`` takes."""
        ...


def _families() -> tuple[Family, ...]:
    """Return the table of families; they need torch, so they are imported late."""
    from yolor_deploy.families import darknet, yaml  # noqa: PLC0415 - torch

    return (darknet, yaml)


def family_of(checkpoint: Checkpoint) -> Family:
    """Return the family of a checkpoint.

    Raises:
        UnsupportedModelError: None recognises it.
    """
    for family in _families():
        if family.recognises(checkpoint):
            return family
    first = next(iter(checkpoint.tensors), "none")
    raise UnsupportedModelError(
        f"not a YOLOR or Scaled-YOLOv4 model: {len(checkpoint.tensors)} tensors, the first is "
        f"{first!r}, expected names such as module_list.0.Conv2d.weight or model.1.conv.weight",
        where=checkpoint.file,
        hint="give a checkpoint of one of these families; `yolor-deploy models` lists them",
    )


def random_checkpoint(name: str, *, seed: int = 0) -> Checkpoint:
    """Draw weights for a published model of any family.

    Raises:
        CheckpointError: There is no such model; the nearest names are given.
    """
    for family in _families():
        if name in family.published_names():
            return family.random_checkpoint(name, seed=seed)
    known = [known for family in _families() for known in family.published_names()]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known
    raise CheckpointError(
        "no such file, and no published model of that name",
        where=name,
        hint=f"check the path, or use a name of `yolor-deploy models`: {', '.join(near)}",
    )


def cfg_text(name: str) -> CfgText:
    """Read a darknet description: a file, or the name of a published one.

    Raises:
        CheckpointError: Neither, not text, or far too long.
    """
    from yolor_deploy.checkpoint import CfgText  # noqa: PLC0415 - torch
    from yolor_deploy.families.darknet.published import (  # noqa: PLC0415 - torch
        RECIPES,
        published_cfg,
    )

    path = Path(name)
    try:
        if name in RECIPES and not path.exists():
            return published_cfg(name)
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(_MAX_CFG + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"cannot read the darknet description: {error}",
            where=name,
            hint=f"give a .cfg file, or one of {', '.join(RECIPES)}",
        ) from error
    if len(text) > _MAX_CFG:
        raise CheckpointError(
            f"more than {_MAX_CFG:,} characters, expected a darknet description",
            where=name,
            hint=f"give a .cfg file, or one of {', '.join(RECIPES)}",
        )
    return CfgText(path.name, text)
