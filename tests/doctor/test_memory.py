"""What ``doctor`` says of main memory."""

from __future__ import annotations

import os

import pytest

from yolor_deploy.doctor.memory import examine_memory

PAGES = {"SC_PAGE_SIZE": 4096, "SC_AVPHYS_PAGES": 2**18, "SC_PHYS_PAGES": 2**20}


def test_free_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages become gibibytes."""
    monkeypatch.setattr(os, "sysconf", PAGES.__getitem__, raising=False)

    (finding,) = examine_memory()

    assert finding.detail == "1.0 GiB free of 4.0 GiB"


def test_a_system_that_does_not_tell_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has no such question."""
    monkeypatch.delattr(os, "sysconf", raising=False)

    assert examine_memory() == []
