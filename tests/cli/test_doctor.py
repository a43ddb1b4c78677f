"""``yolor-deploy doctor``."""

from __future__ import annotations

import json

import pytest

import yolor_deploy.doctor
from tests.cli.invoke import invoke
from yolor_deploy.doctor import Finding


def test_table_has_a_line_for_each_finding() -> None:
    """What is there, and what mends what is not."""
    result = invoke("doctor")

    assert result.exit_code == 0, result.output
    for name in ("numpy", "onnxruntime", "NMS library"):
        assert name in result.stdout


def test_json_has_all_findings() -> None:
    """A script finds state and remedy by name."""
    value = json.loads(invoke("doctor", "--json").stdout)

    assert value["ok"] is True
    assert list(value["findings"][0]) == ["area", "name", "state", "detail", "use", "hint"]
    assert {finding["area"] for finding in value["findings"]} == {"packages", "GPU", "NMS"}


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_what_is_broken_is_a_failure(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    """The exit code says it, and the output still tells everything."""
    broken = Finding("packages", "numpy", "broken", "not installed", hint="pip install numpy")
    monkeypatch.setattr(yolor_deploy.doctor, "examine", lambda: [broken])

    result = invoke("doctor", *arguments)

    assert result.exit_code == 1
    assert "pip install numpy" in result.stdout
