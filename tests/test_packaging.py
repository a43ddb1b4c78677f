"""The wheel: with the NMS library where it can be built, and without it elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from yolor_deploy import __version__
from yolor_deploy.cuda.library import LIBRARY

pytestmark = pytest.mark.nms_build

ROOT = Path(__file__).parents[1]
IN_WHEEL = f"yolor_deploy/lib/{LIBRARY}"


def wheel(folder: Path, *options: str, **environment: str) -> Path:
    """Build a wheel of the checkout."""
    pip = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation"]
    result = subprocess.run(
        [*pip, "--wheel-dir", str(folder), *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_has_a_library_that_loads(tmp_path: Path) -> None:
    """With a C++ compiler and no nvcc the host part is there, and the package finds it."""
    path = wheel(tmp_path, "-Ccmake.define.YOLOR_NMS_CUDA=OFF")

    assert path.name.startswith(f"yolor_deploy-{__version__}-py3-none-")
    site = tmp_path / "site"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert [name for name in names if name.startswith("yolor_deploy/lib/")] == [IN_WHEEL]
    code = (  # without the finder of the editable installation, which comes before any path
        "import sys; sys.path.insert(0, 'site'); "
        "sys.meta_path = [f for f in sys.meta_path if 'editable' not in type(f).__module__]; "
        "from yolor_deploy.cuda.library import NmsLibrary; library = NmsLibrary(); "
        "print(library.path, library.version, library.cuda_architectures)"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found, *facts = loaded.stdout.split()
    assert (tmp_path / found).samefile(site / IN_WHEEL)
    assert facts == ["1", "()"]


def test_wheel_is_made_without_a_compiler(tmp_path: Path) -> None:
    """Where nothing can be compiled the package is pure Python."""
    path = wheel(tmp_path, CXX=str(tmp_path / "no-compiler"))

    assert path.name == f"yolor_deploy-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    assert not [name for name in names if name.startswith("yolor_deploy/lib/")]
    assert "yolor_deploy/cli/__init__.py" in names
