"""Every name of TensorRT that our code uses is there in every version that it would use it in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.backends.tensorrt import bindings
from tests.backends.tensorrt.bindings import RTX, Answers, ask
from tests.backends.tensorrt.name_tables import GAPS, LOOKED_UP, TABLES, Gap
from tests.backends.tensorrt.name_walker import Found, Use, walk
from yolor_deploy import backends

ROOT = Path(str(backends.__file__)).parent
PACKAGES = ("tensorrt", "tensorrt_rtx")
PYTHONS = {"8.6.1": (3, 12)}
"""First Python without a wheel, of versions that are left out there."""


def version_params() -> Iterator[object]:
    """Yield the versions, with the marker of what they need."""
    for version in bindings.versions():
        end = PYTHONS.get(version)
        if end is not None and sys.version_info >= end:
            reason = f"no bindings of TensorRT {version} for Python {sys.version_info.minor}"
            yield pytest.param(version, marks=pytest.mark.skip(reason=reason))
        else:
            yield pytest.param(version, marks=pytest.mark.tensorrt_names)
    yield pytest.param(RTX, marks=pytest.mark.tensorrt_rtx)


@cache
def found() -> Found:
    """Return what our files use."""
    files = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    sources = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files}
    return walk(sources, TABLES)


@pytest.fixture(scope="module", params=version_params())
def answers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Answers]:
    """Return a version, and what it says."""
    version: str = request.param
    reason = None if version == RTX else bindings.why_missing(version)
    if reason is not None:
        pytest.skip(reason)
    paths = {use.path for use in found().uses} | set(TABLES.returns)
    return version, ask(version, paths, tmp_path_factory.mktemp(version))


def guarded(uses: list[Use]) -> set[tuple[str, str]]:
    """Return paths and functions that ask for the path."""
    return {(use.path, use.function) for use in uses if use.is_asked}


def names_of(use: Use) -> list[str]:
    """Return the keys in GAPS that a use needs."""
    return [use.path, f"{use.path}="] if use.is_set else [use.path]


def lacking(version: Answers) -> set[str]:
    """Return what our code names and a version does not have."""
    names = {name for use in found().uses for name in names_of(use)}
    there = version.present | {f"{path}=" for path in version.present - version.read_only}
    return names - there


def wrong_uses(version: Answers, gaps: dict[str, Gap]) -> list[str]:
    """Return uses of what a version does not have, where nothing keeps our code from them."""
    absent, asked = lacking(version), guarded(found().uses)
    return [
        f"{use.where}: {name} is used with {version.version}, which has none"
        for use in found().uses
        for name in names_of(use)
        if name in absent and not use.is_asked and (use.path, use.function) not in asked
        if name not in gaps
        or (condition := gaps[name].used_if) is None
        or condition(version.capabilities, version.present)
    ]


def test_tables_say_what_everything_is() -> None:
    """A parameter, field or function of ours that is Any is in a table, new files' too."""
    assert found().unknown == []


def test_names_are_found_at_all() -> None:
    """The walk does not pass by finding nothing."""
    paths = {use.path for use in found().uses}

    assert paths >= {
        *("Builder", "BuilderFlag.TF32", "OnnxParser.parse_from_file", "ILogger.Severity.ERROR"),
        *("ParserError.desc", "ITensor.shape", "DataType.name", "IProgressMonitor.step_complete"),
        *("IExecutionContext.execute_async_v3", "ICudaEngine.get_tensor_name", "Runtime"),
    }


def test_versions_are_those_that_are_installed() -> None:
    """The table of gaps speaks of these versions, and of no other."""
    known = {*bindings.versions(), RTX}

    assert {version for gap in GAPS.values() for version in gap.lacking} == known
    assert not [name for name, gap in GAPS.items() if set(gap.lacking) == known]  # a name's typo


def test_gaps_have_a_condition_where_the_code_does_not_ask() -> None:
    """An entry says when a name is used, if and only if it is used without asking for it first."""
    asked = guarded(found().uses)
    unasked = {
        name
        for use in found().uses
        for name in names_of(use)
        if not use.is_asked and (use.path, use.function) not in asked
    }

    assert {name for name, gap in GAPS.items() if gap.used_if} == unasked & set(GAPS)


def test_version_lacks_what_the_table_says(answers: tuple[str, Answers]) -> None:
    """Nothing else is missing, and what the table calls missing is."""
    name, version = answers

    assert version.version.startswith("1." if name == RTX else name)
    assert lacking(version) == {path for path, gap in GAPS.items() if name in gap.lacking}


def test_code_uses_nothing_that_a_version_lacks(answers: tuple[str, Answers]) -> None:
    """What our code makes of a module keeps it from every name that the module lacks."""
    _, version = answers

    assert wrong_uses(version, GAPS) == []


def test_arguments_have_the_names_of_every_version(answers: tuple[str, Answers]) -> None:
    """An argument that is given by name has that name."""
    _, version = answers

    assert not [
        f"{use.where}: {use.path} has no {', '.join(wrong)}"
        for use in found().uses
        if use.path in version.present
        if (wrong := set(use.keywords) - version.keywords[use.path])
    ]


def test_results_are_what_the_table_says(answers: tuple[str, Answers]) -> None:
    """Where the bindings tell the class of a result, it is that of the table."""
    _, version = answers

    told = {path: version.returns.get(path) for path in TABLES.returns}
    assert {path: {TABLES.returns[path]} for path, kinds in told.items() if kinds} == {
        path: kinds for path, kinds in told.items() if kinds
    }


def test_nothing_of_tensorrt_is_taken_for_something_else(answers: tuple[str, Answers]) -> None:
    """No attribute that the walk passed over is one of a class of TensorRT."""
    _, version = answers

    assert not [
        f"{where}: .{name} is of TensorRT: what has it? (variables, functions or returns)"
        for name, where in found().loose
        if name in version.members and "_" in name.strip("_")
    ]


@pytest.mark.tensorrt_names
@pytest.mark.parametrize("path", sorted(LOOKED_UP))
def test_method_is_looked_up_by_bindings(path: str) -> None:
    """The bindings that are installed hold the name, although they have no such attribute."""
    files = list(bindings.FOLDER.glob("*/tensorrt_bindings/tensorrt.so"))

    assert files
    name = path.rpartition(".")[2].encode()
    assert all(b"\0" + name + b"\0" in file.read_bytes() for file in files)
