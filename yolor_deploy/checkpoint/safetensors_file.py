"""A state_dict as safetensors; the library checks the header against the file."""

from __future__ import annotations

from pathlib import Path

import torch

from yolor_deploy.checkpoint.plain import plain_facts
from yolor_deploy.core.errors import CheckpointError

_MAX_HEADER_BYTES = 100_000_000  # of the format


def looks_like_safetensors(head: bytes) -> bool:
    """Return whether a file may be safetensors, by its first 9 bytes."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER_BYTES


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str | int | float]]:
    """Read all tensors into memory of their own.

    Returns:
        Tensors by name, and the metadata of the header.

    Raises:
        CheckpointError: Damaged, or the library is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise CheckpointError(
            "safetensors files need the library safetensors",
            where=str(path),
            hint="pip install 'yolor-deploy[export]'",
        ) from error
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            # A copy, because the library maps the file: it may change while we use the tensors.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return tensors, plain_facts(dict(file.metadata() or {}))
    except SafetensorError as error:
        raise CheckpointError(
            f"damaged safetensors file: {str(error)[:200]}",
            where=str(path),
            hint="download or copy the file again",
        ) from error
