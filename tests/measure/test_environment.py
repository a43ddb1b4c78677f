"""What is noted of the machine behind a number."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import pytest

from yolor_deploy.measure.environment import current_environment, memory_bytes


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, as somebody."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree with one commit."""
    (tmp_path / "file").write_text("1", encoding="utf-8")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    return tmp_path


def test_environment_is_of_this_machine() -> None:
    """Versions are those that are imported, and all of it is plain JSON."""
    environment = current_environment()

    assert environment.cpu
    assert environment.cores >= 1
    assert environment.python == platform.python_version()
    assert environment.packages["numpy"] == np.__version__
    assert environment.commit is None
    assert json.loads(json.dumps(environment.to_json())) == environment.to_json()


def test_commit_is_that_of_the_tree(tree: Path) -> None:
    """A tree as it was committed is named by its hash alone."""
    assert current_environment(tree).commit == git(tree, "rev-parse", "HEAD")


def test_changed_tree_is_marked(tree: Path) -> None:
    """A number from a modified tree cannot pass for the commit's; new files do not count."""
    (tree / "new").write_text("x", encoding="utf-8")
    untouched = current_environment(tree).commit
    (tree / "file").write_text("2", encoding="utf-8")

    changed = current_environment(tree).commit

    assert changed == f"{untouched}+changes"
    assert untouched == git(tree, "rev-parse", "HEAD")


def test_folder_outside_a_tree_has_no_commit(tmp_path: Path) -> None:
    """No repository is no error."""
    assert current_environment(tmp_path).commit is None


def test_machine_without_git_has_no_commit(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is not there is no error."""
    monkeypatch.setenv("PATH", str(tree))

    assert current_environment(tree).commit is None


def test_memory_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages times their size; 0 where the system does not say."""
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__, raising=False)
    known = memory_bytes()

    def unknown(_: str) -> int:
        raise ValueError

    monkeypatch.setattr(os, "sysconf", unknown, raising=False)

    assert (known, memory_bytes()) == (4_096_000, 0)
