"""Which calibrated passes a recipe stands for, by what the model is and what it is quantized to.

A line of DEFAULTS is a decision from a measurement, named beside it (docs/recipes.md has the tables). The first line
that fits counts; where none fits, a recipe has no calibrated pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeq.errors import UsageError

if TYPE_CHECKING:
    from edgeq.compiling.options import Options
    from edgeq.frontend.entries import EntryGraph
    from edgeq.passes.pass_ import Pass
    from edgeq.quant.bits import Bits

FAST, BALANCED, BEST = RECIPES = ("fast", "balanced", "best")
DECODER, ENCODER, VISION, ENCODER_DECODER = KINDS = ("decoder", "encoder", "vision", "encoder-decoder")
TEXT, INT8 = f"{ENCODER} {ENCODER_DECODER}", "a8 a8s"
OWN = ("cross-cache", "add-cache", "last-row", "merge-linears", "quantize", "specialise")  # the compiler runs these


@dataclass(frozen=True)
class Default:
    """Words are separated by spaces; `*` fits all. passes: as `edgeq opt -p` takes them."""

    recipe: str
    kinds: str
    weights: str
    acts: str
    passes: str


SEARCHED = "smooth{search=true,powers=false,kinds=norm+value}"
AWQ = "awq{kinds=norm+value+gated},clip-weights"
FEW = "w3 w2 t2 t1.6 w1 p2 c4"

# SmolLM2-135M, divergence in nats on held-out text of nothing / smooth / smooth{kinds=norm} / osplus:
#   w8a8 0.036 / 0.055 / 0.025 / 0.017, w4a8 0.31 / 0.32 / 0.27 / 0.19;
#   and on another text of nothing / clip-weights / awq / AWQ: w4a8 0.30 / 0.20 / 0.14 / 0.13 (perplexity 24.4 / 23.3 /
#   22.2 / 22.0, float 19.7), w4a8g128 0.43 / 0.30 / 0.24 / 0.21;
#   perplexity of artifacts (float 19.2) rounded to nearest / by gptq on 8 samples: w3a8g64a 60.3 / 35.4.
# MiniLM, 1 - cosine of embeddings with nothing / smooth{powers=false} / SEARCHED / osplus:
#   w8a8 0.0027 / 0.0011 / 0.0009 / 0.0010, w4a8 0.033 / 0.022 / 0.021 / 0.024, w4a16g128 0.043 / 0.034 / - / 0.047.
DEFAULTS = (
    #       recipe    kinds    weights acts  passes
    Default(FAST, DECODER, "*", INT8, "smooth{kinds=norm}"),
    Default(FAST, TEXT, "*", INT8, "smooth{powers=false}"),
    Default(BALANCED, DECODER, "w8", INT8, "osplus"),
    Default(BALANCED, DECODER, "w4", "*", AWQ),
    Default(BALANCED, DECODER, FEW, "a8 a8s a16", "gptq{range=weighted}"),
    Default(BALANCED, TEXT, "*", INT8, SEARCHED),
    Default(BALANCED, TEXT, "w4", "a16", "smooth{powers=false}"),
    Default(BALANCED, VISION, "*", INT8, "smooth{powers=false}"),  # as encoders of text; needs --calib FOLDER
)

# Pipelines that `best` compares beside fast's, balanced's and none. None costs bytes or time on the device: rotations
# R1 (a tied embedding is stored twice) and R4 (a transform a token) are for --pass (docs/rotations.md).
CANDIDATES = (
    Default(BEST, DECODER, "*", INT8, "osplus"),
    Default(BEST, DECODER, "w8", INT8, SEARCHED),
    Default(BEST, DECODER, "w4", INT8, "osplus,clip-weights"),
    Default(BEST, DECODER, "w8", INT8, "rotate{r1=false},osplus"),
    Default(BEST, DECODER, "w4", "a16", "clip-weights"),
    Default(BEST, f"{TEXT} {VISION}", "*", INT8, "osplus"),
    Default(BEST, f"{TEXT} {VISION}", "*", INT8, "osplus{kinds=norm}"),
    Default(BEST, TEXT, "*", INT8, "osplus,smooth{powers=false,search=true}"),
    Default(BEST, f"{TEXT} {VISION}", "*", "*", SEARCHED),
    Default(BEST, f"{TEXT} {VISION}", "*", "*", "awq"),
    Default(BEST, f"{TEXT} {VISION}", "*", "*", "pre-sinq"),
)

RANGES = "static-ranges"

# Samples, and tokens of each in a language model, when --calib-samples and --calib-length do not say; None: as many as
# the kind of data takes (edgeq/calibrate/data.py).
Amount = tuple[int | None, int | None]
AMOUNTS: dict[str, Amount] = {"": (None, None), FAST: (None, None), BALANCED: (None, 512), BEST: (None, 512)}
# passes that take more
LEARNED = {
    "cbq": (64, 512), "qdrop": (64, 512), "fine-clipping": (32, 512), "gptq": (32, 512), "jsq": (32, 512),
    "ternary": (32, 512), "billm": (32, 512),
}  # fmt: skip


def kind_of(entries: Sequence[EntryGraph]) -> str:
    """What the model is, by its entries: decoder, encoder-decoder, encoder (of text, perhaps beside images), vision."""
    if any(entry.kind == "token" for entry in entries):
        return DECODER if len(entries) == 1 else ENCODER_DECODER
    takes_text = any(port.name == "input_ids" for entry in entries for port in entry.inputs)
    return ENCODER if takes_text else VISION


def resolve(recipe: str, kind: str, bits: Bits) -> list[str]:
    """Texts of the calibrated passes of `fast` or `balanced`, in order, every option spelt out; [] where none helps."""
    text = next((line.passes for line in DEFAULTS if line.recipe == recipe and _fits(line, kind, bits)), "")
    return spelt(text)


def candidates(kind: str, bits: Bits) -> list[list[str]]:
    """The pipelines that `best` compares: fast's first, then balanced's, the others, and none; each once."""
    more = [spelt(line.passes) for line in CANDIDATES if _fits(line, kind, bits)]
    found = [resolve(FAST, kind, bits), resolve(BALANCED, kind, bits), *more, []]
    return [list(passes) for passes in dict.fromkeys(map(tuple, found))]


def recipe_of(options: Options, kind: str) -> str:
    """The recipe asked for; else `balanced` for a language model at 4 bits, which `fast` does not help, and `fast`."""
    few = options.bits.weight.bits <= 4 and kind == DECODER
    return options.recipe or (BALANCED if few else FAST)


def amount_of(options: Options) -> Amount:
    """Samples and tokens of each when nothing is said: what the passes given take, or the recipe."""
    named = [text.partition("{")[0] for text in options.passes]
    if options.recipe == BALANCED and options.bits.weight.name in FEW.split():
        return LEARNED["gptq"]
    return next((LEARNED[name] for name in LEARNED if name in named), AMOUNTS[options.recipe])


def pipelines(options: Options, kind: str) -> list[list[str]]:
    """What a compile may run: one pipeline, or those that `best` compares; static ranges last where bits need them."""
    if options.weights == "kept":
        found: list[list[str]] = [[]]
    elif options.resolved or options.passes:
        found = [list((options.resolved or options).passes)]
    elif (recipe := recipe_of(options, kind)) == BEST:
        found = candidates(kind, options.bits)
    else:
        found = [resolve(recipe, kind, options.bits)]
    return [[*passes, *_ranges(passes, options.bits)] for passes in found]


def measures(passes: Sequence[str]) -> bool:
    """Whether any of the passes needs samples."""
    from edgeq.passes.pipeline import parse_pipeline

    return any(step.measures for step in parse_pipeline(",".join(passes)))


def _ranges(passes: Sequence[str], bits: Bits) -> list[str]:
    """`a8s` is not possible without the pass that measures its scales."""
    missing = bits.act == "a8s" and not any(text.startswith(RANGES) for text in passes)
    return spelt(RANGES) if missing else []


def spelt(text: str) -> list[str]:
    """`"smooth,awq"` -> the text of each pass, with every option."""
    from edgeq.passes.pipeline import parse_pipeline

    return [step.spelt() for step in parse_pipeline(text)]


def refuse_own(steps: Iterable[Pass]) -> None:
    """Raise UsageError for passes that the compiler places itself."""
    if own := [step.name for step in steps if step.name in OWN]:
        raise UsageError(
            f"--pass {own[0]}: the compiler runs it itself, where it belongs; --pass takes passes that prepare a float "
            "model for quantization (`edgeq opt -p` runs any)"
        )


def _fits(line: Default, kind: str, bits: Bits) -> bool:
    wanted = ((line.kinds, kind), (line.weights, bits.weight.name), (line.acts, bits.act))
    return not bits.weight.is_float and all(word in words.split() or words == "*" for words, word in wanted)
