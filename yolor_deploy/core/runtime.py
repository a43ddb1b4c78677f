"""The seam between artifacts and the runtimes that execute them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from yolor_deploy.core.artifact import Artifact
from yolor_deploy.core.device import RuntimeDevice

FloatArray = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
RawOutput = Mapping[str, Array]
"""Outputs by name, as the artifact declares them: see ``Artifact.output_names``."""


class Session(Protocol):
    """A loaded artifact."""

    @property
    def artifact(self) -> Artifact:
        """What was loaded."""
        ...

    def run(
        self,
        images: Array,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
    ) -> RawOutput:
        """Run the network on one batch.

        Args:
            images: As ``artifact.meta.spec.input`` says: float32 [n, 3, h, w] in 0..1 or uint8.
            score_threshold: Instead of the artifact's default; artifacts that detect only.
            iou_threshold: Instead of the artifact's default; artifacts that detect only.

        Returns:
            Every output by its name.

        Raises:
            ArtifactError: The array has another shape or type than the artifact takes.
            RunError: The device has not enough memory, or failed.
        """
        ...

    def close(self) -> None:
        """Free what the runtime holds; the session cannot be used afterwards."""
        ...


class Backend(Protocol):
    """A runtime: ``build`` and ``open`` are its two words; ``build`` comes with its first user."""

    name: str

    def why_unavailable(self) -> str | None:
        """Return why this runtime cannot be used here, or None if it can."""
        ...

    def open(
        self, artifact: Artifact, *, device: RuntimeDevice | None = None, trust: bool = False
    ) -> Session:
        """Load an artifact.

        Args:
            artifact: For this runtime, or a portable one.
            device: What it is to run on; None for the runtime's own choice.
            trust: Whether an engine is opened, which is code, that is not the one of its passport;
                a model is none, and always is.
        """
        ...
