"""Figures as text."""

from __future__ import annotations

import pytest

from yolor_deploy.benchmark.report.wording import (
    bytes_text,
    counted,
    duration,
    duration_with_interval,
    figure,
    interval,
    listed,
    optional,
    percent,
    ratio_parts,
    shortened,
    span,
    with_interval,
    yes_no,
)
from yolor_deploy.measure.latency.summary import Estimate


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5812.3, "5,812"),
        (231.24, "231.2"),
        (2.3124, "2.312"),
        (0.012345, "0.01235"),
        (9.99996, "10.00"),
        (-2.5, "-2.500"),
        (0.0, "0"),
        (1e-7, "1e-07"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_figure_has_four_digits(value: float, text: str) -> None:
    """A figure has four significant digits, whatever its size."""
    assert figure(value) == text


@pytest.mark.parametrize(
    ("estimate", "parts"),
    [
        (Estimate(1.9301, 1.9112, 1.9495), ("1.93", "[1.91, 1.95]")),
        (Estimate(1.0004, 0.9991, 1.0012), ("1.000", "[0.999, 1.001]")),
        (Estimate(8.0, 5.0, 11.0), ("8.00", "[5.00, 11.00]")),
        (Estimate(1.5, 1.5, 1.5), ("1.50", "[1.50, 1.50]")),
        (Estimate(1.934, None, None), ("1.93", "")),
        (Estimate(float("nan"), 1.0, 2.0), ("nan", "[1.000, 2.000]")),
    ],
)
def test_ratio_has_the_decimals_that_its_interval_bears(
    estimate: Estimate, parts: tuple[str, str]
) -> None:
    """A narrow interval shows more decimals, a wide one two."""
    assert ratio_parts(estimate) == parts


def test_interval_has_more_digits_where_its_ends_would_look_equal() -> None:
    """Both ends can be told apart, up to six digits."""
    assert interval(Estimate(1.31, 1.30971, 1.31018)) == "[1.3097, 1.3102]"
    assert interval(Estimate(1.31, 1.3099999, 1.3100001)) == "[1.31000, 1.31000]"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (1.5e11, "150 GB"),
        (4e16, "40,000 TB"),
    ],
)
def test_bytes_are_in_decimal_units(count: float, text: str) -> None:
    """A kilobyte has a thousand bytes, and nothing is larger than terabytes."""
    assert bytes_text(count) == text


def test_words_for_what_is_there_and_what_is_not() -> None:
    """Parts, counts, lists and spans read as one would say them."""
    assert percent(0.0158) == "1.6 %"
    assert [counted(1, "run"), counted(2000, "run")] == ["1 run", "2,000 runs"]
    assert [counted(n, "batch", "batches") for n in (1, 8)] == ["1 batch", "8 batches"]
    assert [listed([]), listed(["a"]), listed(["a", "b", "c"])] == ["", "a", "a, b and c"]
    assert [span([7, 7]), span([1003, 998]), span([])] == ["7", "998 to 1,003", "not measured"]
    assert [yes_no(True), yes_no(False), yes_no(None)] == ["yes", "no", "not known"]
    assert [optional(None, "W"), optional(2.0, "W")] == ["not measured", "2.000 W"]


def test_name_in_a_picture_is_short_and_harmless() -> None:
    """A long name loses its middle, and a control character becomes text."""
    assert shortened("yolor-d6", 26) == "yolor-d6"
    assert shortened("a" * 20 + "b" * 20, 11) == "aaaaa…bbbbb"
    assert shortened("a\nb\x1b", 26) == "a\\nb\\x1b"


def test_duration_is_in_the_unit_that_reads_best() -> None:
    """Milliseconds up to a second, then seconds; an interval is in the unit of its figure."""
    assert [duration(999.94), duration(1000.0), duration(0.5)] == [
        "999.9 ms",
        "1.000 s",
        "0.5000 ms",
    ]
    assert duration_with_interval(Estimate(1000.0, 990.0, 1010.0)) == "1.000 s [0.990, 1.010]"
    assert duration_with_interval(Estimate(5.17, None, None)) == "5.170 ms"


def test_figure_without_an_interval_stands_alone() -> None:
    """Nothing comes after it where the samples are too few."""
    assert with_interval(Estimate(2.0, 1.9, 2.1), least=2) == "2.00 [1.90, 2.10]"
    assert with_interval(Estimate(2.0, None, None), between="\n") == "2.000"
