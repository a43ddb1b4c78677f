"""The Python bindings of several versions of TensorRT, asked for their names without TensorRT.

They import over libraries that have the right file names and nothing in them: nothing is called.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PACKAGES = ROOT / "scripts" / "tensorrt-bindings.txt"
FOLDER = Path(sys.prefix) / "tensorrt-bindings"
RTX = "rtx"
"""Instead of a version: TensorRT-RTX, which is installed as it is."""

_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")
_FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
    # The parsers of 8.6 that are gone
    "_ZN11nvuffparser15createUffParserEv",
    "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN14nvcaffeparser117createCaffeParserEv",
    "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
)
"""What the bindings need of these libraries to be loaded."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a module says of itself.

    Attributes:
        version: Of the module.
        capabilities: What our code makes of it.
        present: Paths that it has, of those that were asked for.
        read_only: Those of them that cannot be assigned to.
        keywords: Of each of these, the names of its arguments, as its docstring tells.
        returns: Likewise the classes of its results; empty where that is not told.
        members: Names of everything in its classes.
    """

    version: str
    capabilities: Mapping[str, Any]
    present: frozenset[str]
    read_only: frozenset[str]
    keywords: Mapping[str, frozenset[str]]
    returns: Mapping[str, frozenset[str]]
    members: frozenset[str]


def versions() -> tuple[str, ...]:
    """Return the versions that scripts/install-tensorrt-bindings knows."""
    lines = PACKAGES.read_text(encoding="utf-8").splitlines()
    return tuple(
        line.partition(";")[0].partition("==")[2] for line in lines if not line.startswith("#")
    )


def why_unavailable() -> str | None:
    """Return why no bindings can be imported here, or None if some can."""
    if shutil.which("g++") is None:
        return "stand-ins for TensorRT's libraries need g++"
    if not any((FOLDER / version).is_dir() for version in versions()):
        return f"nothing in {FOLDER}: run scripts/install-tensorrt-bindings"
    return None


def why_missing(version: str) -> str | None:
    """Return why a version cannot be imported here, or None if it can."""
    if (FOLDER / version).is_dir():
        return None
    return f"no bindings of TensorRT {version} for this Python and platform in {FOLDER}"


def ask(version: str, paths: Iterable[str], folder: Path) -> Answers:
    """Import a version in a process of its own, and ask it for names.

    Args:
        version: One of ``versions``, or RTX.
        paths: What to ask for.
        folder: An empty folder, for stand-ins.
    """
    libraries = [] if version == RTX else _stand_ins(version.partition(".")[0], folder)
    question = {
        "module": "tensorrt_rtx_bindings" if version == RTX else "tensorrt_bindings",
        "folder": None if version == RTX else str(FOLDER / version),
        "libraries": [str(library) for library in libraries],
        "paths": sorted(set(paths)),
    }
    result = subprocess.run(
        [sys.executable, "-m", "tests.backends.tensorrt.answer"],
        input=json.dumps(question),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    return Answers(
        told["version"],
        told["capabilities"],
        present=frozenset(told["present"]),
        read_only=frozenset(told["read_only"]),
        keywords={path: frozenset(names) for path, names in told["keywords"].items()},
        returns={path: frozenset(names) for path, names in told["returns"].items()},
        members=frozenset(told["members"]),
    )


def _stand_ins(major: str, folder: Path) -> list[Path]:
    source = folder / "stand_in.cpp"
    lines = [f'extern "C" void* {name}() {{ return nullptr; }}\n' for name in _FUNCTIONS]
    source.write_text("".join(lines), encoding="utf-8")
    libraries = [folder / f"lib{name}.so.{major}" for name in _LIBRARIES]
    for library in libraries:
        soname = f"-Wl,-soname,{library.name}"
        command = ["g++", "-shared", "-fPIC", soname, str(source), "-o", str(library)]
        subprocess.run(command, check=True, capture_output=True)
    return libraries
