"""What an artifact is, in words and tables, from its manifest (the dictionary in edgeq.json)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.cli.describe_entries import calls
from edgeq.cli.table import megabytes, table
from edgeq.imports.record import KEEPS

if TYPE_CHECKING:
    from edgeq.quant.bits import Bits

Manifest = dict[str, Any]


def summary(path: Path, manifest: Manifest) -> dict[str, Any]:
    """The few facts that matter most; what `edgeq compile --json` prints, with its time."""
    return {
        "path": str(path),
        "model": manifest["model"],
        "target": manifest["target"],
        "bits": manifest["bits"],
        "kept": sum(record["outcome"] in KEEPS for record in manifest.get("imports") or []),
        "recipe": _recipe(manifest["recipe"]),
        "task": manifest["task"].get("kind"),
        "entries": [entry["name"] for entry in manifest["entries"]],
        "context": manifest["memory"].get("context"),
        "chunk": manifest["memory"].get("chunk"),
        "variants": [variant["name"] for variant in manifest["variants"]],
        "bits_per_weight": manifest["storage"][-1]["bits_per_weight"],
        "files": {name: entry["bytes"] for name, entry in manifest["files"].items()},
        "bytes": sum(entry["bytes"] for entry in manifest["files"].values()),
    }


def summary_text(facts: dict[str, Any]) -> str:
    """`summary` for people."""
    from edgeq.quant.bits import Bits

    files = ", ".join(f"{name} {megabytes(size)}" for name, size in _largest(facts["files"]))
    context = f"{facts['context']} tokens, prefill in chunks of {facts['chunk']}" if facts["context"] else ""
    lines = {
        "model": facts["model"],
        "task": facts["task"],
        "entries": ", ".join(facts["entries"]),
        "target": f"{facts['target']} ({', '.join(facts['variants'])})",
        "bits": _bits(facts["kept"], Bits.parse(facts["bits"]), bool(facts["context"])),
        "recipe": facts["recipe"],
        "stored": f"{facts['bits_per_weight']:.2f} bits a weight, scales and padding included",
        "context": context,
        "files": f"{megabytes(facts['bytes'])}: {files}",
        "path": facts["path"],
    }
    return "\n".join(f"{name + ':':9}{value}" for name, value in lines.items() if value)


def _bits(kept: int, bits: Bits, cached: bool) -> str:
    """What the model is stored in; of a checkpoint that was quantized already, what that leaves to say."""
    from edgeq.quant.bits import ACTS

    if not kept:
        return f"{bits}: {bits.describe(cached)}"
    return f"{kept} weights as the checkpoint has them (see codes), the rest {bits}; activations {ACTS[bits.act]}"


def imports_text(manifest: Manifest) -> str:
    """Lines on what became of a quantized checkpoint's weights; "" of one of floats."""
    from edgeq.imports.record import receipt

    lines = receipt(manifest.get("imports") or [])
    return "".join(f"\n{'codes:' if not i else '':9}{line}" for i, line in enumerate(lines))


def _recipe(recipe: dict[str, Any]) -> str:
    """`fast: smooth on 8 windows of 512 tokens of notes.txt`; "" of an artifact that holds none."""
    if not recipe:
        return ""
    names = ", ".join(text.partition("{")[0] for text in recipe["passes"]) or "no calibrated passes"
    data = recipe["calibration"].get("description")
    chosen = recipe["options"]["recipe"] or ("--pass" if recipe["passes"] else "codes as imported")
    return f"{chosen}: {names}{f' on {data}' if data else ''}"


def _largest(files: dict[str, int], count: int = 3) -> list[tuple[str, int]]:
    return sorted(files.items(), key=lambda item: -item[1])[:count]


def storage_text(manifest: Manifest) -> str:
    """Bytes by component, layers merged."""
    rows = [
        (c["name"], c["format"], c["tensors"], c["weights"], *map(megabytes, (c["bytes_before"], c["bytes"])),
         f"{c['bits_per_weight']:.2f}")
        for c in manifest["storage"]
    ]  # fmt: skip
    return table(("component", "format", "tensors", "weights", "before", "stored", "bits/weight"), rows)


def layers_text(manifest: Manifest) -> str:
    """Every tensor of the weights file, in the order decode reads it."""
    rows = [
        (t["name"], t["format"], "x".join(map(str, t["shape"])), t["bytes"], t["offset"]) for t in manifest["tensors"]
    ]
    return table(("tensor", "format", "shape", "bytes", "offset"), rows)


def kernels_text(manifest: Manifest) -> str:
    """Every kernel: how often each entry calls it, what it reads and computes."""
    counts = {entry["name"]: Counter(calls(entry)) for entry in manifest["entries"]}
    header = ("kernel", "unit", *(f"{name} calls" for name in counts), "weight bytes", "multiply-adds a row")
    rows = [
        (k["name"], k["unit"], *(count[k["name"]] for count in counts.values()), k["weight_bytes"], k["ops"])
        for k in manifest["kernels"]
    ]
    return table(header, rows)


def variants_text(manifest: Manifest) -> str:
    """Instruction-set variants in order of preference."""
    return table(("variant", "needs"), [(v["name"], _words(v["needs"])) for v in manifest["variants"]])


def _words(needs: str | list[str]) -> str:
    return (needs if isinstance(needs, str) else " ".join(needs)) or "nothing"


def memory_text(manifest: Manifest) -> str:
    """Bytes by use, where there are any; counts that are not bytes are left to the summary."""
    uses = {name: size for name, size in manifest["memory"].items() if size and name not in ("context", "chunk")}
    return table(("memory", "bytes", ""), [(name, size, megabytes(size)) for name, size in uses.items()])


def declined_text(manifest: Manifest) -> str:
    """What passes left alone, and why."""
    rows = [(d["pass"], d["module"], d["reason"]) for d in manifest["declined"]]
    return table(("pass", "module", "left alone because"), rows)
