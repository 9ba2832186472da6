"""`edgeq run`: do with an artifact what its model is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeq.cli import console
from edgeq.cli.command import Command, json_option

EXAMPLES = (
    'edgeq run build/smollm2 --prompt "Explain photosynthesis to a child."',
    'echo "Write a haiku about rain." | edgeq run build/smollm2 --temperature 0.7 --top-p 0.9 --seed 1',
    'edgeq run build/minilm --text "a cat sleeps" --text "the kitten naps" --text "stocks fell"',
    "edgeq run build/vit --image photo.jpg --top-k 3 --json",
    'edgeq run build/clip --image photo.jpg --text "a cat" --text "a dog"',
    "edgeq run build/detr --image street.jpg --threshold 0.8",
    "edgeq run build/sam --image photo.jpg --point 310,220 --point -20,40 -o mask.png",
    'edgeq run build/t5 --text "translate English to German: The house is small."',
    "edgeq run build/whisper --audio speech.wav",
    "edgeq run build/vit --entry image --input pixel_values=pixels.npy -o outputs.npz",
)


def _options(*made: Any) -> Any:
    """The decorators as one, so that options read as a table."""

    def decorate(function: Any) -> Any:
        for option in reversed(made):
            function = option(function)
        return function

    return decorate


LANGUAGE = _options(
    click.option("-p", "--prompt", help="Text to answer; without it stdin is read, or a chat begins on a terminal."),
    click.option("--system", help="System message of the chat template."),
    click.option("--raw", is_flag=True, help="Continue the prompt as it is, without the chat template."),
    click.option(
        "-n", "--max-tokens", type=click.IntRange(min=1), help="Stop after this many  [default: context's end]."
    ),
    click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(min=0), help="0 is greedy."),
    click.option(
        "--top-k", default=0, type=click.IntRange(min=0), help="Keep the likeliest tokens; or labels to show."
    ),
    click.option(
        "--top-p", default=1.0, show_default=True, type=click.FloatRange(0, 1, min_open=True), help="Nucleus."
    ),
    click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the draws."),
    click.option("--stop", multiple=True, help="End when this text appears (may be given several times)."),
)
INPUTS = _options(
    click.option("--text", "texts", multiple=True, help="Text for an encoder (may be given several times)."),
    click.option("--image", "images", multiple=True, type=click.Path(), help="Photo (for classifiers several times)."),
    click.option("--point", "points", multiple=True, metavar="X,Y", help="In pixels; -X,Y or X,Y:0 is background."),
    click.option("--object", "objects", multiple=True, metavar="POINTS", help='One more mask: "X,Y X,Y:0".'),
    click.option("--audio", type=click.Path(), help="WAV file to transcribe."),
    click.option("--language", help="Of the sound  [default: the model tells]."),
    click.option("--translate", is_flag=True, help="Translate the sound into English."),
    click.option("--threshold", default=0.5, show_default=True, type=click.FloatRange(0, 1), help="Of boxes to show."),
    click.option("--entry", help="Run one entry on arrays instead; `edgeq inspect` lists entries."),
    click.option("--input", "inputs", multiple=True, metavar="NAME=FILE.npy", help="A tensor of --entry."),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), help="Mask (.png), embeddings (.npy), outputs (.npz)."
    ),
)
MACHINE = _options(
    click.option("-t", "--threads", default=0, show_default=True, type=click.IntRange(min=0), help="0: a core each."),
    click.option("--variant", help="Instruction-set variant to force; default: the best this CPU runs."),
)


@click.command("run", cls=Command, examples=EXAMPLES, short_help="Run a model: chat, embed, classify, detect, segment.")
@click.argument("artifact", type=click.Path(path_type=Path))
@LANGUAGE
@INPUTS
@MACHINE
@json_option
@click.pass_context
def command(ctx: click.Context, artifact: Path, threads: int, variant: str | None, **options: Any) -> None:
    """Run ARTIFACT on text, photos or sound; results go to stdout, times to stderr.

    What it takes depends on its model: a language model --prompt, an encoder --text, a vision model --image, two
    towers both, SAM --image and --point, an encoder-decoder --text or --audio.
    """
    from edgeq.cli.run_entry import run as run_entry
    from edgeq.cli.run_kinds import checked
    from edgeq.runtime.artifact import Artifact

    model = Artifact(artifact, threads, variant)
    given = {name for name in options if ctx.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE}
    if options["entry"]:
        run_entry(model, options, given)
        return
    kind = checked(model, given)
    if options["images"] and (note := model.task["image"].get("note")):
        console.note(note)
    kind.run(model, options)
