"""Runs of the command line inside the test's process."""

from __future__ import annotations

from typer.testing import CliRunner, Result

from yolor_deploy.cli import app


def invoke(*arguments: object) -> Result:
    """Run ``yolor-deploy`` with arguments; what it raises unforeseen is raised here."""
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )


def assert_refused(result: Result, *words: str) -> None:
    """Check a failure that the user can mend: exit code 1, one message of three parts on stderr.

    Args:
        result: Of a command.
        words: Each must be in the message.
    """
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    parts = ("error: ", "  where: ", "  hint: ")
    lines = result.stderr.splitlines()
    assert [sum(line.startswith(part) for line in lines) for part in parts] == [1, 1, 1]
    for word in words:
        assert word in result.stderr, result.stderr
