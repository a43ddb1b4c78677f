"""The exponential of YolorNMS, against double precision."""

from __future__ import annotations

import numpy as np

from yolor_deploy.core.nms_exact import exact_exponential, exact_sigmoid


def test_exact_exponential_is_within_two_units_in_the_last_place() -> None:
    """Errors stay below 2 ulp, subnormal results included."""
    x = np.linspace(-103.9, 88.7, 400_001).astype(np.float32)

    found = exact_exponential(x)

    exact = np.exp(x.astype(np.float64))
    ulp = np.spacing(exact.astype(np.float32)).astype(np.float64)
    assert found.dtype == np.float32
    assert float(np.max(np.abs(found - exact) / ulp)) < 2.0


def test_exact_sigmoid_is_defined_everywhere() -> None:
    """Infinities give 0 and 1, NaN gives NaN, and nothing warns."""
    logits = np.array([-np.inf, -200.0, 0.0, 200.0, np.inf, np.nan], np.float32)

    found = exact_sigmoid(logits)

    np.testing.assert_array_equal(found, np.array([0.0, 0.0, 0.5, 1.0, 1.0, np.nan], np.float32))


def test_exact_sigmoid_takes_half_precision() -> None:
    """Half precision is computed with as float32."""
    logits = np.array([-3.0, 0.25, 11.0], np.float16)

    found = exact_sigmoid(logits)

    assert found.dtype == np.float32
    assert found.tobytes() == exact_sigmoid(logits.astype(np.float32)).tobytes()
