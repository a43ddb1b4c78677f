"""``yolor-deploy models``, and the command line as a whole."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import pytest

from tests.cli.invoke import invoke
from yolor_deploy import __version__
from yolor_deploy.families.catalogue import CATALOGUE, CONDITIONS

COMMANDS = [
    *("export", "build", "tune", "verify", "eval", "diff", "detect", "info", "models", "doctor")
]


def test_table_has_every_model_and_the_conditions() -> None:
    """Numbers of others are shown with what they were measured on."""
    result = invoke("models")

    assert result.exit_code == 0
    rows = [line for line in result.stdout.splitlines() if line.startswith("│")]
    assert [row.split()[1] for row in rows] == [model.name for model in CATALOGUE]
    for condition in CONDITIONS:
        assert condition in result.stdout
    d6 = next(row for row in rows if " yolor-d6 " in row)
    assert all(text in d6 for text in ("151.8 M", "934", "1280", "8-64", "57.3 test-dev", "34"))


def test_json_has_stable_keys() -> None:
    """One record per model, numbers as numbers."""
    value = json.loads(invoke("models", "--json").stdout)

    assert list(value) == ["conditions", "models"]
    assert [model["name"] for model in value["models"]] == [m.name for m in CATALOGUE]
    assert value["models"] == json.loads(json.dumps([asdict(model) for model in CATALOGUE]))
    assert list(value["models"][0]) == [
        *("name", "source", "parameters", "gflops", "size", "strides", "ap", "ap_split", "fps"),
        "is_fps_old",
    ]


def test_help_lists_commands_in_the_order_of_use() -> None:
    """A newcomer reads from top to bottom."""
    text = invoke("--help").stdout

    assert [
        name for name in re.findall(r"^\W*([a-z]+)", text, re.MULTILINE) if name in COMMANDS
    ] == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    """Help is a success, and shows the options."""
    result = invoke(command, "--help")

    assert result.exit_code == 0
    assert "--help" in result.stdout


def test_version_is_shown() -> None:
    """The version alone, for scripts."""
    assert invoke("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["export"], ["models", "--no-such-option"], ["verify", "a.onnx"]]
)
def test_usage_errors_have_exit_code_2(arguments: list[str]) -> None:
    """A command that cannot be understood is told from one that failed."""
    assert invoke(*arguments).exit_code == 2
