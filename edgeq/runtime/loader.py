"""An artifact's model in this process: tokens or tensors in, logits or tensors out, over the C API of edgeq.h."""

from __future__ import annotations

import ctypes
import operator
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from edgeq.artifact.manifest import read
from edgeq.artifact.verify import verify_files
from edgeq.errors import EdgeqError, TargetError, UsageError
from edgeq.runtime import library as c
from edgeq.runtime.facts import Entry, Info, Profile
from edgeq.runtime.sampling import Sampling
from edgeq.runtime.tensors import Tensor, check_inputs, check_missing, from_c
from edgeq.targets import native_name

WEIGHTS_FILE = "weights.safetensors"
KINDS = ("token", "static")  # edgeq_kind
Tokens = Sequence[int] | np.ndarray


class Session:
    """One sequence over one model: its own arena and threads; weights are shared between sessions.

    Not for use by several threads at once; different sessions are independent. Views of memory die with `close`.
    """

    def __init__(
        self,
        folder: str | Path,
        threads: int = 0,
        variant: str | None = None,
        *,
        adapt: bool = True,
        verify: bool = True,
    ) -> None:
        """Open the artifact in `folder`.

        Args:
            folder: holds model.so and weights.safetensors.
            threads: 0 is one for each usable core.
            variant: instruction-set variant to force; None is the best that this CPU runs.
            adapt: use fewer threads whenever that was faster lately.
            verify: check edgeq.json and every file's hash before any of its code runs.

        Raises:
            ArtifactError: damaged, incomplete, or of a newer schema.
            TargetError: for another machine, or the forced variant needs what this CPU lacks.
            UsageError: an unknown variant or a bad number of threads.
        """
        self._handle = ctypes.c_void_p()
        self._tokens: list[int] = []
        self._one = (ctypes.c_int32 * 1)()
        self._written: set[tuple[str, int]] = set()  # keys of tensors that hold something
        if verify:
            check_artifact(Path(folder))
        self._c = c.Library(Path(folder) / "model.so")
        flags = (0 if verify else c.SKIP_HASH) | (0 if adapt else c.FIXED_THREADS)
        options = c.COptions(threads, flags, variant.encode() if variant else None)
        status = self._c.open(str(folder).encode(), options, self._handle)
        try:
            self._check(status)
        except EdgeqError:
            self.close()
            raise
        self.entries: tuple[Entry, ...] = tuple(self._entry(i) for i in range(self.info.entries))
        self._vocab, self._context, self._chunk = self.info.vocab, self.info.context, self.info.chunk

    def close(self) -> None:
        """End the threads and free the memory; harmless when done twice."""
        self._c.close(self._handle)
        self._handle = ctypes.c_void_p()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()

    def _check(self, status: int) -> None:
        if not self._handle:
            raise UsageError("the session is closed")
        self._c.check(status, self._handle)

    def _entry(self, index: int) -> Entry:
        facts = c.CEntryFacts()
        self._check(self._c.entry_info(self._handle, index, facts))
        inputs = tuple(self._tensor(index, c.INPUT, i) for i in range(facts.inputs))
        outputs = tuple(self._tensor(index, c.OUTPUT, i) for i in range(facts.outputs))
        return Entry(facts.name.decode(), KINDS[facts.kind], facts.max_rows, facts.regions, inputs, outputs)

    def _tensor(self, entry: int, side: int, index: int) -> Tensor:
        tensor = c.CTensor()
        self._check(self._c.tensor_info(self._handle, entry, side, index, tensor))
        return from_c(tensor)

    def _entry_index(self, name: str) -> int:
        names = [entry.name for entry in self.entries]
        if name not in names:
            raise UsageError(f"no entry {name!r}; this model has {', '.join(names)}")
        return names.index(name)

    @property
    def info(self) -> Info:
        """Sizes, variant, threads."""
        facts = c.CFacts()
        self._check(self._c.info(self._handle, facts))
        values: dict[str, Any] = {name: getattr(facts, name) for name, *_ in facts._fields_}
        values |= {"model": facts.model.decode(), "variant": facts.variant.decode()}
        return Info(**values)

    @property
    def position(self) -> int:
        """Number of tokens fed."""
        return int(self._c.position(self._handle))

    @property
    def tokens(self) -> tuple[int, ...]:
        """The tokens fed."""
        return tuple(self._tokens[: max(self.position, 0)])

    def rewindable(self, position: int) -> int:
        """`position` where `rewind` takes it, else 0, to feed again from (kv4 and kv2 keep few tokens in float)."""
        return int(self._c.rewindable(self._handle, position))

    def rewind(self, position: int = 0) -> None:
        """Forget the tokens from `position` on.

        Raises:
            UsageError: beyond what was fed, or older than what a kv4 or kv2 cache can continue (`rewindable`).
        """
        self._check(self._c.rewind(self._handle, position))

    def set_threads(self, threads: int, *, adapt: bool = True) -> None:
        """Change the number of threads (0: one for each usable core)."""
        self._check(self._c.set_threads(self._handle, threads, 0 if adapt else c.FIXED_THREADS))

    def feed(self, tokens: Tokens) -> None:
        """Append tokens, all or none.

        Raises:
            ContextError: they do not fit into the context.
            UsageError: no token, or one outside the vocabulary.
        """
        if len(tokens) == 1:
            self._feed_one(tokens[0])
            return
        ids = _int32(tokens)
        valid = 0 < len(ids) <= self._context - self.position and ids.min() >= 0 and ids.max() < self._vocab
        step = self._chunk if valid else len(ids)  # a chunk a call, so that Ctrl-C is heard; C explains what is invalid
        for start in range(0, max(len(ids), 1), max(step, 1)):
            piece = ids[start : start + step]
            self._tokens[self.position :] = piece.tolist()  # before the call: Ctrl-C may come right after it
            self._check(self._c.feed(self._handle, _pointer(piece), len(piece)))

    def _feed_one(self, token: Any) -> None:
        """Without numpy: its code, evicted by the weights of every token, would cost a tenth of a millisecond each."""
        try:
            token = operator.index(token)
        except TypeError:
            raise UsageError(f"tokens are one list of integers, not {token!r}") from None
        self._one[0] = token if 0 <= token < self._vocab else -1
        self._tokens[self.position :] = (token,)
        self._check(self._c.feed(self._handle, self._one, 1))

    def last_logits(self) -> np.ndarray:
        """Logits of the last fed token, f32[vocab], a copy; raises UsageError when there are none (after a rewind)."""
        pointer = self._c.logits(self._handle)
        if not pointer:
            raise UsageError("no logits: feed a token first")
        return np.ctypeslib.as_array(pointer, (self._vocab,)).copy()

    def rows(self, tokens: Tokens) -> Iterator[np.ndarray]:
        """Feed tokens one at a time through `decode`; f32[vocab] after each. Raises as `feed`."""
        for token in _int32(tokens):
            self.feed([int(token)])
            yield self.last_logits()

    def logits(self, tokens: Tokens) -> np.ndarray:
        """Logits after each of T tokens (teacher forcing), f32[T, vocab]. Raises as `feed`."""
        return np.stack(list(self.rows(tokens)))

    def sample(self, sampling: Sampling | None = None) -> int:
        """Draw the next token without feeding it; greedy by default. Raises UsageError when there are no logits."""
        s = sampling or Sampling()
        token = ctypes.c_int32()
        options = c.CSampling(s.temperature, s.top_p, s.top_k, s.seed)
        self._check(self._c.sample(self._handle, options, token))
        return token.value

    def run(self, name: str, /, *, copy: bool = True, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Run a static entry: copy `inputs` in, walk it, and return its outputs by name.

        An input that is not given keeps its value: from an earlier run, or from the entry that computed it.

        Args:
            name: of the entry.
            copy: False returns views of the session's memory: valid until another entry runs, a shared tensor until
                it is written again, all until the session is closed.
            inputs: arrays of exactly the entry's types and shapes.

        Raises:
            UsageError: no such static entry, an unknown or missing input, a wrong type or shape, a value outside its
                limit; then nothing has run.
        """
        index = self._entry_index(name)
        entry = self.entries[index]
        if entry.kind != "static":
            raise UsageError(f"{name} takes tokens, not arrays: use Session.feed, or edgeq run ARTIFACT --prompt")
        self._check(0)
        check_inputs(name, entry.inputs, inputs)
        check_missing(entry, self.entries, inputs, self._written)
        for tensor in entry.inputs:
            if tensor.name in inputs:
                np.copyto(tensor.view(), inputs[tensor.name])
                self._written.add(tensor.key)
        self._check(self._c.run(self._handle, index))
        self._written.update(tensor.key for tensor in entry.outputs)
        return {tensor.name: tensor.view().copy() if copy else tensor.view() for tensor in entry.outputs}

    def profile_start(self) -> None:
        """Forget all times and count from now on."""
        self._check(self._c.profile(self._handle, 1))

    def profile_stop(self) -> None:
        """Stop counting; times stay readable."""
        self._check(self._c.profile(self._handle, 0))

    def profile(self, entry: str) -> Profile:
        """Times of an entry's regions since `profile_start`."""
        index = self._entry_index(entry)
        times = np.zeros((self.entries[index].regions, 2), np.uint64)
        walks, rows = ctypes.c_uint64(), ctypes.c_uint64()
        pointer = times.ctypes.data_as(ctypes.POINTER(ctypes.c_uint64))
        self._check(self._c.profile_read(self._handle, index, pointer, walks, rows))
        return Profile(walks.value, rows.value, times[:, 0].copy(), times[:, 1].copy())

    def run_region(self, entry: str, region: int, tokens: Tokens = (), position: int = 0, threads: int = 1) -> None:
        """Run one region as `threads` threads would, one after another; `position` of the session does not change.

        A static entry takes no tokens and no position.
        """
        ids = _int32(tokens)
        index = self._entry_index(entry)
        rows = len(ids) or int(self.entries[index].kind == "static")
        status = self._c.run_region(self._handle, index, region, _pointer(ids), rows, position, threads)
        self._check(status)

    def weights(self) -> np.ndarray:
        """The tensors of the weights file as the plan addresses them, u8, read-only view."""
        view = self._memory(c.WEIGHTS)
        view.flags.writeable = False
        return view

    def arena(self) -> np.ndarray:
        """Activations and caches as the plan addresses them, u8, writable view."""
        return self._memory(c.ARENA)

    def private(self) -> np.ndarray:
        """Scratch memory, u8[64 threads, private_bytes], writable view."""
        return self._memory(c.PRIVATE).reshape(-1, max(self.info.private_bytes, 1))

    def _memory(self, kind: int) -> np.ndarray:
        size = ctypes.c_uint64()
        address = self._c.memory(self._handle, kind, size)
        if not address:
            self._check(0)
            return np.empty(0, np.uint8)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size.value).from_address(address))


def check_target(folder: Path, target: str) -> None:
    """Raise TargetError for an artifact of a `target` that this machine is not."""
    if target != (here := native_name()):
        raise TargetError(
            f"{folder} was compiled for {target}, this is {here}: "
            "compile with --target native, or reach a device that it runs on (edgeq profile --device, edgeq package)"
        )


def check_artifact(folder: Path) -> None:
    """Check the manifest, the machine and the files; the C runtime hashes the weights itself when it maps them.

    Raises:
        ArtifactError: damaged, incomplete, or of a newer schema.
        TargetError: built for another kind of machine.
    """
    manifest = read(folder)
    check_target(folder, manifest.target)
    verify_files(folder, manifest, skip_hash={WEIGHTS_FILE})


def _int32(tokens: Tokens) -> np.ndarray:
    ids = np.asarray(tokens)
    if ids.size and (ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer)):
        raise UsageError(f"tokens are one list of integers, not {ids.dtype} of shape {ids.shape}")
    return np.ascontiguousarray(ids.clip(-1, 2**31 - 1), np.int32)


def _pointer(ids: np.ndarray) -> Any:
    return ids.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))
