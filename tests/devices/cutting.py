"""A TCP proxy that a test cuts like a cable: at once, or after so many bytes from the client."""

from __future__ import annotations

import contextlib
import socket
import threading

BLOCK = 1 << 16


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Proxy:
    """Listens on `port`, forwards to `target` on this machine; `cut` drops every connection and takes no more."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._left: float = float("inf")
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.forwarded = 0
        self.is_cut = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int) -> None:
        """Cut when the client has sent `count` more bytes."""
        with self._lock:
            self._left = count

    def cut(self) -> None:
        self.is_cut.set()
        for connection in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                threading.Thread(target=self._forward, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._forward, args=(server, client, False), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(BLOCK):
                if counted and self._spend(len(block)):
                    self.cut()
                    return
                sink.sendall(block)
        for end in (source, sink):  # one side left: tell the other
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _spend(self, count: int) -> bool:
        with self._lock:
            self._left -= count
            self.forwarded += count
            return self._left < 0
