"""A tree of files in which a made-up system tells about itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_system(root: Path, files: Mapping[str, object]) -> None:
    """Write files below a root; folders are made."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n", encoding="utf-8")


def stat_file(*cores: Mapping[str, int], first: int = 0) -> str:
    """Return ``/proc/stat`` of cores with ticks by kind; every core has idled 1000 at least."""
    kinds = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "gn")
    rows = [[core.get(kind, 0) + 1000 * (kind == "idle") for kind in kinds] for core in cores]
    lines = [f"cpu{first + i} {' '.join(map(str, row))}" for i, row in enumerate(rows)]
    total = [sum(column) for column in zip(*rows, strict=True)]
    return "\n".join([f"cpu  {' '.join(map(str, total))}", *lines, "intr 1 2 3", "ctxt 4"])
