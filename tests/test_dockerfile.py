"""``Dockerfile`` names only what is there. No Docker here builds it: this and hadolint read it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from tests.dockerfile import Stage, is_ignored, read_stages
from yolor_deploy.backends.tensorrt.plugin import PACKAGED
from yolor_deploy.cuda.library import FOLDER, LIBRARY

if sys.version_info >= (3, 11):
    import tomllib
else:  # it runs the package; our checks want 3.11
    tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
IGNORE = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
STAGES = read_stages(TEXT)
BUILT = ("plugins/nms/build/host/CMakeCache.txt", "yolor_deploy/lib/libyolor_nms.so")
"""What a checkout makes, and an image must make for itself."""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """Return pyproject.toml."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return dict(tomllib.load(file))


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """Return the files that git tracks."""
    command = ["git", "ls-files", "-z"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip("not a checkout of git")
    return {name for name in result.stdout.split("\0") if name and (ROOT / name).exists()}


def below(source: str, files: set[str]) -> set[str]:
    """Return a file, or the files of a folder."""
    name = source.removeprefix("./").rstrip("/")
    return {file for file in files if file == name or file.startswith(f"{name}/")}


def copied(stage: Stage) -> set[str]:
    """Return what a stage, and those that it stands on, have of the context, as in the context."""
    own = {source for copy in stage.copies if copy.stage is None for source in copy.sources}
    return own | (copied(STAGES[stage.base]) if stage.base in STAGES else set())


def lines(stage: Stage) -> list[str]:
    """Return the commands of a stage."""
    return [part.strip() for run in stage.runs for part in re.split(r"&&|\|\|?|;", run)]


def test_stages_are_those_that_we_tell_of() -> None:
    """The names in comments and documentation; the last is what a plain build makes."""
    assert [*STAGES] == ["plugins", "package", "wheel", "runtime"]
    targets = re.findall(r"--target[= ](\S+)", TEXT)
    assert targets
    assert set(targets) <= {*STAGES}


def test_stages_stand_on_earlier_ones_or_on_the_pinned_image() -> None:
    """No stage that does not exist, no image without a version."""
    known: list[str] = ["scratch"]
    for name, stage in STAGES.items():
        image = re.fullmatch(r"nvcr\.io/nvidia/tensorrt:\d\d\.\d\d-py3", stage.base)
        assert image or stage.base in known, stage.base
        assert {copy.stage for copy in stage.copies} - {None} <= set(known), name
        known.append(name)


def test_arguments_are_declared_before_they_are_used() -> None:
    """Examples in the comments name them too."""
    arguments = set(re.findall(r"^ARG (\w+)", TEXT, re.MULTILINE))

    assert set(re.findall(r"--build-arg (\w+)=", TEXT)) <= arguments
    assert arguments == {"TENSORRT_TAG", "EXTRAS"}


@pytest.mark.parametrize(
    "source",
    sorted(
        {source for s in STAGES.values() for c in s.copies if not c.stage for source in c.sources}
    ),
)
def test_source_is_in_the_checkout_and_in_the_context(source: str, tracked: set[str]) -> None:
    """All its files are tracked, and .dockerignore lets them through."""
    files = below(source, tracked)

    assert files
    assert [file for file in sorted(files) if is_ignored(file, IGNORE)] == []


def test_context_has_nothing_else(tracked: set[str]) -> None:
    """What no stage copies stays out, and what a checkout has built."""
    wanted = {
        file for s in STAGES.values() for source in copied(s) for file in below(source, tracked)
    }
    folders = {"scripts", "plugins"}  # of which parts are copied

    sent = {file for file in tracked if not is_ignored(file, IGNORE)}
    assert {file for file in sent - wanted if PurePosixPath(file).parts[0] not in folders} == set()
    assert all(is_ignored(path, IGNORE) for path in (*BUILT, ".git/HEAD", ".venv/bin/python"))
    assert is_ignored("yolor_deploy/core/__pycache__/nms.pyc", IGNORE)


def test_package_is_built_of_all_that_its_build_reads(project: dict[str, Any]) -> None:
    """The files that pyproject.toml names are copied before the wheel is made."""
    tools = project["tool"]["scikit-build"]
    needed = [
        "pyproject.toml",
        project["project"]["readme"],
        *project["project"]["license-files"],
        tools["cmake"]["source-dir"],
        *tools["wheel"]["packages"],
    ]

    sources = copied(STAGES["package"])
    assert [name for name in needed if name not in sources] == []
    assert any(tools["metadata"]["version"]["input"].startswith(f"{name}/") for name in sources)


def test_scripts_and_presets_exist() -> None:
    """What a stage runs of ours was copied into it, can be run, and knows its arguments."""
    presets = json.loads((ROOT / "plugins/nms/CMakePresets.json").read_text(encoding="utf-8"))
    known = [
        {preset["name"] for preset in presets[kind]}
        for kind in ("configurePresets", "buildPresets", "testPresets")
    ]
    called = {
        (stage.name, match[1], match[2])
        for stage in STAGES.values()
        for line in lines(stage)
        if (match := re.search(r"\./(scripts/\S+)(.*)", line))
    }

    assert {script for _, script, _ in called} == {"scripts/build-plugins"}
    for stage, script, arguments in called:
        assert (ROOT / script).stat().st_mode & 0o111
        assert script in copied(STAGES[stage])
        assert shlex.split(arguments)
        assert all(set(shlex.split(arguments)) <= names for names in known)


def test_libraries_are_where_the_package_looks_for_them() -> None:
    """The files that the build is checked for are those that the package opens."""
    tested = {line.split()[-1] for line in lines(STAGES["plugins"]) if line.startswith("test -f")}

    package = FOLDER.parents[1]
    assert tested == {str(path.relative_to(package)) for path in (FOLDER / LIBRARY, PACKAGED)}


def test_installed_packages_are_pinned(project: dict[str, Any]) -> None:
    """Every pip install has the constraints, which name what it asks for; no torch."""
    constraints = (ROOT / "scripts/constraints.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^([\w-]+)==", constraints, re.MULTILINE))
    installs = [line for s in STAGES.values() for line in lines(s) if "pip install" in line]

    assert len(installs) == 2
    for line in installs:
        words = shlex.split(line.partition("pip install")[2])
        assert Path(words[words.index("--constraint") + 1]).name == "constraints.txt"
        named = {word for word in words if re.fullmatch(r"[a-z][\w-]*", word)}
        assert named <= pinned
        assert not named & {"torch", "tensorrt"}
    requires = {re.split(r"[<>=]", name)[0] for name in project["build-system"]["requires"]}
    assert all(name in installs[0] for name in requires)


def test_extras_exist_and_bring_no_torch(project: dict[str, Any]) -> None:
    """The extras of the image are extras of the package."""
    extras = project["project"]["optional-dependencies"]
    (told,) = re.findall(r"^ARG EXTRAS=(\S+)", TEXT, re.MULTILINE)

    names = told.split(",")
    assert set(names) <= set(extras)
    assert not [line for name in names for line in extras[name] if line.startswith("torch")]
    assert any("[${EXTRAS}]" in run for run in STAGES["runtime"].runs)


def test_python_of_the_image_is_one_that_the_package_takes(project: dict[str, Any]) -> None:
    """The comment tells which Python the image has."""
    (told,) = re.findall(r"and Python (\d+)\.(\d+)\.", TEXT)
    (lowest,) = re.findall(r"^>=(\d+)\.(\d+)$", project["project"]["requires-python"])

    assert tuple(map(int, told)) >= tuple(map(int, lowest))
    assert f"# Tags: {STAGES['runtime'].base.partition(':')[2]} is " in TEXT


def test_image_runs_the_program_as_nobody_special(project: dict[str, Any]) -> None:
    """The entry point is the script of the package, and the user is not root."""
    (entry,) = STAGES["runtime"].instructions["ENTRYPOINT"]
    (user,) = STAGES["runtime"].instructions["USER"]

    assert json.loads(entry) == [*project["project"]["scripts"]]
    assert int(user.partition(":")[0]) > 0


@pytest.mark.parametrize(
    ("path", "patterns", "ignored"),
    [
        pytest.param("a/b", ["a"], True, id="folder"),
        pytest.param("ab", ["a"], False, id="whole-names"),
        pytest.param("a/b", ["*", "!a"], False, id="exception"),
        pytest.param("a/b", ["!a", "*"], True, id="last-decides"),
        pytest.param("a/b", ["b"], False, id="from-the-root"),
        pytest.param("a/b/c", ["**/b"], True, id="at-any-depth"),
        pytest.param("b", ["**/b"], True, id="at-no-depth"),
        pytest.param("a/b", ["# a", ""], False, id="comment"),
        pytest.param("a/x.pyc", ["**/*.pyc"], True, id="star"),
        pytest.param("a/b.c", ["a/b?c"], True, id="one-character"),
    ],
)
def test_patterns_are_read_as_docker_reads_them(
    path: str, patterns: list[str], *, ignored: bool
) -> None:
    """Of the rules of .dockerignore, those that ours relies on."""
    assert is_ignored(path, patterns) == ignored
