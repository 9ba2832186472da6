"""`edgeq run` of promptable segmentation: masks at points, the photo looked at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from edgeq.cli import console
from edgeq.cli.run_inputs import say_time, write
from edgeq.cli.run_kinds import takes
from edgeq.errors import UsageError
from edgeq.tasks.segmentation import Mask, Point

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact

POINT = re.compile(r"(-?)(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)(?::([01]))?")


def run(model: Artifact, options: dict[str, Any]) -> None:
    """A mask for the points of --point, and one for each --object; written where -o says."""
    if len(options["images"]) != 1:
        raise UsageError("give one --image; its points and objects belong to it")
    prompts = [[point(text) for text in group] for group in _groups(options)]
    if not prompts:
        raise UsageError(f"no points: this is {takes(model)}")
    paths = _paths(options["output"], len(prompts))
    task = model.model
    task.look(options["images"][0])
    say_time("image features", task.look_seconds)
    results = [_one(task, points, path) for points, path in zip(prompts, paths, strict=True)]
    if options["as_json"]:
        console.print_json({"input": options["images"][0], "image_seconds": task.look_seconds, "masks": results})
        return
    for result in results:
        where = f"  {result['file']}" if result["file"] else ""
        click.echo(f"{result['score']:7.4f}  {result['pixels']:,} pixels, box {result['box']}{where}")


def _one(task: Any, points: list[Point], path: Path | None) -> dict[str, Any]:
    mask: Mask = task.mask(points)
    say_time("prompt and mask", task.mask_seconds)
    if path:
        write(path, lambda part: save(mask.pixels, part))
    listed = [[p.x, p.y, int(p.inside)] for p in points]
    found = {"points": listed, "score": mask.score, "pixels": int(mask.pixels.sum()), "box": _box(mask.pixels)}
    return found | {"seconds": task.mask_seconds, "file": str(path) if path else None}


def point(text: str) -> Point:
    """`310,220` in the object; `-310,220` or `310,220:0` outside of it; raises UsageError for anything else."""
    found = POINT.fullmatch(text.strip())
    if not found or (found[1] and found[4] == "1"):
        raise UsageError(f"{text!r} is no point: give X,Y in pixels, -X,Y or X,Y:0 for background, such as 310,220")
    return Point(float(found[2]), float(found[3]), not found[1] and found[4] != "0")


def _groups(options: dict[str, Any]) -> list[list[str]]:
    first = [list(options["points"])] if options["points"] else []
    return [*first, *(text.split() for text in options["objects"])]


def _paths(output: Path | None, masks: int) -> list[Path | None]:
    """`mask.png`; of several masks `mask-1.png`, `mask-2.png`, ..."""
    if output is None:
        return [None] * masks
    if output.suffix.lower() != ".png":
        raise UsageError(f"-o {output}: masks are written as .png")
    if masks == 1:
        return [output]
    return [output.with_stem(f"{output.stem}-{i + 1}") for i in range(masks)]


def save(mask: np.ndarray, path: Path) -> None:
    """White where the mask bool[H, W] is, black elsewhere, 8-bit grey PNG."""
    from PIL import Image

    Image.fromarray(mask.astype(np.uint8) * 255).save(path, format="PNG")


def _box(mask: np.ndarray) -> list[int] | None:
    """Left, top, right, bottom of the mask (the last two are one beyond it); None when it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
