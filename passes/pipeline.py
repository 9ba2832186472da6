"""Pipelines as text: `"merge-linears,quantize{bits=w4a8}"` -> passes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from torch import fx

from edgeq.errors import UsageError
from edgeq.passes import PASSES, load
from edgeq.passes.pass_ import Context, Pass, Report

STEP = re.compile(r"\s*([\w-]+)\s*(?:\{([^{}]*)\})?\s*(,|$)")
BOOLEANS = {"true": True, "false": False}


def parse_pipeline(text: str) -> list[Pass]:
    """Passes in order; UsageError names what is unknown and what is known."""
    passes: list[Pass] = []
    at = 0
    while at < len(text):
        step = STEP.match(text, at)
        if not step:
            raise UsageError(f"{text[at:]!r} is not a pass: expected name or name{{option=value,...}}")
        passes.append(make(step[1], step[2] or ""))
        at = step.end()
    return passes


def make(name: str, options: str = "") -> Pass:
    """One pass from its name and `option=value,...`; names and options may use `-` for `_`."""
    if name not in PASSES:
        raise UsageError(f"pass {name!r} is not known; known: {', '.join(PASSES)}")
    kind = load(name)
    given = dict(_pair(name, option) for option in options.split(",") if option.strip())
    types = get_type_hints(kind)
    known = [item.name for item in fields(kind)]
    for option in given:
        if option not in known:
            raise UsageError(f"pass {name} has no option {option!r}; options: {', '.join(known) or 'none'}")
    return kind(**{option: _convert(name, option, text, types[option]) for option, text in given.items()})


def _pair(name: str, option: str) -> tuple[str, str]:
    key, equals, text = option.partition("=")
    if not equals:
        raise UsageError(f"pass {name}: {option.strip()!r} is not option=value")
    return key.strip().replace("-", "_"), text.strip()


def _convert(name: str, option: str, text: str, kind: type) -> Any:
    try:
        return BOOLEANS[text] if kind is bool else kind(text)
    except (KeyError, ValueError) as error:
        raise UsageError(f"pass {name}: {option}={text} is not a {kind.__name__}") from error


def run_pipeline(gm: fx.GraphModule, passes: Sequence[Pass], context: Context | None = None) -> list[Report]:
    """Run passes in order on the graph, in place.

    Each finds in `context.step` its own text after those before it: two pipelines that begin alike decide alike there.
    """
    context = context or Context()
    return [_run(gm, passes[: index + 1], context) for index in range(len(passes))]


def _run(gm: fx.GraphModule, passes: Sequence[Pass], context: Context) -> Report:
    context.step = f"{len(passes) - 1}:{','.join(step.spelt() for step in passes)}"
    return passes[-1](gm, context)
