"""Rows of detections, compared as far as rounding lets them be the same."""

from __future__ import annotations

from yolor_deploy.core.runtime import RawOutput
from yolor_deploy.core.spec import NmsConfig
from yolor_deploy.measure.matching import compare_rows, rows_of_image
from yolor_deploy.measure.parity import Tolerance


def assert_same_rows(found: RawOutput, expected: RawOutput, nms: NmsConfig) -> int:
    """Fail unless all rows agree within 1e-6 in score and 1e-3 pixels; return how many there are.

    Rows that rounding at a threshold decides are set aside and counted; few may be.
    """
    total = 0
    for image in range(len(expected["num_detections"])):
        parity = compare_rows(
            "nms",
            rows_of_image(found, image),
            rows_of_image(expected, image),
            nms=nms,
            boxes_px=Tolerance(1e-3, 0.0),
            scores=Tolerance(1e-6, 0.0),
        )
        assert parity.passed, parity.note
        total += int(expected["num_detections"][image].item())
    return total
