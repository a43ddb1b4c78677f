"""What is said of a GPU that failed."""

from __future__ import annotations

from yolor_deploy.core.errors import RunError


def gpu_failure(name: str, problem: str) -> RunError:
    """Return the error of a GPU whose context is lost.

    Args:
        name: Of the GPU.
        problem: What CUDA says.
    """
    return RunError(
        f"the GPU failed: {problem}",
        where=name,
        hint="start the process again, which cannot use this GPU any more; then run "
        "`yolor-deploy doctor`",
    )
