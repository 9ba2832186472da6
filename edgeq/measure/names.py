"""What to call regions in tables: Hugging Face modules without their layer numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


def layerless(modules: Iterable[str]) -> list[str]:
    """Module names with layer numbers replaced by `*`."""
    return [re.sub(r"(?<=\.)\d+(?=\.|$)", "*", name) for name in modules]


def label(region: dict[str, Any]) -> str:
    """Name of a region without its layer: `gemv model.layers.*.self_attn.q_proj (+2)`."""
    modules = layerless(region["modules"])
    more = f" (+{len(modules) - 1})" if len(modules) > 1 else ""
    return f"{region['kind']} {modules[0]}{more}" if modules else region["kind"]
