"""`edgeq sensitivity`: what each part of a model suffers in each weight format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeq.cli import console
from edgeq.cli.command import Command, json_option
from edgeq.cli.progress import Report, reporting

if TYPE_CHECKING:
    from edgeq.sensitivity.result import Sensitivity

EXAMPLES = (
    "edgeq sensitivity demo:smollm2-135m",
    "edgeq sensitivity demo:smollm2-135m --formats w3g64,w4g128a,w8 --top 20 --plot-file sensitivity.svg",
    "edgeq sensitivity demo:smollm2-135m --bits w4a16 --calib notes.txt --json",
    "edgeq sensitivity demo:smollm2-135m --method kl --only 'model.layers.2.*' --calib-samples 2",
    "edgeq sensitivity demo:minilm --formats w4g32,w8",
)
FORMATS = ("w4g128", "w4g32", "w8")
FEWER = "Show only the parts that suffer most."


@click.command("sensitivity", cls=Command, examples=EXAMPLES, short_help="Measure what few bits do to each part.")
@click.argument("model")
@click.option("--bits", default="w4a8", show_default=True, help="Activations, and one more candidate: w4a8g64.")
@click.option("--formats", default="", metavar="F,F", help=f"Candidates of linears  [default: {','.join(FORMATS)}].")
@click.option("--heads", default="", metavar="F,F", help="Of head and embedding  [default: w4g32,w8g32,f16].")
@click.option("--method", default="", metavar="NAME", help="fisher, kl, output  [default: fisher; output if no LM].")
@click.option("--only", default="", metavar="PATTERN", help="Only parts with such a module: 'model.layers.2.*'.")
@click.option("--calib", default="", metavar="DATA", help="Samples, as for `edgeq compile`.")
@click.option("--calib-samples", type=click.IntRange(min=1), help="How many samples  [default: by kind of model].")
@click.option("--calib-length", type=click.IntRange(min=1), help="Tokens of each  [default: 256].")
@click.option("--length", type=click.IntRange(min=1), default=128, show_default=True, help="Tokens of an encoder.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of what is drawn at random.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help=FEWER)
@click.option("--plot-file", type=click.Path(path_type=Path, dir_okay=False), help="Also draw an SVG here.")
@click.option("--revision", help="Branch, tag or commit of a hub id.")
@json_option
def command(
    model: str, bits: str, formats: str, heads: str, method: str, only: str, calib: str, calib_samples: int | None,
    calib_length: int | None, length: int, seed: int, top: int | None, plot_file: Path | None,
    revision: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure how the outputs of MODEL change when one part of it is quantized, for every part and format.

    Parts are linears that become one product (q, k, v; gate, up), linears alone, and the output head with the
    embedding. A language model's damage is the KL divergence of its next-token probabilities in nats a token, another
    model's the relative error of its outputs.
    """
    with reporting() as progress:
        progress("load the compiler", 0, 0)
        data = (calib, calib_samples, calib_length, seed)
        found = _measured((model, revision), bits, (formats, heads), (method, only), data, length, progress)
    if plot_file is not None:
        from edgeq.cli.sensitivity_svg import write_svg

        write_svg(plot_file, found, top)
        console.note(f"wrote {plot_file}")
    if as_json:
        console.print_json(found.to_json())
        return
    from edgeq.cli.sensitivity_plot import chart

    click.echo(chart(found, top))


def _measured(
    model: tuple[str, str | None], bits: str, formats: tuple[str, str], how: tuple[str, str],
    data: tuple[str, int | None, int | None, int], length: int, progress: Report,
) -> Sensitivity:  # fmt: skip
    """`formats`: of linears, of heads. how: method, pattern. `data`: what to measure on, samples, tokens, seed."""
    from edgeq.calibrate.chained import Chained
    from edgeq.calibrate.data import open_data
    from edgeq.frontend.entries import Shapes, load_entries
    from edgeq.frontend.source import open_model
    from edgeq.quant.bits import Bits
    from edgeq.sensitivity.candidates import Asked, together
    from edgeq.sensitivity.measure import HEADS, check_method, measure

    parsed, (linears, heads) = Bits.parse(bits), (_listed(text) for text in formats)
    own = () if parsed.weight.is_float else (str(parsed.weight),)
    asked = Asked(together(linears or (*FORMATS, *own)), together(heads or HEADS), parsed.act)
    check_method(how[0])
    source = open_model(*model)
    progress("export the graphs", 0, 0)
    entries = load_entries(source, Shapes(lengths=(length,)), progress=progress)
    spec, samples, tokens, seed = data
    read = open_data(spec, source, seed, samples, tokens, progress)
    chained = Chained(entries, source.weights, read.samples, progress).samples
    return measure(
        entries, source, chained, asked.linears, how[0],
        act=asked.act, heads=asked.heads, only=how[1], seed=seed, progress=progress,
    )  # fmt: skip


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
