"""Compute capabilities: which TensorRT-RTX knows, and which have the types of a precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.precision import Precision

_WHERE = "--compute-capability"
_PREFIX = "SM"  # of the names of ComputeCapability: SM89 is 8.9
_LOWEST = {"bf16": (8, 0), "fp8": (8, 9)}
"""The first capability that has the type.

Source: what TensorRT-RTX 1.7 refuses; Ampere introduced bfloat16, Ada Lovelace E4M3.
"""


def known_capabilities(module: Any) -> tuple[str, ...]:
    """Return what a module of TensorRT-RTX can build for, ascending, such as ``("8.0", "8.6")``."""
    names = (name for name in module.ComputeCapability.__members__ if name.startswith(_PREFIX))
    digits = sorted((name[len(_PREFIX) :] for name in names), key=int)
    return tuple(f"{text[:-1]}.{text[-1]}" for text in digits)


def supports(precision: Precision, capability: str) -> bool:
    """Return whether a GPU of that capability has the types of a precision."""
    return all(_pair(capability) >= lowest for _, lowest in _demands(precision))


def capability_names(
    capabilities: Sequence[str], precision: Precision, *, known: Sequence[str]
) -> tuple[str, ...]:
    """Return the names of capabilities in ``ComputeCapability``, each once.

    Args:
        capabilities: As NVIDIA writes them, such as ``8.9``.
        precision: Of the network.
        known: What can be built for.

    Raises:
        BuildError: None is given, one is not known, or one lacks a type of the precision.
    """
    if not capabilities:
        raise BuildError(
            "no compute capability is given", where=_WHERE, hint=f"give some of {', '.join(known)}"
        )
    for capability in capabilities:
        if capability not in known:
            raise BuildError(
                f"TensorRT-RTX does not build for {capability!r}, only for {', '.join(known)}",
                where=_WHERE,
                hint="give one of these; for other GPUs build with TensorRT on the GPU itself",
            )
        for kind, lowest in _demands(precision):
            if _pair(capability) < lowest:
                raise BuildError(
                    f"{capability} has no {kind}, which begins with {lowest[0]}.{lowest[1]}",
                    where=_WHERE,
                    hint=f"leave {capability} out, or build the model in another precision",
                )
    return tuple(_PREFIX + text.replace(".", "") for text in dict.fromkeys(capabilities))


def _demands(precision: Precision) -> list[tuple[str, tuple[int, int]]]:
    return [
        (kind, _LOWEST[kind])
        for kind in (precision.base, precision.quantised)
        if kind is not None and kind in _LOWEST
    ]


def _pair(capability: str) -> tuple[int, int]:
    major, minor = capability.split(".")
    return int(major), int(minor)
