"""One system's instructions per token on one emulated CPU, and which part of the model they belong to."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import arm64_llama_cpp as llama_cpp

from edgeq.artifact.manifest import read
from edgeq.modelled.counts import Interval, by_function, by_instruction
from edgeq.modelled.run import Counts, count_artifact

PARTS = ("linears", "head", "attention", "norm, quantize", "rest")
_EDGEQ = {
    "linears": r"^gem[vm]_",
    "attention": r"^(attention|heads)_",
    "norm, quantize": r"^(quantize|norm)_",
}
_LLAMA_CPP = {
    "head": r"gem[vm]_q8_0|vec_dot_q8_0_q8_0",
    "linears": r"gem[vm]_q4_0|vec_dot_q4_0_q8_0|tinyBLAS|mul_mat",
    "attention": r"flash_attn|vec_dot_f16|vec_mad_f16|soft_max|exp|fp32_to_fp16|fp16_to_fp32|rope|sincos|set_rows",
    "norm, quantize": r"quantize|rms_norm",
}
"""What a function's name must hold, the first match wins: llama.cpp's head is Q8_0, its layers are Q4_0."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """Instructions a token.

    Attributes:
        system: "llama.cpp" or "edgeq". variant: how it was built, or which variant ran.
        bytes_read: of weights, by one decoded token.
        prefill: a token of a prompt, by its length; the first length is what decoding follows.
        functions: by function, of "decode" and of "prefill" (of the first prompt).
        parts: the same by part of the model. said: the program's own words about itself.
    """

    cpu: str
    system: str
    variant: str
    format: str
    bytes_read: int
    prefill: dict[int, float]
    functions: dict[str, dict[str, float]]
    parts: dict[str, dict[str, float]]
    said: str = ""

    @property
    def decode(self) -> float:
        """A decoded token."""
        return sum(self.functions["decode"].values())


def split(functions: Mapping[str, float], rules: Mapping[str, str]) -> dict[str, float]:
    """Totals of PARTS: a function belongs to the first part whose rule finds something in its name."""
    totals = dict.fromkeys(PARTS, 0.0)
    for name, count in functions.items():
        totals[next((part for part, rule in rules.items() if re.search(rule, name)), "rest")] += count
    return totals


def of_llama_cpp(peer: llama_cpp.Peer, cpu: str, gguf: Path, prompts: Sequence[int], decode: int) -> Figures:
    """Count a build of llama.cpp; decoding follows the first of `prompts`."""
    first = llama_cpp.count(peer, cpu, gguf, prompts[0], decode)
    prefill = {prompts[0]: first.intervals[0].total / prompts[0]}
    for prompt in prompts[1:]:
        prefill[prompt] = llama_cpp.count(peer, cpu, gguf, prompt, 0).intervals[0].total / prompt
    functions = {
        "prefill": _of_peer(first, first.intervals[:1], prompts[0]),
        "decode": _of_peer(first, first.intervals[1:], decode),
    }
    parts = {entry: split(counts, _LLAMA_CPP) for entry, counts in functions.items()}
    said = f"{first.said['cpu'].strip(' |')}; {first.said['repacked_mib']:.1f} MiB repacked"
    size = tensor_bytes(gguf)
    return Figures(cpu, "llama.cpp", peer.name, "Q4_0, head Q8_0", size, prefill, functions, parts, said)


def _of_peer(run: llama_cpp.PeerRun, intervals: Sequence[Interval], tokens: int) -> dict[str, float]:
    counts = by_instruction([block for interval in intervals for block in interval.blocks], run.program)
    return {name: count / tokens for name, count in by_function(counts, run.program).items()}


def tensor_bytes(gguf: Path) -> int:
    """Bytes of all tensors: the tied embedding is the head, so a token reads every one of them."""
    from gguf import GGUFReader

    return sum(int(tensor.n_bytes) for tensor in GGUFReader(gguf).tensors)


def of_edgeq(artifact: Path, cpu: str, prompts: Sequence[int], decode: int, variant: str | None = None) -> Figures:
    """Count an artifact; decoding follows the first of `prompts`."""
    manifest = read(artifact)
    first = count_artifact(artifact, manifest, cpu, prompts[0], decode, variant)
    functions = {entry: _of_entry(first, entry) for entry in ("prefill", "decode")}
    prefill = {prompts[0]: sum(functions["prefill"].values())}
    for prompt in prompts[1:]:
        prefill[prompt] = sum(
            _of_entry(count_artifact(artifact, manifest, cpu, prompt, 0, variant), "prefill").values()
        )
    regions = next(entry["regions"] for entry in manifest.entries if entry["name"] == "decode")
    head = [kernel for region in regions if "lm_head" in region["modules"] for kernel in region["kernels"]]
    rules = {"head": "|".join(f"^{kernel}_" for kernel in head if not kernel.startswith("quantize")), **_EDGEQ}
    parts = {entry: split(counts, rules) for entry, counts in functions.items()}
    size = sum(region["weight_bytes"] for region in regions)
    return Figures(cpu, "edgeq", first.variant, manifest.bits, size, prefill, functions, parts)


def _of_entry(counts: Counts, entry: str) -> dict[str, float]:
    runs = [run for run in counts.runs if run.entry == entry]
    times: Counter[int] = sum((run.counts for run in runs), Counter())
    rows = sum(run.rows for run in runs)
    return {name: count / rows for name, count in by_function(times, counts.program).items()}
