"""What a compile does with a quantized checkpoint: which codes it keeps, and which passes may then run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import fx

from edgeq.errors import UsageError
from edgeq.frontend.entries import EntryGraph
from edgeq.frontend.gguf_header import read_header
from edgeq.frontend.source import Source
from edgeq.imports.gguf_weights import holds_codes
from edgeq.imports.keep import imported, keep_codes
from edgeq.imports.record import AGAIN, keeps_codes
from edgeq.passes.quantize import Quantize
from edgeq.quant.per_linear import format_of

if TYPE_CHECKING:
    from edgeq.compiling.options import Options

Progress = Callable[[str, int, int], None]
DEMO = "demo:"  # a demo stands for its model, not for its file: bits, passes or formats given are what is wanted


def import_codes(source: Source, entries: Sequence[EntryGraph], options: Options, progress: Progress) -> None:
    """Keep what codes can be kept, in place, and note in `source.imports` what became of each quantized weight.

    Raises:
        UnsupportedError: codes that cannot be kept. UsageError: `--bits keep...` or `--requantize` of a float model.
    """
    if imported(source) is None:
        if options.weights == "kept" or options.requantize:
            asked = "--requantize" if options.requantize else "--bits keep..."
            raise UsageError(f"{asked} means nothing to {options.model}: no weight of it is quantized")
        return
    demo = source.name.startswith(DEMO)
    prepared = demo and bool(options.recipe or options.passes or options.formats) and options.weights == "default"
    keeps = options.weights != "bits" and not prepared
    wanted = None if keeps else _wanted(entries, options)
    again = options.requantize or (demo and not keeps)
    source.imports = keep_codes(source, entries, wanted, again, progress)
    _refuse_formats(source, options)
    if keeps_codes(source.imports) and (options.passes or options.recipe):
        raise UsageError(
            f"{options.model} keeps the codes that it was quantized to: no pass can change its weights. Leave --recipe "
            "and --pass out, or give --requantize and the --bits that you want instead"
        )


def _refuse_formats(source: Source, options: Options) -> None:
    """Raise UsageError where `--formats` names a weight that keeps codes of another format."""
    for record in source.imports:
        asked = format_of(record.name.removesuffix(".weight"), options.formats)
        if asked is not None and record.outcome != AGAIN and str(asked) != record.format:
            raise UsageError(f"--formats: {record.name} keeps its codes, {record.format}; {asked} would be other ones")


def formats_of(source: Source, options: Options) -> dict[str, str]:
    """Formats of single linears: those asked for, and of weights that are quantized again beside kept codes."""
    if not keeps_codes(source.imports):
        return dict(options.formats)
    again = {r.name.removesuffix(".weight"): r.format for r in source.imports if r.outcome == AGAIN and r.format}
    return again | dict(options.formats)


def refuse_kept(source: Source, what: str) -> None:
    """Raise UsageError where codes are kept: `what` chooses formats."""
    if keeps_codes(source.imports):
        raise UsageError(
            f"{source.name} keeps the codes that it was quantized to, and {what} chooses formats: give --requantize "
            "and --bits"
        )


def is_quantized(model: str, weights: str) -> bool:
    """Whether a compile may keep codes of a model (`weights`: of its options), by what is on this disk.

    A demo whose bits are given is quantized again; a model that is not here is taken for one of floats.
    """
    from edgeq.frontend.demo import demo_path
    from edgeq.frontend.folder import read_config
    from edgeq.frontend.source import demo_cache

    if model.startswith(DEMO) and weights == "bits":
        return False
    path = demo_path(model, demo_cache()) if model.startswith(DEMO) else Path(model).expanduser()
    if path.suffix == ".gguf":
        return any(holds_codes(tensor) for tensor in read_header(path).tensors.values())
    return path.is_dir() and bool(getattr(read_config(path), "quantization_config", None))


def _wanted(entries: Sequence[EntryGraph], options: Options) -> Callable[[fx.Node], str]:
    step = Quantize(bits=str(options.bits))
    chosen: dict[fx.Node, str] = {}
    for entry in entries:
        chosen |= {node: str(fmt) for node, (fmt, _) in step._choices(entry.gm, options.formats).items()}
    return lambda node: chosen.get(node, "")
