"""What a checkpoint file says, once read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

Container = Literal["zip", "legacy", "darknet", "safetensors", "random"]


@dataclass(frozen=True, slots=True)
class DarknetWeights:
    """The body of a ``.weights`` file; names come from the cfg.

    Attributes:
        major, minor, revision, seen: The header.
        values: float32 [n], in the order of the layers.
    """

    major: int
    minor: int
    revision: int
    seen: int
    values: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class CfgText:
    """A darknet description given by the user.

    Attributes:
        name: Where it came from, for messages.
        text: Its content.
    """

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A trained model as its file tells it; no code of the file was run.

    Attributes:
        name: File path, or the published name of a random model; for messages.
        sha256: Of the file; None for a random model.
        container: How the file was packed.
        tensors: By the names of the authors' modules (``module_list.0.Conv2d.weight``,
            ``model.1.conv.weight``), as stored, float or half. Prefixes of wrappers and counters
            of profilers are removed.
        structure: ``Model.yaml`` of a pickled model: depth_multiple, backbone, head, ...
        strides: ``Model.stride`` of a pickled model.
        class_names: ``Model.names`` of a pickled model.
        cfg: Darknet description given beside the file.
        darknet: Body of a ``.weights`` file; ``tensors`` is empty then.
        module_classes: Dotted names of the module classes that a pickled model is made of.
        facts: Other plain values of the file worth showing (epoch, best_fitness).
    """

    name: str
    sha256: str | None
    container: Container
    tensors: Mapping[str, torch.Tensor]
    structure: Mapping[str, Any] | None = None
    strides: tuple[float, ...] | None = None
    class_names: tuple[str, ...] | None = None
    cfg: CfgText | None = None
    darknet: DarknetWeights | None = None
    module_classes: tuple[str, ...] = ()
    facts: Mapping[str, str | int | float] = field(default_factory=dict)

    @property
    def file(self) -> str:
        """The file's own name, without folders: the same wherever the file lies."""
        return Path(self.name).name
