"""What a command is pointed at: a checkpoint file, or the name of a published model."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from yolor_deploy.core.errors import BackendUnavailableError, BuildError, CheckpointError

if TYPE_CHECKING:
    from yolor_deploy.checkpoint import Checkpoint

_LARGEST_SEED = 2**63 - 1


def load_checkpoint(source: str, *, cfg: str | None = None, seed: int = 0) -> Checkpoint:
    """Read a checkpoint file, or draw weights for a published model if there is no such file.

    Args:
        source: Path or name.
        cfg: Path of a darknet description, or name of a published one.
        seed: Of random weights, 0 to 2^63 - 1.

    Raises:
        CheckpointError: Neither a readable file nor a name.
        UnsupportedModelError: A checkpoint of another family of detectors.
        BuildError: The seed is out of range, or a description was given with a name.
        BackendUnavailableError: torch is not installed.
    """
    if importlib.util.find_spec("torch") is None:
        raise BackendUnavailableError(
            "torch is not installed; it reads checkpoints",
            where=source,
            hint="pip install 'yolor-deploy[export]'; `detect` and `info` of ONNX files need none",
        )
    from yolor_deploy import families  # noqa: PLC0415 - torch
    from yolor_deploy.checkpoint import read_checkpoint  # noqa: PLC0415 - torch

    require_seed(seed)
    if _is_name(source):
        if cfg is not None:
            raise BuildError(
                f"a published model has its own description, --cfg {cfg} was given",
                where=source,
                hint="leave --cfg out, or give the path of a checkpoint",
            )
        return families.random_checkpoint(source, seed=seed)
    return read_checkpoint(Path(source), cfg=families.cfg_text(cfg) if cfg else None)


def _is_name(source: str) -> bool:
    """Return whether a source is a published model rather than a file.

    A folder of that name, such as the one that a training run left, is not in the way.
    """
    from yolor_deploy.families.catalogue import CATALOGUE  # noqa: PLC0415 - beside its use

    path = Path(source)
    if path.suffix or path.name != source:
        return False
    try:
        is_published = any(model.name == source for model in CATALOGUE)
        return not path.exists() or (path.is_dir() and is_published)
    except OSError as error:  # such as a name that no file can have
        raise CheckpointError(
            f"cannot be read: {error.strerror}", where=source, hint="check the path"
        ) from error


def require_seed(seed: int) -> None:
    """Refuse a seed that the generators do not take.

    Raises:
        BuildError: With the range.
    """
    if not 0 <= seed <= _LARGEST_SEED:
        raise BuildError(
            f"seed is {seed}, expected 0 to {_LARGEST_SEED}",
            where="--seed",
            hint="give a whole number, such as 0",
        )


def read_class_names(path: Path, count: int) -> tuple[str, ...]:
    """Read class names, one a line; empty lines and a byte order mark do not count.

    Args:
        path: UTF-8 text, with line ends of any system.
        count: Classes of the model.

    Raises:
        BuildError: The file cannot be read, or has another number of names.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not UTF-8 text: {error}"
        raise BuildError(
            f"cannot read class names: {reason}",
            where=str(path),
            hint="give a UTF-8 text file with one class name a line",
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(names) != count:
        raise BuildError(
            f"{len(names)} class names, the model has {count} classes",
            where=str(path),
            hint="give one name a line, in the order of the training",
        )
    return names
