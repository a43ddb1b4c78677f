"""Precision of an artifact: what its weights and activations are, apart from decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from yolor_deploy.core.errors import BuildError

FloatKind = Literal["fp32", "fp16", "bf16"]
QuantisedKind = Literal["int8", "fp8"]
GraphTarget = Literal["onnxruntime", "tensorrt"]

FLOAT_KINDS: tuple[FloatKind, ...] = get_args(FloatKind)
GRAPH_TARGETS: tuple[GraphTarget, ...] = get_args(GraphTarget)


@dataclass(frozen=True, slots=True)
class Precision:
    """Types of a network; decoding, IoU and boxes are float32 whatever it says.

    Attributes:
        base: Of everything that is not quantised.
        quantised: Of the convolutions and what lies between them; None for none of them.
    """

    base: FloatKind = "fp32"
    quantised: QuantisedKind | None = None

    @property
    def name(self) -> str:
        """As an artifact stores it: ``fp32``, ``fp16``, ``int8``, ``int8+fp16``."""
        if self.quantised is None:
            return self.base
        return self.quantised if self.base == "fp32" else f"{self.quantised}+{self.base}"

    @staticmethod
    def from_name(name: str) -> Precision:
        """Read what ``name`` gave.

        Raises:
            ValueError: The name is of no precision.
        """
        for base in FLOAT_KINDS:
            for quantised in (None, *get_args(QuantisedKind)):
                precision = Precision(base, quantised)
                if precision.name == name:
                    return precision
        raise ValueError(f"precision {name!r}")

    @staticmethod
    def from_choices(*, fp16: bool, bf16: bool, int8: bool, fp8: bool) -> Precision:
        """Return what a user asked for.

        Raises:
            BuildError: Two of them exclude each other.
        """
        if fp16 and bf16:
            raise _both("--fp16", "--bf16")
        if int8 and fp8:
            raise _both("--int8", "--fp8")
        base: FloatKind = "fp16" if fp16 else "bf16" if bf16 else "fp32"
        return Precision(base, "int8" if int8 else "fp8" if fp8 else None)


def _both(first: str, second: str) -> BuildError:
    return BuildError(
        f"{first} and {second} are both given", where=f"{first} {second}", hint="give one of them"
    )
