"""The group: help, versions, misspelt commands, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from edgeq.cli.app import COMMANDS, app

HEAVY = ("torch", "tvm", "transformers", "numpy", "rich")


def test_help_names_every_command():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert all(f"  {name} " in result.output for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_helps_with_examples_that_name_it(name):
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    examples = result.output.split("Examples:")[1].strip().splitlines()
    assert 3 <= len(examples) <= 10
    assert all("edgeq" in line for line in examples)
    assert any(f"edgeq {name}" in line for line in examples)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_parse(name):
    import shlex

    command = app.get_command(None, name)
    for example in command.examples:
        words = shlex.split(example.split("<")[0].split("|")[-1])
        target = app.get_command(None, words[1])
        target.make_context(words[1], words[2:])


def test_help_imports_nothing_heavy():
    code = (
        "import sys, click.testing, edgeq.cli.app as a; "
        "r = click.testing.CliRunner().invoke(a.app, ['--help']); assert r.exit_code == 0, r.output; "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_misspelt_command_is_corrected():
    result = CliRunner().invoke(app, ["complie", "x"])
    assert result.exit_code == 2
    assert "did you mean 'compile'?" in result.output


def test_version_names_the_code_generator():
    result = CliRunner().invoke(app, ["--version"])
    names = [line.split()[0] for line in result.output.splitlines()]
    assert result.exit_code == 0
    assert names[:3] == ["edgeq", "tvm", "llvm"]
    assert all(line.split()[1] for line in result.output.splitlines())


def test_completion_script_is_printed(monkeypatch):
    done = subprocess.run(
        [sys.executable, "-c", "from edgeq.cli import main; main()"],
        env={"_EDGEQ_COMPLETE": "bash_source", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "complete" in done.stdout
