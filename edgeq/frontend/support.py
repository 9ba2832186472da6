"""What a raised graph still holds that the dialect has no place for, all at once, by Hugging Face module."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch import fx

from edgeq.errors import VerifyError
from edgeq.ir.graph import calls, op, site
from edgeq.ir.verify import unsupported, verify

MASKED = "attention with a mask that is no window over positions"
RENAMED = {"edgeq_trace.attention": MASKED, "<built-in function getitem>": "getitem"}
REPORTED_WITH_ANOTHER = {"edgeq_trace.mask"}

TRAINED_ONLY = re.compile("dropout|attention")
MASK_VIEWS = {f"aten.{name}" for name in ("expand", "unsqueeze", "slice", "alias")}
MASK_READERS = {"edgeq_trace.attention", "aten.scaled_dot_product_attention", "aten.where"}


def offending(gm: fx.GraphModule) -> list[str]:
    """One line for each distinct thing outside the dialect: what it is, and the modules that hold it."""
    lines = [f"{name}: {modules}" for name, modules in by_module(gm).items()]
    return lines or _broken_rules(gm)


def offending_static(gm: fx.GraphModule) -> list[str]:
    """`offending` of a static graph, which may do without attention."""
    lines = [f"{name}: {modules}" for name, modules in by_module(gm).items()]
    return lines or _violations(gm)


def misread(gm: fx.GraphModule) -> list[str]:
    """Why a traced graph would not compute what the model does, one reason a line.

    Models that write attention out by hand add the mask to the scores: then it must not be one of booleans.
    """
    stray = [site(user) for mask in calls(gm, "edgeq_trace.mask") for user in _readers(mask)]
    chance = [site(node) for node in gm.graph.nodes if _is_random(node)]
    return ([f"masks reach more than attention: {_listed(stray)}"] if stray else []) + (
        [f"random numbers: {_listed(chance)}"] if chance else []
    )


def _readers(mask: fx.Node) -> Iterator[fx.Node]:
    """What reads a boolean mask, past views of it, that does not take booleans as what may be seen."""
    for user in mask.users:
        if op(user) in MASK_VIEWS:
            yield from _readers(user)
        elif op(user) not in MASK_READERS:
            yield user


def _is_random(node: fx.Node) -> bool:
    """Ops that draw random numbers; those that only would when training do not at inference."""
    tags = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags and not TRAINED_ONLY.search(op(node))


def by_module(gm: fx.GraphModule, static: bool | None = None) -> dict[str, str]:
    """Op outside the dialect (of static graphs, if `static`) -> the Hugging Face modules that hold it."""
    modules: dict[str, list[str]] = {}
    for name, module in unsupported(gm, static):
        if name not in REPORTED_WITH_ANOTHER:
            modules.setdefault(RENAMED.get(name, name), []).append(module)
    return {op: _listed(found) for op, found in modules.items()}


def _listed(modules: list[str], most: int = 6) -> str:
    names = list(dict.fromkeys(modules))
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _broken_rules(gm: fx.GraphModule) -> list[str]:
    """Known ops used in a way that the dialect does not allow."""
    if not calls(gm, "edgeq.attention"):
        return ["no attention was found: edgeq compiles transformer decoders"]
    return _violations(gm)


def _violations(gm: fx.GraphModule) -> list[str]:
    try:
        verify(gm)
    except VerifyError as error:
        return [line.strip() for line in str(error).splitlines()[1:]]
    return []
