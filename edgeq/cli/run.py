"""`edgeq run`: generate text with an artifact."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from edgeq.cli.command import Command
from edgeq.errors import UsageError

EXAMPLES = (
    'edgeq run build/smollm2 --prompt "Explain photosynthesis to a child."',
    'echo "Write a haiku about rain." | edgeq run build/smollm2 --temperature 0.7 --top-p 0.9 --seed 1',
    'edgeq run build/smollm2 --raw --prompt "Once upon a time" --max-tokens 64 --stop "."',
)


@click.command("run", cls=Command, examples=EXAMPLES, short_help="Generate text, or chat.")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("-p", "--prompt", help="Text to answer; without it stdin is read, or a chat begins on a terminal.")
@click.option("--system", help="System message of the chat template.")
@click.option("--raw", is_flag=True, help="Continue the prompt as it is, without the chat template.")
@click.option("-n", "--max-tokens", type=click.IntRange(min=1), help="Stop after this many  [default: context's end].")
@click.option("--temperature", default=0.0, show_default=True, type=click.FloatRange(min=0), help="0 is greedy.")
@click.option("--top-k", default=0, show_default=True, type=click.IntRange(min=0), help="Keep the likeliest; 0: all.")
@click.option("--top-p", default=1.0, show_default=True, type=click.FloatRange(0, 1, min_open=True), help="Nucleus.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the draws.")
@click.option("--stop", multiple=True, help="End when this text appears (may be given several times).")
@click.option("-t", "--threads", default=0, show_default=True, type=click.IntRange(min=0), help="0: a core each.")
@click.option("--variant", help="Instruction-set variant to force; default: the best this CPU runs.")
def command(
    artifact: Path,
    prompt: str | None,
    system: str | None,
    raw: bool,
    max_tokens: int | None,
    stop: tuple[str, ...],
    threads: int,
    variant: str | None,
    **sampling: Any,
) -> None:
    """Generate text with ARTIFACT, streamed to stdout; speeds go to stderr.

    The model's chat template is applied unless --raw is given.
    """
    if raw and system:
        raise UsageError("--system is part of the chat template, which --raw leaves out: give one of them")
    text = _prompt(prompt, raw)
    import edgeq
    from edgeq.cli import talk
    from edgeq.runtime.sampling import Sampling

    style = talk.Style(Sampling(**sampling), max_tokens, stop, system, raw)
    model = edgeq.load(artifact, threads=threads, variant=variant)
    if text is None:
        talk.chat(model, style)
    else:
        talk.answer(model, text, style)


def _prompt(given: str | None, raw: bool) -> str | None:
    """The prompt's text; None when a chat should begin."""
    if given is None and sys.stdin.isatty():
        if raw:
            raise UsageError('--raw continues a text: give --prompt "...", or text on stdin')
        return None
    text = sys.stdin.read().strip() if given is None else given
    if not text:
        raise UsageError('no prompt: give --prompt "...", or text on stdin')
    return text
