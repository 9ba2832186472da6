"""GGUF checkpoints under Hugging Face names, read and dequantized tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeq.errors import ModelError, UnsupportedError
from edgeq.frontend.gguf_header import read_header
from edgeq.frontend.read_bytes import read_bytes

Undo = Callable[[np.ndarray, str, Any], np.ndarray]


def _undo_llama(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """Rows of q and k: llama.cpp rotates neighbouring pairs of a head, Hugging Face its two halves."""
    kind = name.split(".")[2] if name.startswith("blk.") else ""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(kind)
    if heads is None:
        return values
    pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return pairs.swapaxes(1, 2).reshape(values.shape)


def _undo_gpt2(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """Hugging Face keeps the [K, N] matrices of the original Conv1D layers."""
    conv1d = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
    return values.T if name.startswith("blk.") and name.endswith(conv1d) else values


def _as_stored(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    return values


# What the converter of llama.cpp did to tensors, undone; an architecture that is not here is refused.
UNDO: dict[str, Undo] = {"llama": _undo_llama, "qwen2": _as_stored, "qwen3": _as_stored, "gpt2": _undo_gpt2}


class GgufFile:
    """One GGUF file: metadata and tensors; opening reads the header only.

    Raises:
        ModelError: a damaged file.
        UnsupportedError: an architecture whose tensors edgeq cannot bring back to Hugging Face's form.
    """

    def __init__(self, path: Path) -> None:
        header = read_header(path)
        self.path, self.fields, self.tensors = path, header.fields, header.tensors
        self.architecture = str(self.field("general.architecture"))
        if self.architecture not in UNDO:
            known = ", ".join(UNDO)
            raise UnsupportedError(f"{path.name}: GGUF architecture {self.architecture!r} is not one of {known}")

    def field(self, name: str, default: Any = None) -> Any:
        """One metadata value: str, int, float or list; `default` if absent."""
        return self.fields.get(name, default)


def gguf_names(file: GgufFile, model: nn.Module, layers: int) -> dict[str, str]:
    """Hugging Face parameter name -> GGUF tensor name, for the parameters that the file holds."""
    import gguf

    kinds = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}
    table = gguf.get_tensor_name_map(kinds[file.architecture], layers)
    names = {}
    for name, _ in model.named_parameters(remove_duplicate=False):
        found = table.get_name(name, try_suffixes=(".weight", ".bias"))
        if found in file.tensors:
            names[name] = found
    return names


class GgufWeights:
    """The tensors of a GGUF file under Hugging Face names (`stored`: HF name -> GGUF name)."""

    def __init__(self, file: GgufFile, stored: dict[str, str], config: Any) -> None:
        self.file, self.stored, self.config = file, stored, config

    def names(self) -> list[str]:
        """Hugging Face names of all tensors that the model uses."""
        return list(self.stored)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape as Hugging Face has it."""
        probe = np.broadcast_to(np.float32(0), self._tensor(name).shape)
        return self._undo(probe, name).shape if self.file.architecture == "gpt2" else probe.shape

    def dtype(self, name: str) -> str:
        """The GGUF type, e.g. `Q4_1`."""
        import gguf

        return gguf.GGMLQuantizationType(self._tensor(name).kind).name

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """The tensor dequantized to float32, or a range of its first axis."""
        size = self._tensor(name).shape[0]
        low, high, step = (rows or slice(None)).indices(size)
        if step == 1 and 0 < high - low < size and not self.stored[name].startswith("blk."):  # a token table, in order
            return torch.from_numpy(self._dequantized(name, low, high).copy())
        values = self._undo(self._dequantized(name, 0, size), name)
        return torch.from_numpy(np.array(values if rows is None else values[rows], copy=True))

    def raw(self, name: str) -> Tensor:
        """A quantized matrix's bytes u8 `[N, bytes of a row]`, rows in Hugging Face's order."""
        tensor = self._tensor(name)
        raw = read_bytes(self.file.path, tensor.start, tensor.size).view(np.uint8).reshape(tensor.shape[0], -1)
        return torch.from_numpy(np.ascontiguousarray(self._undo(raw, name)))

    def _dequantized(self, name: str, low: int, high: int) -> np.ndarray:
        """f32, rows `low` to before `high`, shaped as stored."""
        import gguf

        tensor = self._tensor(name)
        kind, row = gguf.GGMLQuantizationType(tensor.kind), tensor.size // tensor.shape[0]
        raw = read_bytes(self.file.path, tensor.start + low * row, (high - low) * row)
        try:
            values = gguf.dequantize(raw.view(_element(kind)), kind)
        except NotImplementedError as error:
            raise UnsupportedError(f"{self.file.path.name}: {name} is {kind.name}, which edgeq cannot read") from error
        return values.astype(np.float32, copy=False).reshape(-1, *tensor.shape[1:])

    def _undo(self, values: np.ndarray, name: str) -> np.ndarray:
        return UNDO[self.file.architecture](values, self.stored[name], self.config)

    def _tensor(self, name: str) -> Any:
        if name not in self.stored:
            raise ModelError(f"{self.file.path.name} has no tensor for {name!r}")
        return self.file.tensors[self.stored[name]]


def _element(kind: Any) -> type:
    """How the gguf package takes a tensor's bytes: floats as they are, everything else as uint8."""
    return {"F32": np.float32, "F16": np.float16}.get(kind.name, np.uint8)
