"""Names of precisions, and what a user may ask for."""

from __future__ import annotations

import itertools

import pytest

from yolor_deploy.core.errors import BuildError
from yolor_deploy.core.precision import (
    FloatKind,
    Precision,
    QuantisedKind,
)

QUANTISED: tuple[QuantisedKind | None, ...] = (None, "int8", "fp8")
CHOICES = list(itertools.product([False, True], repeat=4))


@pytest.mark.parametrize(
    ("base", "quantised", "name"),
    [
        ("fp32", None, "fp32"),
        ("fp16", None, "fp16"),
        ("bf16", None, "bf16"),
        ("fp32", "int8", "int8"),
        ("fp16", "int8", "int8+fp16"),
        ("bf16", "int8", "int8+bf16"),
        ("fp32", "fp8", "fp8"),
        ("fp16", "fp8", "fp8+fp16"),
        ("bf16", "fp8", "fp8+bf16"),
    ],
)
def test_name_is_read_back(base: FloatKind, quantised: QuantisedKind | None, name: str) -> None:
    """Each precision has a name of its own, which gives it again."""
    precision = Precision(base, quantised)

    assert precision.name == name
    assert Precision.from_name(name) == precision


@pytest.mark.parametrize("name", ["", "fp64", "int8+fp32", "fp16+int8", "INT8", "int8+int8"])
def test_other_names_are_refused(name: str) -> None:
    """A name of no precision is an error that quotes it."""
    with pytest.raises(ValueError, match=f"precision '{name}'".replace("+", r"\+")):
        Precision.from_name(name)


def test_default_is_float32() -> None:
    """Without a choice nothing is changed."""
    assert Precision() == Precision.from_name("fp32")
    none = Precision.from_choices(fp16=False, bf16=False, int8=False, fp8=False)
    assert none == Precision()


@pytest.mark.parametrize(("fp16", "bf16", "int8", "fp8"), CHOICES)
def test_choices_are_taken_or_refused(fp16: bool, bf16: bool, int8: bool, fp8: bool) -> None:
    """One of 16 bits and one of 8 bits go together, two of either do not."""
    choices = {"fp16": fp16, "bf16": bf16, "int8": int8, "fp8": fp8}
    clashes = [
        (first, second)
        for first, second in (("fp16", "bf16"), ("int8", "fp8"))
        if choices[first] and choices[second]
    ]

    if clashes:
        first, second = clashes[0]
        with pytest.raises(BuildError, match=f"--{first} and --{second} are both given"):
            Precision.from_choices(**choices)
    else:
        words = [name for name in ("int8", "fp8", "fp16", "bf16") if choices[name]]
        assert Precision.from_choices(**choices).name == ("+".join(words) or "fp32")
