"""`edgeq eval`: the perplexity of an artifact itself on a text."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeq.cli import console
from edgeq.cli.command import Command, json_option
from edgeq.cli.progress import Report, reporting

if TYPE_CHECKING:

    pass

EXAMPLES = (
    "edgeq eval build/smollm2 --text article.txt",
    "edgeq eval build/smollm2 --text article.txt --windows 10",
    "edgeq eval build/smollm2 --text article.txt --json",
)


@click.command("eval", cls=Command, examples=EXAMPLES, short_help="Measure an artifact's perplexity on a text.")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--text", "file", required=True, type=click.Path(path_type=Path), help="UTF-8 text to score.")
@click.option("--window", default=512, show_default=True, type=click.IntRange(min=4), help="Tokens of a window.")
@click.option("--windows", type=click.IntRange(min=1), help="Stop after this many  [default: the whole text].")
@click.option("-t", "--threads", default=0, show_default=True, type=click.IntRange(min=0), help="0: a core each.")
@click.option("--variant", help="Instruction-set variant to force; default: the best this CPU runs.")
@json_option
def command(
    artifact: Path, file: Path, window: int, windows: int | None, threads: int, variant: str | None, as_json: bool
) -> None:
    """Measure the perplexity of ARTIFACT on a text.

    The protocol is llama-perplexity's default: windows of 512 tokens, BOS first, the second half of each scored. The
    first half goes through prefill, the second token by token through decode: what is measured is what runs.
    """
    text = _read(file)
    with reporting() as progress:
        progress("load the artifact", 0, 0)
        result = {"artifact": str(artifact), "text": str(file)}
        result |= measure(artifact, text, window, windows, (threads, variant), progress)
    if as_json:
        console.print_json(result)
    else:
        value, error = result["perplexity"], result["error"]
        click.echo(f"perplexity {value:.3f} ± {error:.3f}  ({result['tokens']:,} tokens scored, {result['windows']} "
                   f"windows of {result['window']}, {result['seconds']:.0f} s)")  # fmt: skip


def measure(
    path: Path, text: str, window: int, windows: int | None, how: tuple[int, str | None], progress: Report
) -> dict[str, Any]:
    """`perplexity`, `error`, `tokens`, `windows`, `window`, `seconds`; `how` is (threads, variant)."""
    import edgeq
    from edgeq.errors import UsageError
    from edgeq.evaluate.perplexity import perplexity, second_half
    from edgeq.evaluate.text import text_tokens

    model = edgeq.load(path, threads=how[0], variant=how[1])
    if model.kind != "chat":
        raise UsageError(f"{path}: perplexity is of language models; this artifact is for {model.kind}: try edgeq run")
    tokens, bos = text_tokens(model.tokenizer.encode, text)
    start = time.monotonic()
    score = perplexity(second_half(model.session), tokens, bos, window, windows, progress)
    return {**asdict(score), "seconds": time.monotonic() - start}


def _read(file: Path) -> str:
    from edgeq.errors import UsageError

    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"--text {file}: not UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise UsageError(f"--text {file}: {error.strerror}") from error
