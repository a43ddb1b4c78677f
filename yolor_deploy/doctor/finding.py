"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "missing", "warning", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        area: Such as ``packages``, ``GPU``, ``NMS``, ``TensorRT`` or ``engine``.
        name: What it is.
        state: ``missing`` is an option that is not there; ``warning`` works, but not at its best;
            ``broken`` is something that is needed, or is there and does not work.
        detail: Version, or what is wrong.
        use: What it is for.
        hint: The line that mends it; None where nothing is to be mended.
    """

    area: str
    name: str
    state: State
    detail: str
    use: str = ""
    hint: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)
