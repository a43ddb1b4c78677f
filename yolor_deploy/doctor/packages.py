"""Python packages: what the base install needs, and what each extra adds."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence
from typing import NamedTuple

from yolor_deploy.doctor.finding import Finding

_AREA = "packages"


class _Package(NamedTuple):
    """A distribution, by the names that it may have; without an extra it is needed by all."""

    names: tuple[str, ...]
    use: str
    extra: str | None = None


_PACKAGES = (
    _Package(("numpy",), "arrays"),
    _Package(("onnx",), "model files"),
    _Package(("onnx-ir",), "changes to graphs"),
    _Package(("onnxruntime-gpu", "onnxruntime"), "runs models"),
    _Package(("pillow",), "image files"),
    _Package(("rich",), "tables"),
    _Package(("typer",), "the command line"),
    _Package(("torch",), "export and verify", "export"),
    _Package(("safetensors",), "checkpoints of that format", "export"),
    _Package(("pycocotools",), "eval", "eval"),
    _Package(("matplotlib",), "the picture of tune, the page of bench", "report"),
    _Package(("cuda-core",), "post-processing on a GPU", "cuda"),
    _Package(("cuda-bindings",), "post-processing on a GPU", "cuda"),
    _Package(("nvidia-ml-py",), "clocks and temperature of a GPU in bench", "cuda"),
    _Package(("pycuda",), "its arrays and streams are taken; nothing needs it", "pycuda"),
    _Package(
        ("tensorrt-rtx-cu13-bindings",), "a second parser and builder, no GPU", "tensorrt-rtx"
    ),
)
_MUST_LOAD = ("numpy", "onnx", "onnxruntime")


def examine_packages(packages: Sequence[_Package] = _PACKAGES) -> list[Finding]:
    """Look for packages by their metadata, and load those that nothing works without."""
    version = ".".join(map(str, sys.version_info[:3]))
    findings = [Finding(_AREA, "python", "ok", version)]
    findings += [_finding(package) for package in packages]
    for module in _MUST_LOAD:
        error = _why_not_loaded(module)
        if error is not None:
            findings.append(
                Finding(
                    _AREA,
                    f"import {module}",
                    "broken",
                    error,
                    hint=f"pip install --force-reinstall {module}",
                )
            )
    return findings


def _finding(package: _Package) -> Finding:
    for name in package.names:
        version = _version(name)
        if version is not None:
            return Finding(_AREA, name, "ok", version, package.use)
    name = package.names[-1]
    if package.extra is None:
        return Finding(
            _AREA, name, "broken", "not installed", package.use, "pip install yolor-deploy"
        )
    hint = f"pip install 'yolor-deploy[{package.extra}]'"
    return Finding(_AREA, name, "missing", "not installed", package.use, hint)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _why_not_loaded(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 - a damaged installation raises what it likes
        return (str(error) or type(error).__name__).splitlines()[0]
    return None
