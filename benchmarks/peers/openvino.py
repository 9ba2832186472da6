"""OpenVINO GenAI on the CPU: int4 symmetric weights in groups of 64, exported by optimum-cli."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from peers.runner import SHORT_PROMPT, NotInstalledError, Request, Round, main, random_tokens, resident_mb, seconds

EXPORT = "--task text-generation-with-past --weight-format int4 --group-size 64 --ratio 1.0 --sym"


def prepare(request: Request) -> None:
    """Run optimum-cli's export (its torchvision must match torch or be absent)."""
    exporter = Path(sys.executable).with_name("optimum-cli")
    if not exporter.exists():
        raise NotInstalledError("optimum-cli (python benchmarks/setup_peers.py installs it)")
    command = [str(exporter), "export", "openvino", "-m", str(request.model), *EXPORT.split(), str(request.prepared)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{done.stderr[-2000:]}")


def generate(pipeline, prompt: int, count: int, seed: int):
    """Generate exactly `count` tokens after `prompt` random ones; the pipeline's own timings."""
    import numpy as np
    import openvino as ov

    ids = np.array([random_tokens(prompt, seed)], np.int64)
    result = pipeline.generate(ov.Tensor(ids), max_new_tokens=count, ignore_eos=True, do_sample=False)
    return result.perf_metrics


def run_round(request: Request, started_at: float) -> Round:
    """Start, warm up, time prefill and decode in this process."""
    import openvino_genai

    pipeline = openvino_genai.LLMPipeline(str(request.prepared), "CPU", INFERENCE_NUM_THREADS=request.threads)
    generate(pipeline, SHORT_PROMPT, 1, seed=1)
    first = time.monotonic() - started_at
    prefill = None
    if not request.decode_only:
        generate(pipeline, request.prompt, 1, seed=2)
        prefill = request.prompt / seconds(lambda: generate(pipeline, request.prompt, 1, seed=3))
    generate(pipeline, SHORT_PROMPT, SHORT_PROMPT, seed=4)
    decode = 1e3 / generate(pipeline, SHORT_PROMPT, request.decode + 1, seed=5).get_tpot().mean
    now, high = resident_mb()
    return Round(
        version=openvino_genai.__version__,
        command=f"optimum-cli export openvino {EXPORT}; LLMPipeline, {request.threads} threads",
        weights_bytes=(request.prepared / "openvino_model.bin").stat().st_size,
        decode_tok_s=decode,
        prefill_tok_s=prefill,
        first_token_s=first,
        rss_mb=now,
        peak_mb=high,
    )


if __name__ == "__main__":
    main(prepare, run_round)
