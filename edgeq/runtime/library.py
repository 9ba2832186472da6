"""`model.so` in this process: its C functions (`edgeq.h`) typed for ctypes, and errors raised from their status."""

from __future__ import annotations

import ctypes
import itertools
import os
import tempfile
from ctypes import POINTER, c_char_p, c_float, c_int, c_int32, c_uint32, c_uint64, c_void_p
from pathlib import Path

from edgeq.errors import ArtifactError, ContextError, EdgeqError, TargetError, UsageError

API_VERSION = 2
SKIP_HASH = 1
FIXED_THREADS = 2
WEIGHTS, ARENA, PRIVATE = 0, 1, 2
INPUT, OUTPUT = 0, 1
MAX_RANK = 6
ERRORS: dict[int, type[EdgeqError]] = {2: UsageError, 6: ArtifactError, 7: TargetError, 8: ContextError}


class COptions(ctypes.Structure):
    """`edgeq_options`."""

    _fields_ = (("threads", c_int32), ("flags", c_uint32), ("variant", c_char_p))


class CFacts(ctypes.Structure):
    """`edgeq_facts`."""

    _fields_ = (
        ("model", c_char_p),
        ("variant", c_char_p),
        *((name, c_int32) for name in ("vocab", "context", "chunk", "threads", "last_threads", "entries")),
        *((name, c_uint64) for name in ("weights_bytes", "arena_bytes", "private_bytes")),
    )


class CEntryFacts(ctypes.Structure):
    """`edgeq_entry_facts`."""

    _fields_ = (
        ("name", c_char_p),
        *((name, c_int32) for name in ("kind", "max_rows", "regions", "inputs", "outputs")),
    )


class CTensor(ctypes.Structure):
    """`edgeq_tensor`."""

    _fields_ = (
        ("name", c_char_p),
        ("dtype", c_int32),
        ("rank", c_int32),
        ("shape", c_int32 * MAX_RANK),
        ("row_stride", c_int32),
        ("limit", c_int32),
        ("data", c_void_p),
    )


class CSampling(ctypes.Structure):
    """`edgeq_sampling`."""

    _fields_ = (("temperature", c_float), ("top_p", c_float), ("top_k", c_int32), ("seed", c_uint64))


_IDS = POINTER(c_int32)
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "version": (c_uint32, ()),
    "open": (c_int, (c_char_p, POINTER(COptions), POINTER(c_void_p))),
    "close": (None, (c_void_p,)),
    "error": (c_char_p, (c_void_p,)),
    "info": (c_int, (c_void_p, POINTER(CFacts))),
    "entry_info": (c_int, (c_void_p, c_int32, POINTER(CEntryFacts))),
    "find_entry": (c_int, (c_void_p, c_char_p, POINTER(c_int32))),
    "tensor_info": (c_int, (c_void_p, c_int32, c_int, c_int32, POINTER(CTensor))),
    "run": (c_int, (c_void_p, c_int32)),
    "feed": (c_int, (c_void_p, _IDS, c_int32)),
    "logits": (POINTER(c_float), (c_void_p,)),
    "sample": (c_int, (c_void_p, POINTER(CSampling), _IDS)),
    "position": (c_int32, (c_void_p,)),
    "rewind": (c_int, (c_void_p, c_int32)),
    "rewindable": (c_int32, (c_void_p, c_int32)),
    "set_threads": (c_int, (c_void_p, c_int32, c_uint32)),
    "profile": (c_int, (c_void_p, c_int)),
    "profile_read": (c_int, (c_void_p, c_int32, POINTER(c_uint64), POINTER(c_uint64), POINTER(c_uint64))),
    "run_region": (c_int, (c_void_p, c_int32, c_int32, _IDS, c_int32, c_int32, c_int32)),
    "memory": (c_void_p, (c_void_p, c_int, POINTER(c_uint64))),
}

_loaded: dict[str, tuple[int, int, int]] = {}  # path -> device, inode, change time of the file behind it
_numbers = itertools.count()


class Library:
    """A loaded `model.so`; `library.feed(...)` is the C function `edgeq_feed`.

    Raises:
        ArtifactError: it is missing, no edgeq model, or of another API version.
        TargetError: it was built for another kind of machine.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ArtifactError(f"{path}: no such file; the artifact is incomplete: compile or copy it again")
        try:
            self._dll = _load(path.resolve())
        except OSError as error:
            raise TargetError(f"{path}: this machine cannot load it ({error}); compile with --target native") from None
        try:
            self._bind("version")
            if (version := self.version()) != API_VERSION:
                raise ArtifactError(f"{path}: C API {version}, edgeq speaks {API_VERSION}: compile the model again")
            for name in _SIGNATURES:
                self._bind(name)
        except AttributeError as error:
            raise ArtifactError(f"{path}: not a model of edgeq ({error})") from None

    def _bind(self, name: str) -> None:
        function = getattr(self._dll, f"edgeq_{name}")
        function.restype, function.argtypes = _SIGNATURES[name]
        setattr(self, name, function)

    def __getattr__(self, name: str) -> ctypes._NamedFuncPointer:
        raise AttributeError(name)

    def check(self, status: int, context: c_void_p) -> None:
        """Raise the typed error that `status` means, with the context's text; 0 is success."""
        if status:
            text = self.error(context).decode() or "an argument that means nothing"
            raise ERRORS.get(status, EdgeqError)(text)


def _load(path: Path) -> ctypes.CDLL:
    """dlopen by a name of its own when the file at `path` has changed since this process loaded it.

    The system's loader compares names: it would hand out the old code for a model that was compiled again.
    """
    stat = path.stat()
    identity = (stat.st_dev, stat.st_ino, stat.st_ctime_ns)
    if _loaded.setdefault(str(path), identity) == identity:
        return ctypes.CDLL(str(path), mode=os.RTLD_NOW | os.RTLD_LOCAL)
    with tempfile.TemporaryDirectory(prefix="edgeq-") as folder:
        link = Path(folder) / f"model-{next(_numbers)}.so"
        link.symlink_to(path)
        return ctypes.CDLL(str(link), mode=os.RTLD_NOW | os.RTLD_LOCAL)
