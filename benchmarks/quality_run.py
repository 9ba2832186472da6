"""One row of the quality table: a compile in a process of its own, and a measure of the artifact."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from agreement import agreement
from sentences import sentences

EDGEQ = (sys.executable, "-c", "from edgeq.cli import main; main()")
SENTENCES, LENGTH = 500, 128


def compile_artifact(model: str, bits: str, options: list[str], folder: Path, minutes: float) -> dict[str, Any]:
    """`bytes`, `compile_seconds` (kernels from the cache where it has them), `peak_mb`; or `failed`: the message."""
    command = [*EDGEQ, "compile", model, "--bits", bits, "-o", str(folder), "--overwrite"]
    command += [*options, "--json", "-q"]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        out, err = process.communicate(timeout=minutes * 60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"failed": f"not done after {minutes:g} minutes"}
    if process.returncode:
        return {"failed": err.strip().splitlines()[-1] if err.strip() else f"exit {process.returncode}"}
    result = json.loads(out)
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    return {"bytes": size, "compile_seconds": time.monotonic() - start, "recipe": result.get("passes", [])}


def score_graph(arguments: list[str], minutes: float) -> dict[str, Any]:
    """What `quality_graph.py` prints; or `failed`: the last line of its error."""
    command = [sys.executable, str(Path(__file__).with_name("quality_graph.py")), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=minutes * 60)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {minutes:g} minutes"}
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def perplexity(folder: Path, text: Path, windows: int) -> dict[str, Any]:
    """`perplexity` and its `error`, by llama-perplexity's protocol, of what runs."""
    command = [*EDGEQ, "eval", str(folder), "--text", str(text), "--json", "-q"]
    command += ["--windows", str(windows)] if windows else []
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {"perplexity": found["perplexity"], "error": found["error"], "windows": found["windows"]}


def embed_agreement(folder: Path) -> dict[str, Any]:
    """Mean and lowest cosine to PyTorch's float embeddings over 500 sentences, share of equal nearest neighbours."""
    import edgeq

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    found = np.asarray(edgeq.load(folder).embed(sentences(SENTENCES)))
    return agreement(reference(), found.tolist())


@functools.cache
def reference() -> list[list[float]]:
    """Embeddings by transformers in float32: mean over tokens, length 1."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from edgeq.frontend.demo import demo_path
    from edgeq.frontend.source import demo_cache

    where = str(demo_path("demo:minilm", demo_cache()))
    model, tokenizer = AutoModel.from_pretrained(where).eval(), AutoTokenizer.from_pretrained(where)
    rows = []
    for sentence in sentences(SENTENCES):
        given = tokenizer([sentence], truncation=True, max_length=LENGTH, return_tensors="pt")
        with torch.no_grad():
            mean = model(**given).last_hidden_state.mean(1)
        rows.append(torch.nn.functional.normalize(mean)[0].tolist())
    return rows
