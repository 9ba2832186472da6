"""onnxruntime-genai on the CPU: int4 weights in blocks of 32, int8 products (accuracy level 4)."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time

from peers.runner import SHORT_PROMPT, Request, Round, main, random_tokens, resident_mb, seconds

BUILD = "-p int4 -e cpu --extra_options int4_accuracy_level=4 int4_block_size=32"


def prepare(request: Request) -> None:
    """Run the package's own model builder."""
    import onnxruntime_genai  # noqa: F401  (says that it is missing before a long command starts)

    where = ["-m", str(request.model), "-o", str(request.prepared), "-c", str(request.prepared.with_name("ort-cache"))]
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", *where, *BUILD.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{done.stderr[-2000:]}")


def load(request: Request):
    """The model with `threads` threads (its default would be the number of physical cores)."""
    import onnxruntime_genai as og

    config = og.Config(str(request.prepared))
    options = f'{{"session_options": {{"intra_op_num_threads": {request.threads}}}}}'
    config.overlay(f'{{"model": {{"decoder": {options}}}}}')
    return og.Model(config)


def generator(model, tokens: int):
    """A greedy generator over a context of `tokens` that does not stop early."""
    import onnxruntime_genai as og

    parameters = og.GeneratorParams(model)
    parameters.set_search_options(max_length=tokens, min_length=tokens, do_sample=False)
    return og.Generator(model, parameters)


def prefill_seconds(model, prompt: int, seed: int) -> float:
    """Seconds until the first token after a random prompt of `prompt` tokens."""
    run, tokens = generator(model, prompt + 2), random_tokens(prompt, seed)
    return seconds(lambda: (run.append_tokens(tokens), run.generate_next_token()))


def decode_seconds(model, count: int, seed: int) -> float:
    """Mean seconds a token over `count` tokens after a short prompt."""
    run = generator(model, SHORT_PROMPT + count + 2)
    run.append_tokens(random_tokens(SHORT_PROMPT, seed))
    run.generate_next_token()  # the prompt's own token
    return seconds(lambda: [run.generate_next_token() for _ in range(count)]) / count


def run_round(request: Request, started_at: float) -> Round:
    """Start, warm up, time prefill and decode in this process."""
    import onnxruntime_genai as og

    model = load(request)
    prefill_seconds(model, SHORT_PROMPT, seed=1)
    first = time.monotonic() - started_at
    prefill = None
    if not request.decode_only:
        prefill_seconds(model, request.prompt, seed=2)
        prefill = request.prompt / prefill_seconds(model, request.prompt, seed=3)
    decode_seconds(model, SHORT_PROMPT, seed=4)
    decode = 1 / decode_seconds(model, request.decode, seed=5)
    now, high = resident_mb()
    return Round(
        version=og.__version__,
        command=f"onnxruntime_genai.models.builder {BUILD}; Generator, {request.threads} threads",
        weights_bytes=sum(path.stat().st_size for path in request.prepared.glob("model.onnx*")),
        decode_tok_s=decode,
        prefill_tok_s=prefill,
        first_token_s=first,
        rss_mb=now,
        peak_mb=high,
    )


if __name__ == "__main__":
    main(prepare, run_round)
