"""Memory of the machine: a build of a large model needs some gigabytes."""

from __future__ import annotations

import os

from yolor_deploy.doctor.finding import Finding

_USE = "export and build: some GiB for the largest models"


def examine_memory() -> list[Finding]:
    """Tell how much is free; nothing where the system does not say."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        free, total = (page * os.sysconf(name) for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"))
    except (ValueError, OSError, AttributeError):  # not a POSIX system
        return []
    detail = f"{free / 2**30:.1f} GiB free of {total / 2**30:.1f} GiB"
    return [Finding("memory", "main memory", "ok", detail, _USE)]
