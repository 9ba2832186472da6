"""`edgeq pareto`: the least damage that a model can have at every size, before anything is compiled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeq.cli import console
from edgeq.cli.command import Command, json_option
from edgeq.cli.numbers import NUMBERS
from edgeq.cli.progress import Report, reporting

if TYPE_CHECKING:
    from edgeq.budget.frontier import Frontier
    from edgeq.sensitivity.result import Sensitivity

EXAMPLES = (
    "edgeq pareto demo:smollm2-135m",
    "edgeq pareto demo:smollm2-135m --points 24 --plot-file frontier.svg",
    "edgeq pareto demo:minilm --bits w8a8 --lengths 32,128 --json",
)


@click.command("pareto", cls=Command, examples=EXAMPLES, short_help="Draw size against damage for a model.")
@click.argument("model")
@click.option("--target", default="native", show_default=True, help="What to compile for; `edgeq targets` lists them.")
@click.option("--bits", default="w4a8", show_default=True, help="Activations and KV cache; weights are chosen.")
@click.option("--points", default=16, show_default=True, type=click.IntRange(2, 200), help="Sizes to allocate for.")
@click.option("--context", default=2048, show_default=True, type=click.IntRange(min=1), help="Most tokens it can hold.")
@click.option("--chunk", default=256, show_default=True, type=click.IntRange(min=1), help="Rows of a prefill chunk.")
@click.option("--lengths", default="128", show_default=True, type=NUMBERS, help="Lengths of an encoder: 32,128.")
@click.option("--calib", default="", metavar="DATA", help="Samples, as for `edgeq compile`.")
@click.option("--calib-samples", type=click.IntRange(min=1), default=None, help="How many samples.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of what is drawn at random.")
@click.option("--revision", help="Branch, tag or commit of a hub id.")
@click.option("--plot-file", type=click.Path(path_type=Path, dir_okay=False), help="Also draw an SVG here.")
@json_option
def command(model: str, points: int, plot_file: Path | None, as_json: bool, **given: Any) -> None:
    """Draw the predicted frontier of MODEL: bytes of the whole artifact against damage.

    A point is an artifact in which every layer has the format that `edgeq compile --target-size` would choose for that
    size; nothing is compiled. Artifacts of one format for all layers are listed beside it.
    """
    with reporting() as progress:
        progress("load the compiler", 0, 0)
        sensitivity, found = _found(model, points, given, progress)
    if plot_file is not None:
        from edgeq.cli.pareto_svg import write_svg

        write_svg(plot_file, found, sensitivity)
        console.note(f"wrote {plot_file}")
    if as_json:
        console.print_json(_json(sensitivity, found))
        return
    from edgeq.cli.pareto_text import text

    click.echo(text(found, sensitivity))


def _found(model: str, points: int, given: dict[str, Any], progress: Report) -> tuple[Sensitivity, Frontier]:
    from edgeq.budget.frontier import frontier
    from edgeq.budget.goal import Goal
    from edgeq.budget.problem import pose
    from edgeq.compiling.options import make_options
    from edgeq.compiling.prepared import prepare

    options = make_options(model, **{**given, "calib_samples": given["calib_samples"] or 0})
    problem = pose(prepare(options, progress), options, Goal(), progress, score=False)
    return problem.sensitivity, frontier(problem, progress, points)


def _json(sensitivity: Sensitivity, found: Frontier) -> dict[str, Any]:
    about = {"model": sensitivity.model, "method": sensitivity.method, "unit": sensitivity.unit}
    uniform = {name: point.to_json() for name, point in found.uniform.items()}
    return {**about, "points": [point.to_json() for point in found.points], "uniform": uniform}
