"""Puts the stand-in of TensorRT where a process looks for modules."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.backends import stand_in_tensorrt
from yolor_deploy.backends import tensorrt
from yolor_deploy.backends.tensorrt import Flavour, build
from yolor_deploy.cuda.driver import Driver, Gpu

GPU = Driver(13000, (Gpu("NVIDIA Test", (8, 6), 8 * 2**30),), None)
NO_GPU = Driver(0, (), "no NVIDIA driver: libcuda.so.1 was not found")


def written(folder: Path, flavour: Flavour) -> Path:
    """Write the module into a folder, which is to be on the path."""
    return Path(shutil.copyfile(stand_in_tensorrt.__file__, folder / f"{flavour}.py"))


def install(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    flavour: Flavour = "tensorrt",
    driver: Driver = GPU,
) -> None:
    """Install the module for this process and those that it starts, on a machine with a GPU."""
    spec = importlib.util.spec_from_file_location(flavour, written(folder, flavour))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setitem(tensorrt._MODULES, flavour, (flavour,))
    monkeypatch.setitem(sys.modules, flavour, module)  # and no longer than the test
    monkeypatch.setattr(build, "gpus", lambda: driver)


def uninstall(monkeypatch: pytest.MonkeyPatch, flavour: Flavour = "tensorrt") -> None:
    """Let a module be missing, whatever is installed."""
    monkeypatch.setitem(tensorrt._MODULES, flavour, ("no_such_module",))


def asked_of(plan: Path) -> dict[str, Any]:
    """Return what the builder of the stand-in was asked for."""
    value: dict[str, Any] = json.loads(plan.read_bytes()[4:])
    return value
