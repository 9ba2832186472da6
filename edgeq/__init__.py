"""edgeq: Hugging Face models on phones, small boards and laptops at 8, 4, 2 and 1 bits, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Artifact", "EdgeqError", "compile", "dry_run", "load", "recompile"]

if TYPE_CHECKING:
    from edgeq.api import Artifact, compile, dry_run, load, recompile
    from edgeq.errors import EdgeqError


def __getattr__(name: str) -> Any:
    """Import the API on first use, so that `import edgeq` and `edgeq --help` stay fast."""
    if name == "EdgeqError":
        from edgeq.errors import EdgeqError

        return EdgeqError
    if name in __all__:
        from edgeq import api

        return getattr(api, name)
    raise AttributeError(f"module 'edgeq' has no attribute {name!r}")
