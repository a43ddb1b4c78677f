"""What ``doctor`` says of packages."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
import pytest

from yolor_deploy.doctor.packages import _Package, examine_packages


def test_installed_package_is_shown_with_its_version() -> None:
    """The first of several names that is installed counts."""
    (_, found) = examine_packages([_Package(("no-such-package", "numpy"), "arrays")])

    assert (found.name, found.state, found.detail) == ("numpy", "ok", np.__version__)
    assert found.hint is None


def test_missing_extra_is_no_failure_and_tells_how_to_get_it() -> None:
    """An option that is not there is not broken."""
    (_, found) = examine_packages([_Package(("no-such-package",), "nothing", "report")])

    assert found.state == "missing"
    assert found.hint == "pip install 'yolor-deploy[report]'"


def test_missing_requirement_is_broken() -> None:
    """Without it nothing works."""
    (_, found) = examine_packages([_Package(("no-such-package",), "everything")])

    assert found.state == "broken"


def test_package_that_does_not_load_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A version alone proves nothing: those that everything needs are loaded."""
    real = importlib.import_module

    def without_onnxruntime(name: str) -> ModuleType:
        if name == "onnxruntime":
            raise ImportError("libonnxruntime.so: wrong ELF class\nand more")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", without_onnxruntime)
    broken = [found for found in examine_packages() if found.state == "broken"]

    assert [found.name for found in broken] == ["import onnxruntime"]
    assert broken[0].detail == "libonnxruntime.so: wrong ELF class"
