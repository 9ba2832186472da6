"""Which options each kind of model takes, and the function that runs it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeq.errors import UsageError

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact

Options = dict[str, Any]
SAMPLING = ("max_tokens", "temperature", "top_k", "top_p", "seed")
FLAGS = {"texts": "--text", "images": "--image", "points": "--point", "objects": "--object", "inputs": "--input"}


@dataclass(frozen=True)
class Kind:
    """needs: options of which at least one must be given (stdin may stand for --text). takes: further ones.

    example: what follows `edgeq run ARTIFACT`. module: in `edgeq.cli`, of the function `run(model, options)`.
    """

    needs: tuple[str, ...]
    takes: tuple[str, ...]
    example: str
    module: str

    def __call__(self, model: Artifact, options: Options) -> None:
        """Run the model."""
        run: Callable[[Artifact, Options], None] = importlib.import_module(f"edgeq.cli.{self.module}").run
        run(model, options)


TEXT, IMAGE = '--text "some text"', "--image photo.jpg"
RUN = {
    "chat": Kind((), ("prompt", "system", "raw", "stop", *SAMPLING), '--prompt "Hello"', "run_chat"),
    "embedding": Kind(("texts",), ("output",), TEXT, "run_embed"),
    "text-classification": Kind(("texts",), ("top_k",), TEXT, "run_classify"),
    "token-classification": Kind(("texts",), ("top_k",), TEXT, "run_classify"),
    "fill-mask": Kind(("texts",), ("top_k",), '--text "Paris is the [MASK] of France."', "run_fill"),
    "image-classification": Kind(("images",), ("top_k",), IMAGE, "run_classify"),
    "image-features": Kind(("images",), ("output",), IMAGE, "run_embed"),
    "two-tower": Kind(("texts", "images"), ("top_k", "output"), f'{IMAGE} --text "a cat" --text "a dog"', "run_towers"),
    "detection": Kind(("images",), ("threshold", "top_k"), IMAGE, "run_detect"),
    "segmentation": Kind(
        ("images",), ("points", "objects", "output"), f"{IMAGE} --point 310,220 -o mask.png", "run_segment"
    ),
    "encoder-decoder": Kind(
        ("texts", "audio"), ("language", "translate", "stop", *SAMPLING), TEXT, "run_encoder_decoder"
    ),
}  # fmt: skip


def check(model: Artifact, given: set[str]) -> None:
    """Refuse options that this kind of model does not take; raises UsageError with what it does take."""
    if model.kind not in RUN:
        names = ", ".join(entry["name"] for entry in model.task.get("entries", ()))
        raise UsageError(
            f"{model.path} does nothing that `edgeq run` prepares inputs for: run its entries ({names}) on arrays, "
            f'--entry NAME --input TENSOR=FILE.npy, or edgeq.load("{model.path}").run("name", ...) from Python'
        )
    kind = RUN[model.kind]
    strange = sorted(given - {*kind.needs, *kind.takes, "as_json"})
    if strange:
        means = "means" if len(strange) == 1 else "mean"
        raise UsageError(f"{' and '.join(map(flag, strange))} {means} nothing to {takes(model)}")
    if model.kind != "chat" and "texts" not in kind.needs and not given & set(kind.needs):
        raise UsageError(f"nothing to run on: this is {takes(model)}")


def takes(model: Artifact) -> str:
    """`a model for detection, which takes --image; try: edgeq run ...`."""
    kind = RUN[model.kind]
    options = ", ".join(map(flag, (*kind.needs, *kind.takes)))
    return f"a model for {model.kind}, which takes {options}; try: {example(model)}"


def example(model: Artifact) -> str:
    """A command that runs this artifact; "" where `edgeq run` cannot."""
    if model.kind not in RUN:
        return ""
    hears = "audio" in model.task
    return f"edgeq run {model.path} {'--audio speech.wav' if hears else RUN[model.kind].example}"


def flag(name: str) -> str:
    """An option as it is typed."""
    return FLAGS.get(name, "--" + name.replace("_", "-"))
