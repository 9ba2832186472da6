"""What a raised graph still holds that the dialect has no place for, all at once, by Hugging Face module."""

from __future__ import annotations

from torch import fx

from edgeq.errors import VerifyError
from edgeq.ir.graph import calls
from edgeq.ir.verify import unsupported, verify

MASKED = "attention with a mask that is no window over positions"
RENAMED = {"edgeq_trace.attention": MASKED, "<built-in function getitem>": "getitem"}
REPORTED_WITH_ANOTHER = {"edgeq_trace.mask"}


def offending(gm: fx.GraphModule) -> list[str]:
    """One line for each distinct thing outside the dialect: what it is, and the modules that hold it."""
    lines = [f"{op}: {modules}" for op, modules in by_module(gm).items()]
    return lines or _broken_rules(gm)


def by_module(gm: fx.GraphModule) -> dict[str, str]:
    """Op outside the dialect -> the Hugging Face modules that hold it."""
    modules: dict[str, list[str]] = {}
    for op, module in unsupported(gm):
        if op not in REPORTED_WITH_ANOTHER:
            modules.setdefault(RENAMED.get(op, op), []).append(module)
    return {op: _listed(found) for op, found in modules.items()}


def _listed(modules: list[str], most: int = 6) -> str:
    names = list(dict.fromkeys(modules))
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _broken_rules(gm: fx.GraphModule) -> list[str]:
    """Known ops used in a way that the dialect does not allow."""
    if not calls(gm, "edgeq.attention"):
        return ["no attention was found: edgeq compiles transformer decoders"]
    try:
        verify(gm)
    except VerifyError as error:
        return [line.strip() for line in str(error).splitlines()[1:]]
    return []
