"""Compile time: preprocessor_config.json becomes `Steps`, checked against transformers' own processor.

transformers knows the defaults of every processor and the spelling of every year's configs, so it is asked once, here,
and the device carries explicit steps. What our steps do not reproduce on odd-sized photos is refused.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.tasks.image import Steps, prepare
from edgeq.tasks.resizing import Rule, Size

CONFIG = "preprocessor_config.json"
SAMPLES: tuple[Size, ...] = ((37, 53), (61, 45), (20, 90))  # landscape, portrait, a panorama
TOLERANCE = 1e-5


def processor_of(assets: dict[str, bytes]) -> Any | None:
    """transformers' image processor (Pillow backend) for the model's files; None when they name none.

    Raises:
        UnsupportedError: transformers does not know the processor.
    """
    config = _settings(assets)
    if config is None:
        return None
    config.pop("auto_map", None)  # code that comes with a checkpoint is never run
    from transformers import AutoImageProcessor

    with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
        (Path(folder) / CONFIG).write_text(json.dumps(config))
        if "config.json" in assets:
            (Path(folder) / "config.json").write_bytes(assets["config.json"])
        try:
            return AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        except Exception as error:  # transformers raises what it likes
            reason = str(error).replace(folder, "it").split(". ")[0]
            raise UnsupportedError(f"{CONFIG}: transformers makes no image processor of it ({reason})") from error


def _settings(assets: dict[str, bytes]) -> dict[str, Any] | None:
    """The image processor's part of the first file that has one."""
    for name in (CONFIG, "processor_config.json"):
        found = json.loads(assets.get(name, b"{}"))
        if found := found.get("image_processor", found if name == CONFIG else None):
            return dict(found)
    return None


def steps_of(processor: Any) -> Steps:
    """What a transformers image processor does, as steps; see `checked_steps` for whether that is all it does."""
    steps = Steps(
        resize=_rule(processor) if processor.do_resize else None,
        resample=int(getattr(processor, "resample", None) or 2),
        crop=_pair(processor.crop_size) if getattr(processor, "do_center_crop", None) else None,
        rescale=float(processor.rescale_factor) if processor.do_rescale else None,
        mean=_channels(processor.image_mean) if processor.do_normalize else None,
        std=_channels(processor.image_std) if processor.do_normalize else None,
        pad=_pair(processor.pad_size) if getattr(processor, "do_pad", None) and processor.pad_size else None,
    )
    return _with_crop_pct(steps, processor)


def _rule(processor: Any) -> Rule:
    size = processor.size
    if size.shortest_edge and size.longest_edge:
        return {"rule": "bounded", "shortest": size.shortest_edge, "longest": size.longest_edge}
    if size.shortest_edge:
        return {"rule": "shortest", "edge": size.shortest_edge}
    if size.longest_edge:
        return {"rule": "longest", "edge": size.longest_edge}
    if size.max_height and size.max_width:
        return {"rule": "box", "height": size.max_height, "width": size.max_width}
    return {"rule": "exact", "height": size.height, "width": size.width}


def _with_crop_pct(steps: Steps, processor: Any) -> Steps:
    """ConvNeXt's way: below 384 the photo is resized a little larger and cropped, from 384 on it is stretched."""
    percent = getattr(processor, "crop_pct", None)
    if percent is None or steps.resize is None or "edge" not in steps.resize:
        return steps
    edge = steps.resize["edge"]
    if edge >= 384:
        return replace(steps, resize={"rule": "exact", "height": edge, "width": edge})
    return replace(steps, resize={"rule": "shortest", "edge": int(edge / percent)}, crop=(edge, edge))


def _pair(size: Any) -> Size:
    return int(size.height), int(size.width)


def _channels(values: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in values) if hasattr(values, "__iter__") else (float(values),) * 3


def checked_steps(processor: Any) -> Steps:
    """The steps of a processor, after they gave the same numbers as it does.

    Raises:
        UnsupportedError: they do not; the processor does something that steps cannot say.
    """
    name = type(processor).__name__
    try:
        steps = steps_of(processor)
        worst = max(_difference(processor, steps, size) for size in SAMPLES)
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise UnsupportedError(f"{CONFIG}: {name} is not built of the steps that edgeq knows ({error})") from error
    if not worst <= TOLERANCE:
        raise UnsupportedError(f"{CONFIG}: {name} gives other pixels than edgeq's steps (off by {worst:.2g})")
    return steps


def _difference(processor: Any, steps: Steps, size: Size) -> float:
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    from PIL import Image

    expected = np.asarray(processor(Image.fromarray(photo), return_tensors="np")["pixel_values"])
    found = prepare(photo, steps).pixels
    same = expected.shape == (1, *found.shape)
    return float(np.abs(expected[0] - found).max()) if same else float("inf")


def output_size(steps: Steps) -> Size | None:
    """(height, width) of what comes out, None when it depends on the photo."""
    if steps.pad or steps.crop:
        return steps.pad or steps.crop
    if steps.resize and steps.resize["rule"] == "exact":
        return steps.resize["height"], steps.resize["width"]
    return None


def fitted(steps: Steps, size: Size, masked: bool) -> tuple[Steps, str]:
    """The steps changed so that `size` (height, width), the compiled one, comes out; and a note on what that means.

    masked: the model takes a pixel mask, so that a photo can keep its proportions beside padding.
    """
    given = output_size(steps)
    if given == size:
        return steps, ""
    if given is not None:
        return _scaled(steps, given, size), f"compiled for {_text(size)}, not the processor's {_text(given)}"
    if masked and steps.resize and steps.resize["rule"] == "bounded":
        return replace(steps, resize={**steps.resize, "within": size}, pad=size), ""
    stretch = {"rule": "exact", "height": size[0], "width": size[1]}
    return replace(steps, resize=stretch), f"photos are stretched to the compiled {_text(size)}"


def _scaled(steps: Steps, given: Size, size: Size) -> Steps:
    resize = dict(steps.resize) if steps.resize else None
    if resize and resize["rule"] == "exact" and not steps.crop:
        resize = {"rule": "exact", "height": size[0], "width": size[1]}
    elif resize and "edge" in resize:
        resize["edge"] = round(resize["edge"] * max(size) / max(given))
    elif resize and resize["rule"] == "exact":
        resize["height"] = round(resize["height"] * size[0] / given[0])
        resize["width"] = round(resize["width"] * size[1] / given[1])
    return replace(steps, resize=resize, crop=size if steps.crop else None, pad=size if steps.pad else None)


def _text(size: Size) -> str:
    return f"{size[1]}x{size[0]}"
