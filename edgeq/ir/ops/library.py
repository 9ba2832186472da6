"""The torch library that every `edgeq::` op is defined in."""

from __future__ import annotations

from collections.abc import Callable

import torch

LIBRARY = torch.library.Library("edgeq", "FRAGMENT")


def composite(schema: str) -> Callable[[Callable], Callable]:
    """Define an op whose meaning is its torch function: differentiable, shapes by running it on fake tensors."""

    def register(function: Callable) -> Callable:
        LIBRARY.define(schema)
        LIBRARY.impl(schema.split("(")[0], function, "CompositeImplicitAutograd")
        return function

    return register


def opaque(schema: str, fake: Callable) -> Callable[[Callable], Callable]:
    """Define an op that is not looked into (data-dependent or in place); `fake` gives the result's shape and dtype."""

    def register(function: Callable) -> Callable:
        name = schema.split("(")[0]
        LIBRARY.define(schema)
        LIBRARY.impl(name, function, "CompositeExplicitAutograd")
        torch.library.register_fake(f"edgeq::{name}", fake, lib=LIBRARY)
        return function

    return register
