"""Small checkpoints in the authors' formats, with what the authors' code computed for them.

``NAME.npz``: ``image`` float32 [n, 3, h, w], RGB, 0..1; ``raw0..k`` float32 [n, anchors, h_k, w_k,
5 + classes]; some also ``pred`` float32 [n, boxes, 5 + classes]. ``NAME.cfg`` belongs to a model
that does not carry its structure. Weights are random: nothing here detects anything.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

REFERENCES = Path(__file__).parent / "data" / "references"

_HEADER = struct.Struct("<3iq")
# The first implicit layer of yolor_csp_weights.cfg comes after this many values.
_FIRST_IMPLICIT = 520_360


def weights_with_implicit(folder: Path) -> Path:
    """Write ``yolor_csp_weights`` as darknet does: implicit values at their place in the order.

    The PyTorch writer leaves them out. All implicit layers of this cfg follow one another.
    """
    plain = REFERENCES / "yolor_csp_weights.weights"
    values = np.fromfile(plain, "<f4", offset=_HEADER.size)
    implicit = np.load(REFERENCES / "yolor_csp_weights_implicit.npy")
    path = folder / "yolor_csp_weights_darknet.weights"
    body = np.insert(values, _FIRST_IMPLICIT, implicit).astype("<f4")
    path.write_bytes(_HEADER.pack(0, 2, 5, 54_321) + body.tobytes())
    return path
