"""The one-layer Llama of these tests with more layers, each with weights of its own."""

from __future__ import annotations

import re
from pathlib import Path

from torch import fx

from edgeq.ir.text import parse

TEXT = Path(__file__).parent / "graphs" / "llama.eqir"


def layered(count: int) -> fx.GraphModule:
    """So many layers; nodes of layer i > 0 are called `q_at_i`."""
    lines = TEXT.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("%rms_norm ="))
    end = next(i for i, line in enumerate(lines) if line.startswith("%add_1 =")) + 1
    tables = [line for line in lines[:first] if "layers.0" in line]
    own = {line.split()[0][1:] for line in tables + lines[first:end]}
    made = [*lines[: first - 1], *(_copy(line, own, i) for i in range(1, count) for line in tables), lines[first - 1]]
    for i in range(count):
        made += [_copy(line, own, i) for line in lines[first:end]]
    last = _name("add_1", count - 1)
    return parse("\n".join([*made, *(line.replace("%add_1,", f"%{last},") for line in lines[end:])]) + "\n")


def _copy(line: str, own: set[str], layer: int) -> str:
    def name(match: re.Match[str]) -> str:
        if match[1] == "embedding" and layer:
            return f"%{_name('add_1', layer - 1)}"
        return f"%{_name(match[1], layer)}" if match[1] in own else match[0]

    return re.sub(r"%(\w+)", name, line).replace("layers.0", f"layers.{layer}")


def _name(name: str, layer: int) -> str:
    return f"{name}_at_{layer}" if layer else name
