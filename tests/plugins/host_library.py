"""How the host build of ``plugins/nms`` is built for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from yolor_deploy.cuda.library import LIBRARY

SOURCE = Path(__file__).parents[2] / "plugins" / "nms"
TOOLS = ("cmake", "ninja", "g++")


def _path() -> str:
    """Return where tools are looked for: beside this Python too, where pip puts them."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])


def why_unavailable() -> str | None:
    """Return which tool of the build is missing, or None if it can be built here."""
    missing = [tool for tool in TOOLS if shutil.which(tool, path=_path()) is None]
    return f"plugins/nms needs {', '.join(missing)} to be built" if missing else None


def build_host(folder: Path) -> Path:
    """Build the library with g++ alone, in an empty folder, and return its path."""
    configure = ["cmake", "--preset", "host", "-B", str(folder), "-DCMAKE_CXX_COMPILER=g++"]
    for command in (configure, ["cmake", "--build", str(folder), "--target", "yolor_nms"]):
        result = subprocess.run(
            [str(shutil.which(command[0], path=_path())), *command[1:]],
            cwd=SOURCE,
            env={**os.environ, "PATH": _path()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
    return folder / LIBRARY
