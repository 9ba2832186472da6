"""`edgeq compile -c FILE`: options out of an artifact's edgeq.json, or out of a file somebody wrote.

A written file is one JSON object whose keys are the arguments of `edgeq.compile`: `{"model": "demo:minilm", "bits":
"w8a8", "recipe": "best"}`.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgeq.compiling.options import Resolved
from edgeq.errors import UsageError

MANIFEST = "edgeq.json"
KINDS = {
    **dict.fromkeys(("model", "target", "bits", "revision", "calib", "recipe"), "a text"),
    **dict.fromkeys(("context", "chunk", "points", "calib_samples", "calib_length", "seed"), "a whole number"),
    **dict.fromkeys(("lengths", "batch", "image_size"), "a list of whole numbers"),
    "passes": "a list of texts",
    "formats": "an object of texts",
    "requantize": "true or false",
}
OPTIONAL = ("revision", "image_size")  # may be null
# What the passes of a recipe and their measurements do not depend on.
FREE = ("target", "context", "chunk")


def read_config(path: Path) -> dict[str, Any]:
    """Arguments of `make_options`, with `resolved` where the file is an artifact's.

    Args:
        path: edgeq.json, the artifact's folder, or a written file.

    Raises:
        UsageError: unreadable, keys that mean nothing, values of another type.
        ArtifactError: an edgeq.json that is damaged or of another schema.
    """
    file = path / MANIFEST if path.is_dir() else path
    body = _parse(file)
    if "schema_version" in body:
        return _recorded(file)
    if unknown := [key for key in body if key not in KINDS]:
        raise UsageError(f"-c {file}: {', '.join(unknown)} means nothing; known: {', '.join(KINDS)}")
    for key, value in body.items():
        _check(file, key, value)
    return body


def merged(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a config with some changed.

    What the recipe was resolved to stays unless something changes that it depends on; a recipe replaces passes, and
    passes a recipe.
    """
    options = {**config, **changes}
    if "model" not in options:
        raise UsageError("-c FILE names no model: give MODEL too")
    if changes.get("recipe"):
        options = {**options, "passes": changes.get("passes", ())}
    elif changes.get("passes"):
        options = {**options, "recipe": ""}
    if any(_plain(config.get(name)) != _plain(value) for name, value in changes.items() if name not in FREE):
        options.pop("resolved", None)
    return options


def read_formats(file: Path) -> dict[str, str]:
    """`--formats FILE`: a JSON object, Hugging Face module names or patterns -> weight formats; raises UsageError."""
    body = _parse(file, "--formats")
    if wrong := [key for key, text in body.items() if not isinstance(text, str)]:
        raise UsageError(f'--formats {file}: {wrong[0]} has no format; write {{"model.layers.0.mlp.down_proj": "w8"}}')
    return body


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _check(file: Path, key: str, value: Any) -> None:
    """Raise UsageError for a value of another JSON type than the argument's."""
    if KINDS[key] == "true or false":
        if not isinstance(value, bool):
            raise UsageError(f"-c {file}: {key} is {json.dumps(value)}; give {KINDS[key]}")
        return
    whole = dict if KINDS[key].startswith("an object") else list if KINDS[key].startswith("a list") else None
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    kind = str if "text" in KINDS[key] else int
    right = isinstance(value, whole) if whole else not isinstance(value, dict | list)
    fits = right and all(isinstance(i, kind) and not isinstance(i, bool) for i in items)
    if not fits and not (value is None and key in OPTIONAL):
        raise UsageError(f"-c {file}: {key} is {json.dumps(value)}; give {KINDS[key]}")


def _parse(file: Path, option: str = "-c") -> dict[str, Any]:
    wanted = "an edgeq.json or a file of options" if option == "-c" else "an object of module names and formats"
    try:
        body = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{option} {file}: cannot be read as JSON ({error}); give {wanted}") from error
    if not isinstance(body, dict):
        raise UsageError(f"{option} {file}: not a JSON object; give {wanted}")
    return body


def _recorded(file: Path) -> dict[str, Any]:
    from edgeq.artifact.manifest import read_file

    recipe = read_file(file).recipe
    kept = {item.name: recipe[item.name] for item in fields(Resolved)}
    resolved = Resolved(tuple(kept["passes"]), tuple(kept["candidates"]), kept["calibration"])
    return {**recipe["options"], "resolved": resolved}
