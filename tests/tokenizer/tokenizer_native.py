"""The C tokenizer through ctypes, built for this machine."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path

import numpy as np

from edgeq.lower.toolchain import cc
from edgeq.targets import find, native_name
from edgeq.tokenizer import INCLUDE, SOURCES, compile_tokenizer

ADD_SPECIAL, PARSE_SPECIAL, SKIP_SPECIAL, KEEP_BYTES = 1, 2, 4, 8
ENCODE = ADD_SPECIAL | PARSE_SPECIAL


@lru_cache(maxsize=1)
def library(folder: Path) -> ctypes.CDLL:
    """The C files as a shared library in `folder`."""
    out = folder / "libtokenizer.so"
    flags = ("-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-fno-sanitize=undefined")
    files = [f"-I{INCLUDE}", *map(str, SOURCES), "-o", str(out)]
    cc(find(native_name()).zig_triple, [*flags, *files], "building the tokenizer")
    loaded = ctypes.CDLL(str(out))
    for name in ("edgeq_tokenize", "edgeq_detokenize"):
        getattr(loaded, name).restype = ctypes.c_ssize_t
    loaded.edgeq_incomplete_utf8.restype = ctypes.c_size_t
    return loaded


class NativeTokenizer:
    """A blob, opened."""

    def __init__(self, c: ctypes.CDLL, blob: bytes) -> None:
        self.c, self.handle = c, ctypes.c_void_p()
        self.memory = aligned(blob)
        self.status = open_blob(c, self.memory, len(blob), self.handle)
        if self.status:
            raise ValueError(f"edgeq_tokenizer_open: {self.status}")

    def close(self) -> None:
        self.c.edgeq_tokenizer_close(self.handle)

    def encode(self, text: str | bytes, flags: int = ENCODE) -> list[int]:
        data = text.encode() if isinstance(text, str) else text
        ids = np.empty(len(data) * 2 + 64, dtype=np.int32)
        count = self._tokenize(data, flags, ids)
        if count > ids.size:
            ids = np.empty(count, dtype=np.int32)
            self._tokenize(data, flags, ids)
        return [int(i) for i in ids[:count]]

    def _tokenize(self, data: bytes, flags: int, ids: np.ndarray) -> int:
        place, room = ctypes.c_void_p(ids.ctypes.data), ctypes.c_size_t(ids.size)
        count = int(self.c.edgeq_tokenize(self.handle, data, ctypes.c_size_t(len(data)), flags, place, room))
        if count < 0:
            raise ValueError(f"edgeq_tokenize: {count}")
        return count

    def decode_bytes(self, ids: list[int], flags: int = SKIP_SPECIAL) -> bytes:
        given = np.array(ids, dtype=np.int32)
        args = (self.handle, ctypes.c_void_p(given.ctypes.data), ctypes.c_size_t(given.size), flags)
        room = 64 + 16 * len(ids)
        out = ctypes.create_string_buffer(room)
        count = int(self.c.edgeq_detokenize(*args, out, ctypes.c_size_t(room)))
        if count > room:
            out = ctypes.create_string_buffer(count)
            self.c.edgeq_detokenize(*args, out, ctypes.c_size_t(count))
        return out.raw[:count]

    def decode(self, ids: list[int], flags: int = SKIP_SPECIAL) -> str:
        return self.decode_bytes(ids, flags).decode()


def aligned(blob: bytes) -> np.ndarray:
    """The blob at an address that is a multiple of 64."""
    room = np.zeros(len(blob) + 64, dtype=np.uint8)
    start = -room.ctypes.data % 64
    room[start : start + len(blob)] = np.frombuffer(blob, dtype=np.uint8)
    return room[start:]


def open_blob(c: ctypes.CDLL, memory: np.ndarray, size: int, handle: ctypes.c_void_p) -> int:
    return int(c.edgeq_tokenizer_open(ctypes.c_void_p(memory.ctypes.data), ctypes.c_size_t(size), ctypes.byref(handle)))


def native(c: ctypes.CDLL, tokenizer_json: str) -> NativeTokenizer:
    return NativeTokenizer(c, compile_tokenizer(tokenizer_json.encode()))
