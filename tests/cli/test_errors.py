"""Errors: one message on stderr, the class's exit code, nothing on stdout."""

from __future__ import annotations

import signal
import subprocess
import sys

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
    errors.BudgetError: 11,
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


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_process_without_a_traceback(number, code):
    script = (
        "import os, signal, sys, click, edgeq.cli.app as a\n"
        "from edgeq.cli import main\n"
        "from edgeq.cli.command import Command\n"
        "@click.command('wait', cls=Command)\n"
        "def wait():\n"
        f"    os.kill(os.getpid(), {int(number)}); signal.pause()\n"
        "a.App.get_command = lambda self, ctx, name: wait\n"
        "a.COMMANDS = ('wait',)\n"
        "sys.argv = ['edgeq', 'wait']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
