"""An Android device as adb's server sees one over TCP: packets, the shell protocol 2 and the file service.

After packages/modules/adb (protocol.txt, SYNC.TXT, shell_protocol.h). "The device" is this machine: its shell is `sh`,
its paths are ours. When the transport goes away, it does what adbd does: it closes the pipes of what runs, and unlinks
a file that arrived in part.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import stat
import struct
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

CNXN, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
VERSION, MOST = 0x01000001, 1 << 18
BANNER = b"device::ro.product.name=edgeq;ro.product.model=Loopback;ro.product.device=edgeq;features=shell_v2,cmd"
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
CHUNK = 64 * 1024
DONE = object()


class Adbd:
    """Listens on `port`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=Transport(connection).serve, daemon=True).start()


class Stream:
    """One service of a transport: what the host wrote comes out of `read`; `write` waits for the host's OKAY."""

    def __init__(self, transport: Transport, here: int, there: int) -> None:
        self._transport, self.here, self._there = transport, here, there
        self.arrived: queue.Queue[bytes | object] = queue.Queue()
        self.ready = threading.Semaphore(0)
        self.gone = False
        self._rest = b""

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes; EOFError when the host is gone."""
        while len(self._rest) < count:
            block = self.arrived.get()
            if not isinstance(block, bytes):
                self.arrived.put(DONE)
                raise EOFError
            self._rest += block
        block, self._rest = self._rest[:count], self._rest[count:]
        return block

    def write(self, data: bytes) -> None:
        for at in range(0, len(data), CHUNK):
            if self.gone:
                raise EOFError
            self._transport.send(WRTE, self.here, self._there, data[at : at + CHUNK])
            self.ready.acquire()

    def end(self) -> None:
        """The host has closed it, or is gone."""
        self.gone = True
        self.arrived.put(DONE)
        self.ready.release()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._transport.send(CLSE, self.here, self._there, b"")


class Transport:
    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._lock = connection, threading.Lock()
        self._streams: dict[int, Stream] = {}

    def send(self, command: int, first: int, second: int, data: bytes) -> None:
        header = struct.pack("<6I", command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        with self._lock:
            self._connection.sendall(header + data)

    def serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                command, first, second, length, _, _ = struct.unpack("<6I", self._exactly(24))
                self._take(command, first, second, self._exactly(length))
        for stream in list(self._streams.values()):
            stream.end()
        self._connection.close()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            block = self._connection.recv(count - len(data))
            if not block:
                raise EOFError
            data += block
        return data

    def _take(self, command: int, first: int, second: int, data: bytes) -> None:
        if command == CNXN:
            self.send(CNXN, VERSION, MOST, BANNER)
        elif command == OPEN:
            self._open(first, data.rstrip(b"\0").decode())
        elif stream := self._streams.get(second):
            if command == WRTE:
                stream.arrived.put(data)
                self.send(OKAY, second, first, b"")
            elif command == OKAY:
                stream.ready.release()
            elif command == CLSE:
                stream.end()
                del self._streams[second]

    def _open(self, there: int, service: str) -> None:
        run = _service(service)
        if run is None:
            self.send(CLSE, 0, there, b"")
            return
        stream = self._streams[len(self._streams) + 1000 * there] = Stream(
            self, len(self._streams) + 1000 * there, there
        )
        self.send(OKAY, stream.here, there, b"")
        threading.Thread(target=self._run, args=(run, stream), daemon=True).start()

    @staticmethod
    def _run(run: Callable[[Stream], None], stream: Stream) -> None:
        with contextlib.suppress(EOFError, OSError):
            run(stream)
        stream.close()


def _service(service: str) -> Callable[[Stream], None] | None:
    kind, _, rest = service.partition(":")
    if kind == "sync":
        return serve_files
    if kind.split(",")[:2] == ["shell", "v2"]:
        return lambda stream: serve_shell(stream, rest)
    return None


def serve_shell(stream: Stream, command: str) -> None:
    pipe = subprocess.PIPE
    process = subprocess.Popen(["sh", "-c", command], stdin=pipe, stdout=pipe, stderr=pipe)
    threading.Thread(target=_feed, args=(stream, process), daemon=True).start()
    lock = threading.Lock()
    pumps = [
        threading.Thread(target=_pump, args=(stream, lock, kind, source), daemon=True)
        for kind, source in ((STDOUT, process.stdout), (STDERR, process.stderr))
    ]
    for pump in pumps:
        pump.start()
    for pump in pumps:
        pump.join()
    with lock:
        stream.write(struct.pack("<BI", EXIT, 1) + bytes([process.wait() & 0xFF]))


def _feed(stream: Stream, process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            kind, length = struct.unpack("<BI", stream.read(5))
            data = stream.read(length)
            if kind == CLOSE_STDIN:
                break
            if kind == STDIN:
                process.stdin.write(data)
                process.stdin.flush()
    with contextlib.suppress(OSError):
        process.stdin.close()


def _pump(stream: Stream, lock: threading.Lock, kind: int, source) -> None:
    with contextlib.suppress(EOFError, OSError):
        while block := os.read(source.fileno(), CHUNK - 5):
            with lock:
                stream.write(struct.pack("<BI", kind, len(block)) + block)


def serve_files(stream: Stream) -> None:
    while True:
        name, length = struct.unpack("<4sI", stream.read(8))
        path = stream.read(length).decode()
        if name == b"QUIT":
            return
        {b"STAT": _stat, b"SEND": _receive, b"RECV": _give}[name](stream, path)


def _stat(stream: Stream, path: str) -> None:
    try:
        found = os.lstat(path)
        values = found.st_mode, found.st_size, int(found.st_mtime)
    except OSError:
        values = 0, 0, 0
    stream.write(b"STAT" + struct.pack("<3I", *values))


def _receive(stream: Stream, target: str) -> None:
    path, _, mode = target.rpartition(",")
    try:
        with open(path, "wb") as file:
            while True:
                name, length = struct.unpack("<4sI", stream.read(8))
                if name == b"DONE":
                    break
                file.write(stream.read(length))
        os.chmod(path, stat.S_IMODE(int(mode)))
    except EOFError:
        Path(path).unlink(missing_ok=True)
        raise
    except OSError as error:
        _fail(stream, error)
        return
    stream.write(b"OKAY" + struct.pack("<I", 0))


def _give(stream: Stream, path: str) -> None:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        _fail(stream, error)
        return
    for at in range(0, len(data), CHUNK):
        block = data[at : at + CHUNK]
        stream.write(b"DATA" + struct.pack("<I", len(block)) + block)
    stream.write(b"DONE" + struct.pack("<I", 0))


def _fail(stream: Stream, error: OSError) -> None:
    said = str(error).encode()
    stream.write(b"FAIL" + struct.pack("<I", len(said)) + said)
