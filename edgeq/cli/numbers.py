"""A list of numbers as one option: `32,128`."""

from __future__ import annotations

from typing import Any

import click


class Numbers(click.ParamType):
    """Comma-separated positive integers -> a tuple."""

    name = "N,N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Fails with a usage error on anything else."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in str(value).split(",")]
        if not all(part.isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is no list of positive numbers such as 32,128", param, ctx)
        return tuple(int(part) for part in parts)


NUMBERS = Numbers()
