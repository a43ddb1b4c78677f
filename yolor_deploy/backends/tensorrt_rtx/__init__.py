"""TensorRT-RTX: builds plans for NVIDIA GPUs on a machine that has none.

It is a strict second reader of what `build` writes: every type is that of the graph. A plan holds
weights and a portable program; the GPU that runs it compiles the kernels when it loads it. It takes
no plugins, and has no non-maximum suppression.
"""

from __future__ import annotations

from yolor_deploy.backends import tensorrt


def why_unavailable() -> str | None:
    """Return why TensorRT-RTX cannot build here, or None if it can. Never raises."""
    return tensorrt.why_unavailable("tensorrt_rtx")
