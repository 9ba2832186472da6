"""llama.cpp, built natively from the sources inside PyPI's llama-cpp-python (setup_peers.py).

Its own ``llama-bench`` does the timing (one warm-up run, then one timed run of each test). Its
start is timed as the whole of a second process that reads an 8-token prompt without warm-up.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from peers.runner import SHORT_PROMPT, NotInstalledError, Request, Round, main, resident_mb

POLL_SECONDS = 0.01


def tools(request: Request) -> Path:
    """The folder that setup_peers.py left: `source` and `build`."""
    if request.tools is None:
        raise NotInstalledError("llama.cpp: --tools says where its folder is")
    return request.tools


def program(request: Request, name: str) -> str:
    """The path of a llama.cpp program under `tools`."""
    path = tools(request) / "build" / "bin" / name
    if not path.exists():
        raise NotInstalledError(f"{name} of llama.cpp (python benchmarks/setup_peers.py builds it)")
    return str(path)


def quiet(command: list[str]) -> None:
    """Run a converter; its output is shown only if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{done.stdout[-1000:]}{done.stderr[-2000:]}")


def prepare(request: Request) -> None:
    """Convert the model to an f16 GGUF beside `prepared`, then quantize that to `format`."""
    quantizer = program(request, "llama-quantize")
    full = request.prepared.with_name("f16.gguf")
    if not full.exists():
        partial = full.with_suffix(".partial")
        script = str(tools(request) / "source" / "convert_hf_to_gguf.py")
        quiet([sys.executable, script, str(request.model), "--outtype", "f16", "--outfile", str(partial)])
        partial.rename(full)
    quiet([quantizer, str(full), str(request.prepared), request.format, str(request.threads)])


def watch(command: list[str]) -> tuple[str, float, float]:
    """Run to the end: (stdout, seconds, highest resident MB)."""
    start, high = time.monotonic(), 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while process.poll() is None:
            high = max(high, resident_mb(process.pid)[1])
            time.sleep(POLL_SECONDS)
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with {process.returncode}")
    return output, time.monotonic() - start, high


def version(request: Request) -> str:
    """What llama-bench says of itself, in one line."""
    done = subprocess.run([program(request, "llama-bench"), "--version"], capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).splitlines()[0].removeprefix("version: ")


def run_round(request: Request, _started_at: float) -> Round:
    """One llama-bench run of both tests, and (unless decode only) one for the start."""
    base = [program(request, "llama-bench"), "-m", str(request.prepared), "-t", str(request.threads), "-r", "1"]
    prompt = "0" if request.decode_only else str(request.prompt)
    command = [*base, "-p", prompt, "-n", str(request.decode), "-o", "json"]
    first = None
    if not request.decode_only:
        first = watch([*base, "-p", str(SHORT_PROMPT), "-n", "0", "--no-warmup"])[1]
    output, _, high = watch(command)
    tests = {"decode" if test["n_gen"] else "prefill": test["avg_ts"] for test in json.loads(output)}
    return Round(
        version=version(request),
        command=shlex.join(["llama-bench", "-m", request.prepared.name, *command[3:]]),
        weights_bytes=request.prepared.stat().st_size,
        decode_tok_s=tests["decode"],
        prefill_tok_s=tests.get("prefill"),
        first_token_s=first,
        rss_mb=high,  # the process is gone by the time its figures are read
        peak_mb=high,
    )


if __name__ == "__main__":
    main(prepare, run_round)
