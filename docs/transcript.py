"""Fills README.md's transcript with what the commands print now: `make readme`.

Every command runs in the repository's root; stdout and stderr are shown as a terminal would show them, uncut.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- transcript: begin", "<!-- transcript: end -->"
COMMANDS = (
    "edgeq compile demo:smollm2-135m --target native --bits w4a8 -o build/smollm2 --overwrite",
    'edgeq run build/smollm2 --prompt "Explain photosynthesis to a child." --max-tokens 96',
    "edgeq inspect build/smollm2",
    "edgeq profile build/smollm2 --brief",
    "edgeq compile demo:minilm --bits w8a8 --lengths 32,128 -o build/minilm --overwrite",
    'edgeq run build/minilm --text "A cat sits on the mat." --text "A kitten rests on a rug." --text "Prices fell."',
    "edgeq package build/minilm -o build/minilm.app --overwrite",
    'build/minilm.app --similarity "A cat sits on the mat." "A kitten rests on a rug." "Prices fell."',
    "edgeq compile demo:smollm2-135m --target arm64 --bits w4a8 -o build/smollm2-arm64 --overwrite",
    "edgeq package build/smollm2-arm64 -o build/chat --overwrite",
    'qemu-aarch64 -cpu cortex-a72 build/chat "What is 2 + 2?" --max-tokens 16',
)


def shown(command: str) -> str:
    """`$ command` and its output; a command that fails ends the script."""
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "CI": "true"}
    done = subprocess.run(
        command, shell=True, cwd=README.parent, env=tools, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        sys.exit(f"{command} exited with {done.returncode}:\n{done.stdout}")
    return f"$ {command}\n{done.stdout.rstrip()}\n"


def main() -> None:
    """Replace what stands between the marks."""
    text = README.read_text(encoding="utf-8")
    start = text.index("\n", text.index(BEGIN)) + 1
    body = "\n".join(shown(command) for command in COMMANDS)
    README.write_text(text[:start] + f"```text\n{body}```\n" + text[text.index(END) :], encoding="utf-8")


if __name__ == "__main__":
    main()
