"""Graph passes, one a file, loaded by name when first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeq.passes.pass_ import Pass

PASSES = {
    "add-cache": "AddCache",
    "agq": "Agq",
    "awq": "Awq",
    "billm": "Billm",
    "cbq": "Cbq",
    "cfp": "Cfp",
    "clip-weights": "ClipWeights",
    "cross-cache": "CrossCache",
    "fdb": "Fdb",
    "fine-clipping": "FineClipping",
    "fold-signs": "FoldSigns",
    "gamma-migration": "GammaMigration",
    "gptq": "Gptq",
    "jsq": "Jsq",
    "llaq": "Llaq",
    "last-row": "LastRow",
    "merge-linears": "MergeLinears",
    "osplus": "Osplus",
    "quantize": "Quantize",
    "pre-sinq": "PreSinq",
    "qdrop": "Qdrop",
    "rotate": "Rotate",
    "sign-attention": "SignAttention",
    "smooth": "Smooth",
    "specialise": "Specialise",
    "static-ranges": "StaticRanges",
    "ternary": "Ternary",
}


def load(name: str) -> type[Pass]:
    """The class of a pass of PASSES; `"add-cache"` is `edgeq.passes.add_cache.AddCache`."""
    return getattr(import_module(f"edgeq.passes.{name.replace('-', '_')}"), PASSES[name])
