"""Errors: one message on stderr, the class's exit code, nothing on stdout."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from edgeq import errors
from edgeq.cli.command import Command

CODES = {
    errors.UsageError: 2,
    errors.ModelError: 3,
    errors.UnsupportedError: 4,
    errors.OutputError: 5,
    errors.ArtifactError: 6,
    errors.TargetError: 7,
    errors.ContextError: 8,
    errors.ToolchainError: 9,
    errors.VerifyError: 10,
}


def failing(error: BaseException) -> click.Command:
    @click.command("fail", cls=Command, examples=())
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(("kind", "code"), list(CODES.items()))
def test_deliberate_errors(kind, code):
    result = CliRunner().invoke(failing(kind("the disk is full: free some")), [])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr == "edgeq: error: the disk is full: free some\n"


def test_every_error_class_has_its_own_code():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.EdgeqError]
    assert set(kinds) == set(CODES)
    assert len({kind.exit_code for kind in kinds}) == len(kinds)


def test_unexpected_error_hints_at_debug():
    result = CliRunner().invoke(failing(ZeroDivisionError("oops")), [])
    assert result.exit_code == 1
    assert "unexpected ZeroDivisionError: oops" in result.stderr
    assert "--debug" in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback():
    result = CliRunner().invoke(failing(ZeroDivisionError("oops")), ["--debug"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_quiet_still_says_the_error():
    result = CliRunner().invoke(failing(errors.ModelError("no such file")), ["-q"])
    assert result.stderr == "edgeq: error: no such file\n"


def test_ctrl_c_is_130():
    result = CliRunner().invoke(failing(KeyboardInterrupt()), [])
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_levels_do_not_leak_into_the_next_command():
    from edgeq.cli import console

    CliRunner().invoke(failing(errors.ModelError("x")), ["--debug"])
    assert console.level() == console.NORMAL


def test_codes_are_documented():
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "exit-codes.md").read_text()
    assert all(f"| {code} | `{kind.__name__}` |" in text for kind, code in list(CODES.items()))
