"""Make ``letterbox_opencv.npz``: letterboxed images by OpenCV, which the authors' scripts use.

Needs ``pip install opencv-python-headless``, which nothing else here does. From the root::

    python tests/data/make_letterbox_opencv.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2  # type: ignore[import-not-found,unused-ignore]
import numpy as np

_OUTPUT = Path(__file__).with_name("letterbox_opencv.npz")
# (height, width) of the image, (height, width) of the input, whether a small image is enlarged
_CASES = (
    ((30, 40), (24, 24), True),  # smaller, bars above and below
    ((41, 23), (24, 32), True),  # smaller, bars at the sides, odd sizes
    ((9, 13), (32, 32), True),  # enlarged
    ((9, 13), (16, 32), False),  # left as it is
    ((48, 64), (24, 32), True),  # exactly half, no bars
    ((50, 20), (25, 25), True),  # bars of 7 and 8 columns
    ((3, 90), (16, 30), True),  # one row is left
)


def main() -> None:
    """Write the file: ``imageN``, ``resultN`` uint8, and ``enlargedN``."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for number, ((rows, columns), target, enlarged) in enumerate(_CASES):
        image = random.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
        gain = min(target[0] / rows, target[1] / columns, np.inf if enlarged else 1.0)
        size = round(columns * gain), round(rows * gain)
        inner = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        x, y = (target[1] - size[0]) / 2, (target[0] - size[1]) / 2
        border = (round(y - 0.1), round(y + 0.1), round(x - 0.1), round(x + 0.1))
        grey = (114, 114, 114)
        arrays[f"image{number}"] = image
        arrays[f"enlarged{number}"] = np.array(enlarged)
        arrays[f"result{number}"] = cv2.copyMakeBorder(
            inner, *border, cv2.BORDER_CONSTANT, value=grey
        )
    np.savez_compressed(_OUTPUT, **arrays)


if __name__ == "__main__":
    main()
