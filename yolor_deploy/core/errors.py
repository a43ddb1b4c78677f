"""What a user can do wrong, as types.

::

    YolorDeployError
    ├── CheckpointError           a file that cannot be read as a checkpoint
    ├── UnsupportedModelError     a checkpoint that is readable, of a model that is not ours
    ├── PassError                 a graph that a pass cannot change exactly
    ├── ArtifactError             a file of ours that is damaged, or not of ours
    ├── BackendUnavailableError   a runtime that is not installed
    ├── BuildError                a conversion whose result is wrong or cannot be made
    ├── EvaluationError           images or annotations that cannot be used
    └── RunError                  arrays that a run cannot take, or a device that failed

Anything else that is raised is a bug, and keeps its traceback.
"""

from __future__ import annotations


class YolorDeployError(Exception):
    """A failure that the user can cause, and mend.

    Args:
        problem: What happened, quoting the value found and the value expected.
        where: The file, layer, tensor or option that it happened in.
        hint: What to do about it, as an instruction.
    """

    def __init__(self, problem: str, *, where: str, hint: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.problem} (where: {self.where}; hint: {self.hint})"


class CheckpointError(YolorDeployError):
    """A file cannot be read as a checkpoint: damaged, hostile, or something else entirely."""


class UnsupportedModelError(YolorDeployError):
    """A checkpoint was read, but describes a model that is not of our families."""


class PassError(YolorDeployError):
    """A pass met a graph that it cannot change without changing its result."""


class ArtifactError(YolorDeployError):
    """A file is not an artifact of ours, or is damaged."""


class BackendUnavailableError(YolorDeployError):
    """A runtime is not installed or does not work on this machine."""


class BuildError(YolorDeployError):
    """A conversion cannot be made, or its result failed its proof."""


class EvaluationError(YolorDeployError):
    """Images or annotations cannot be used."""


class RunError(YolorDeployError):
    """A run was given arrays that it cannot take, or its device failed."""
