"""GGUF checkpoints under Hugging Face names, dequantized tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeq.errors import ModelError, UnsupportedError

Undo = Callable[[np.ndarray, str, Any], np.ndarray]


def _halves_from_pairs(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """Rows of q and k: llama.cpp rotates neighbouring pairs of a head, Hugging Face its two halves."""
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(name.split(".")[2], 0)
    if not heads:
        return values
    pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return pairs.swapaxes(1, 2).reshape(values.shape)


def _undo_llama(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    return _halves_from_pairs(values, name, config) if name.startswith("blk.") else values


def _undo_gemma(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """llama.cpp stores 1 + w of every RMS norm."""
    return values - 1 if name.endswith("norm.weight") else values


def _undo_gpt2(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    """Hugging Face keeps the [K, N] matrices of the original Conv1D layers."""
    conv1d = ("attn_qkv.weight", "attn_output.weight", "ffn_up.weight", "ffn_down.weight")
    return values.T if name.startswith("blk.") and name.endswith(conv1d) else values


def _as_stored(values: np.ndarray, name: str, config: Any) -> np.ndarray:
    return values


# What the converter of llama.cpp did to tensors, undone; an architecture that is not here is refused.
UNDO: dict[str, Undo] = {
    "llama": _undo_llama, "qwen2": _as_stored, "qwen3": _as_stored, "phi3": _as_stored, "gpt2": _undo_gpt2,
    "gemma2": _undo_gemma, "gemma3": _undo_gemma,
}


class GgufFile:
    """One GGUF file: metadata and tensors; opening reads the header only."""

    def __init__(self, path: Path) -> None:
        import gguf

        try:
            self.reader = gguf.GGUFReader(path)
        except FileNotFoundError as error:
            raise ModelError(f"{path} is missing") from error
        except Exception as error:  # the reader raises whatever the damage leads to
            raise ModelError(f"{path} is not a whole GGUF file: {error}") from error
        self.path = path
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        self._check_length()
        self.architecture = str(self.field("general.architecture"))
        if self.architecture not in UNDO:
            known = ", ".join(UNDO)
            raise UnsupportedError(f"{path.name}: GGUF architecture {self.architecture!r} is not one of {known}")

    def field(self, name: str, default: Any = None) -> Any:
        """One metadata value: str, int, float or list; `default` if absent."""
        found = self.reader.fields.get(name)
        return default if found is None else found.contents()

    def _check_length(self) -> None:
        end = max((int(t.data_offset) + int(t.n_bytes) for t in self.tensors.values()), default=0)
        actual = self.path.stat().st_size
        if end > actual:
            raise ModelError(f"{self.path} is cut short: {actual} bytes of {end}; download it again")


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
        shape = tuple(int(n) for n in reversed(self._tensor(name).shape))
        probe = np.broadcast_to(np.float32(0), shape)
        transposed = len(shape) == 2 and self.file.architecture == "gpt2"
        return UNDO["gpt2"](probe, self.stored[name], self.config).shape if transposed else shape

    def dtype(self, name: str) -> str:
        """The GGUF type, e.g. `Q4_1`."""
        return self._tensor(name).tensor_type.name

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """The tensor dequantized to float32, or a range of its first axis."""
        import gguf

        tensor = self._tensor(name)
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        values = UNDO[self.file.architecture](values, self.stored[name], self.config)
        return torch.from_numpy(np.array(values if rows is None else values[rows], copy=True))

    def _tensor(self, name: str) -> Any:
        if name not in self.stored:
            raise ModelError(f"{self.file.path.name} has no tensor for {name!r}")
        return self.file.tensors[self.stored[name]]
