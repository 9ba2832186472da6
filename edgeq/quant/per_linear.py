"""Weight formats of single linears: Hugging Face module names, or patterns of them, and what each is stored as."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

from edgeq.errors import UsageError
from edgeq.quant.format import WeightFormat

JOINED = re.compile(r"(.*)\{(.*)\}")  # what merging calls several: `model.layers.0.mlp.{gate_proj,up_proj}`


def format_of(module: str, formats: Mapping[str, str], exact: bool = False) -> WeightFormat | None:
    """The format that `formats` gives a linear, None where it says nothing.

    Args:
        module: its Hugging Face name; of linears that were merged, all of theirs.
        formats: names or patterns (`*.mlp.*`) -> formats (`w4g64a`); exact names win, then the first pattern that fits.
        exact: whether patterns do not count.

    Raises:
        UsageError: merged linears whose formats differ, or a text that is no format.
    """
    found = {name: _text(name, formats, exact) for name in modules_of(module)}
    texts = set(found.values())
    if len(texts) > 1:
        said = ", ".join(f"{name}: {text or 'the bits'}" for name, text in found.items())
        raise UsageError(f"merged linears have formats that differ ({said}): run quantize before merge-linears")
    text = texts.pop()
    return None if text is None else WeightFormat.parse(text)


def modules_of(module: str) -> list[str]:
    """`a.{q,k}` -> `a.q`, `a.k`; any other name is itself."""
    joined = JOINED.fullmatch(module)
    return [joined[1] + part for part in joined[2].split(",")] if joined else [module]


def unused(formats: Mapping[str, str], modules: list[str]) -> list[str]:
    """Names and patterns that fit none of the modules."""
    return [key for key in formats if not any(fnmatchcase(name, key) or name == key for name in modules)]


def _text(module: str, formats: Mapping[str, str], exact: bool) -> str | None:
    if module in formats or exact:
        return formats.get(module)
    return next((text for key, text in formats.items() if fnmatchcase(module, key)), None)
