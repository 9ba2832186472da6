"""Which options each kind of model takes, and the function that runs it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeq.errors import UsageError
from edgeq.targets import runs_here

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact

Options = dict[str, Any]
SAMPLING = ("max_tokens", "temperature", "top_k", "top_p", "seed")
FLAGS = {"texts": "--text", "images": "--image", "points": "--point", "objects": "--object", "inputs": "--input"}


@dataclass(frozen=True)
class Kind:
    """How a kind of model is run.

    about: what such a model is. needs: options of which at least one must be given (stdin may stand for --text).
    takes: further options. example: what follows `edgeq run ARTIFACT`. module: `edgeq.cli`'s, of `run(model, options)`.
    """

    about: str
    needs: tuple[str, ...]
    takes: tuple[str, ...]
    example: str
    module: str

    def run(self, model: Artifact, options: Options) -> None:
        """Run the model."""
        run: Callable[[Artifact, Options], None] = importlib.import_module(f"edgeq.cli.{self.module}").run
        run(model, options)


TEXT, IMAGE = '--text "some text"', "--image photo.jpg"
SPEECH = "speech"  # encoder-decoders that hear
KINDS = {
    "chat": Kind(
        "a language model", (), ("prompt", "system", "raw", "stop", *SAMPLING), '--prompt "Hello"', "run_chat"
    ),
    "embedding": Kind("a text encoder", ("texts",), ("output",), TEXT, "run_embed"),
    "text-classification": Kind("a classifier of texts", ("texts",), ("top_k",), TEXT, "run_classify"),
    "token-classification": Kind("a classifier of words", ("texts",), ("top_k",), TEXT, "run_classify"),
    "fill-mask": Kind("a model that fills masks", ("texts",), ("top_k",), '--text "It is a [MASK]."', "run_fill"),
    "image-classification": Kind("a classifier of photos", ("images",), ("top_k",), IMAGE, "run_classify"),
    "image-features": Kind("an image encoder", ("images",), ("output",), IMAGE, "run_embed"),
    "two-tower": Kind(
        "a model of texts and photos", ("texts", "images"), ("top_k", "output"),
        f'{IMAGE} --text "a cat" --text "a dog"', "run_towers",
    ),
    "detection": Kind("a detector", ("images",), ("threshold", "top_k"), IMAGE, "run_detect"),
    "segmentation": Kind(
        "a segmentation model", ("images",), ("points", "objects", "output"), f"{IMAGE} --point 310,220 -o mask.png",
        "run_segment",
    ),
    "encoder-decoder": Kind("a text-to-text model", ("texts",), ("stop", *SAMPLING), TEXT, "run_encoder_decoder"),
    SPEECH: Kind(
        "a model that hears", ("audio",), ("language", "translate", *SAMPLING), "--audio speech.wav",
        "run_encoder_decoder",
    ),
}  # fmt: skip


def kind_of(model: Artifact) -> Kind | None:
    """What `edgeq run` knows of such models; None for those it prepares no inputs for."""
    return KINDS.get(SPEECH if "audio" in model.task else model.kind)


def checked(model: Artifact, given: set[str]) -> Kind:
    """The model's kind, after refusing options it does not take; raises UsageError with what it does take."""
    kind = kind_of(model)
    if kind is None:
        names = ", ".join(entry["name"] for entry in model.task.get("entries", ()))
        raise UsageError(
            f"{model.path} does nothing that `edgeq run` prepares inputs for: run its entries ({names}) on arrays, "
            f'--entry NAME --input TENSOR=FILE.npy, or edgeq.load("{model.path}").run("name", ...) from Python'
        )
    strange = sorted(given - {*kind.needs, *kind.takes, "as_json"})
    if strange:
        means = "means" if len(strange) == 1 else "mean"
        raise UsageError(f"{' and '.join(map(flag, strange))} {means} nothing to {takes(model)}")
    if kind.needs and "texts" not in kind.needs and not given & set(kind.needs):
        raise UsageError(f"nothing to run on: this is {takes(model)}")
    return kind


def takes(model: Artifact) -> str:
    """`a detector, which takes --image, --threshold; try: edgeq run ...`; options of the draw are left to --help."""
    kind = kind_of(model)
    assert kind is not None
    names = [name for name in (*kind.needs, *kind.takes) if name == "top_k" or name not in SAMPLING]
    return f"{kind.about}, which takes {', '.join(map(flag, names))}; try: {example(model)}"


def example(model: Artifact) -> str:
    """A command that runs this artifact, or takes it elsewhere; "" where `edgeq run` prepares no inputs."""
    if not runs_here(model.manifest["target"]):
        return f"edgeq profile {model.path} --device qemu, or edgeq package {model.path} -o app"
    kind = kind_of(model)
    return f"edgeq run {model.path} {kind.example}" if kind else ""


def flag(name: str) -> str:
    """An option as it is typed."""
    return FLAGS.get(name, "--" + name.replace("_", "-"))
