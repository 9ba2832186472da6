"""AArch64 kernels called as if they were here: a process under the emulator, shared memory, calls over a pipe."""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import struct
import subprocess
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from qemu import qemu

from edgeq.lower.toolchain import CFLAGS, RUNTIME, cc

Argument = int | np.ndarray | None
CALLED = (RUNTIME / "transcendental.c",)  # what kernels may call
_SERVER = Path(__file__).with_name("guest.c")
_ARGUMENTS = 32  # as in guest.c
_MEMORY = 1 << 28  # of address space; pages that nothing touches cost nothing
_GAP = 4096  # between regions, so that what a kernel may read past an array is no other array
_LONGEST_S = 300


def link_guest(objects: Iterable[Path], symbols: Sequence[str], output: Path) -> Path:
    """A static executable that serves calls of `symbols`, found by their index."""
    table = output.with_suffix(".table.c")
    declared = "".join(f"void {s}(void);\n" for s in symbols)
    table.write_text(f"{declared}void (*const kernels[])(void) = {{{', '.join(symbols)}}};\n")
    sources = [str(p) for p in (_SERVER, table, *objects, *CALLED)]
    cc("aarch64-linux-musl", [*CFLAGS, "-static", "-s", *sources, "-lm", "-o", str(output)], output.name)
    return output


class Guest:
    """Calls functions of an executable that `link_guest` made, on `cpu`; it starts at the first call."""

    def __init__(self, program: Path, symbols: Sequence[str], cpu: str):
        self.program, self.cpu = program, cpu
        self.index = {symbol: i for i, symbol in enumerate(symbols)}
        self._process: _Process | None = None

    def call(self, symbol: str, arguments: Sequence[Argument]) -> None:
        """Run it on copies of the arrays and write their memory back; arrays that share memory here share it there.

        With an array goes the whole allocation that it is a view of, so that what is written beside it is seen. Raises
        AssertionError that names function, CPU and signal when the process dies.
        """
        process = self._process = self._process or _Process([*qemu(self.cpu), str(self.program)])
        regions = _regions(arguments)
        process.fill(regions)
        words = [_word(a, regions, process.address) for a in arguments]
        try:
            process.run(self.index[symbol], words)
        except _DiedError as e:
            self._process = None
            raise AssertionError(f"{symbol} on {self.cpu}: {e}") from None
        process.fetch(regions)


class _Region:
    """Bytes start..stop of this process and their place in the shared memory."""

    def __init__(self, start: int, stop: int, writable: bool):
        self.start, self.stop, self.writable, self.offset = start, stop, writable, 0


def _regions(arguments: Sequence[Argument]) -> list[_Region]:
    """Disjoint memory of all arrays, each laid out at an offset that keeps its address modulo a page."""
    found: list[_Region] = []
    for region in sorted((_allocation(a) for a in arguments if isinstance(a, np.ndarray)), key=lambda r: r.start):
        if found and region.start < found[-1].stop:
            found[-1].stop = max(found[-1].stop, region.stop)
            found[-1].writable &= region.writable
        else:
            found.append(region)
    end = 0
    for region in found:
        region.offset = -(-end // _GAP) * _GAP + _GAP + region.start % _GAP
        end = region.offset + region.stop - region.start
    assert end + _GAP <= _MEMORY, f"{end} bytes of arguments"
    return found


def _allocation(array: np.ndarray) -> _Region:
    while isinstance(array.base, np.ndarray):
        array = array.base
    start, stop = np.lib.array_utils.byte_bounds(array)
    return _Region(start, stop, array.flags.writeable)


def _word(argument: Argument, regions: list[_Region], address: int) -> int:
    if not isinstance(argument, np.ndarray):
        return int(argument or 0) & 0xFFFFFFFFFFFFFFFF
    here = argument.ctypes.data
    region = next(r for r in regions if r.start <= here <= r.stop)
    return address + region.offset + here - region.start


class _DiedError(Exception):
    pass


class _Process:
    """The running executable and the memory shared with it."""

    def __init__(self, command: list[str]):
        fd = os.memfd_create("guest")
        os.ftruncate(fd, _MEMORY)
        self.memory = mmap.mmap(fd, _MEMORY)
        self.here = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([*command, str(fd), str(_MEMORY)], pass_fds=[fd], bufsize=0, **pipes)
        os.close(fd)
        weakref.finalize(self, _stop, self.process)
        self.address = struct.unpack("<Q", self._answer(8))[0]

    def fill(self, regions: Iterable[_Region]) -> None:
        for r in regions:
            ctypes.memmove(self.here + r.offset, r.start, r.stop - r.start)

    def fetch(self, regions: Iterable[_Region]) -> None:
        for r in regions:
            if r.writable:
                ctypes.memmove(r.start, self.here + r.offset, r.stop - r.start)

    def run(self, index: int, words: Sequence[int]) -> None:
        assert len(words) <= _ARGUMENTS and self.process.stdin
        padding = [0] * (_ARGUMENTS - len(words))
        self.process.stdin.write(struct.pack(f"<{_ARGUMENTS + 1}Q", index, *words, *padding))
        self._answer(1)

    def _answer(self, size: int) -> bytes:
        assert self.process.stdout
        if not select.select([self.process.stdout], [], [], _LONGEST_S)[0]:
            self.process.kill()
            raise _DiedError(f"no answer within {_LONGEST_S} s")
        answer = self.process.stdout.read(size)
        if len(answer) != size:
            raise _DiedError(self._death())
        return answer

    def _death(self) -> str:
        status = self.process.wait()
        assert self.process.stderr
        said = self.process.stderr.read().decode(errors="replace").strip()
        return f"{signal.Signals(-status).name if status < 0 else f'exit status {status}'} ({said})"


def _stop(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            pipe.close()
    process.kill()
    process.wait()
