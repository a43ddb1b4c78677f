"""Make ``resize_area_opencv.npz``: images made smaller by OpenCV, which the authors' test uses.

Needs ``pip install opencv-python-headless``, which nothing else here does. From the root::

    python tests/data/make_resize_area_opencv.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2  # type: ignore[import-not-found,unused-ignore]
import numpy as np

_OUTPUT = Path(__file__).with_name("resize_area_opencv.npz")
# (height, width) of the image, (height, width) of the result
_CASES = (
    ((60, 80), (30, 40)),  # exactly half, which OpenCV does by code of its own
    ((60, 81), (20, 27)),  # exactly a third
    ((41, 53), (30, 38)),  # a little smaller
    ((97, 61), (13, 8)),  # much smaller
    ((40, 90), (40, 37)),  # one axis only
    ((60, 40), (30, 10)),  # whole factors that differ
    ((3, 70), (1, 33)),  # one row is left
    ((75, 100), (74, 99)),  # by one pixel
)


def main() -> None:
    """Write the file: ``imageN`` and ``resultN``, uint8."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for number, ((rows, columns), (height, width)) in enumerate(_CASES):
        image = random.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        arrays[f"image{number}"] = image
        arrays[f"result{number}"] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    np.savez_compressed(_OUTPUT, **arrays)


if __name__ == "__main__":
    main()
