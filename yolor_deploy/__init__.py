"""From a trained YOLOR or Scaled-YOLOv4 checkpoint to an engine whose every number is proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yolor_deploy.core.detections import Detections
    from yolor_deploy.detector import Detector

__version__ = "0.1.0"
__all__ = ["Detections", "Detector", "__version__"]


def __getattr__(name: str) -> object:
    """Load public classes on first use: importing the package stays light."""
    if name == "Detections":
        from yolor_deploy.core.detections import Detections  # noqa: PLC0415

        return Detections
    if name == "Detector":
        from yolor_deploy.detector import Detector  # noqa: PLC0415

        return Detector
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
