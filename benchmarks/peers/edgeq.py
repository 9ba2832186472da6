"""edgeq: the artifact of `edgeq compile`, run by a plain C program (edgeq_bench.c), without Python."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from build_c import build

from edgeq.lower.objects import cache_folder
from peers.runner import SHORT_PROMPT, NotInstalledError, Request, Round, main

SOURCE = Path(__file__).parent.parent / "edgeq_bench.c"
HEADERS = Path(__file__).parents[2] / "edgeq" / "runtime"


def compile_command(request: Request) -> list[str]:
    """The `edgeq compile` that makes the artifact, run by this Python's own edgeq."""
    program = Path(sys.executable).with_name("edgeq")
    if not program.exists():
        raise NotInstalledError("edgeq (pip install -e .)")
    what = ["--target", "native", "--bits", request.format, "-o", str(request.prepared)]
    return [str(program), "compile", str(request.model), *what]


def prepare(request: Request) -> None:
    """Compile the model with `format` as its bits."""
    command = compile_command(request)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{done.stderr[-2000:]}")


def host() -> Path:
    """The benchmark's C program, built in edgeq's cache folder."""
    if not SOURCE.exists() or not (HEADERS / "edgeq.h").exists():
        raise NotInstalledError("edgeq_bench.c or edgeq/runtime/edgeq.h")
    program = cache_folder() / "bench" / "edgeq_bench"
    return build(SOURCE, program, f"-I{HEADERS}", "-ldl", header=HEADERS / "edgeq.h")


def run_round(request: Request, started_at: float) -> Round:
    """One run of the C program; the time that this Python took is not part of the start."""
    del started_at
    prompt = 0 if request.decode_only else request.prompt
    options = [str(request.threads), str(prompt), str(request.decode), str(SHORT_PROMPT)]
    command = [str(host()), str(request.prepared), *options, repr(time.monotonic())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{done.stderr[-2000:]}")
    figures = json.loads(done.stdout)
    return Round(
        command=shlex.join(["edgeq_bench", request.prepared.name, *options]),
        **figures,
    )


if __name__ == "__main__":
    main(prepare, run_round)
