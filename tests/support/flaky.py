"""A TCP proxy in front of a real peer, which may refuse, hang or cut connections, as networks and PACS do."""

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum

_CHUNK = 65536


class Mood(Enum):
    PASS = "pass"
    REFUSE = "refuse"
    """Connections are closed as soon as they are made."""
    HANG = "hang"
    """Connections are made, and nothing is ever said."""
    CUT = "cut"
    """Connections are cut after some bytes."""


class FlakyProxy:
    """Listens on `port`; `mood` may be changed at any time and counts for new and old connections."""

    def __init__(self, target: tuple[str, int], seed: int = 0) -> None:
        self.mood = Mood.PASS
        self._target, self._random = target, random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._stop = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            if self.mood is Mood.REFUSE:
                return
            while self.mood is Mood.HANG and not self._stop.is_set():
                self._stop.wait(0.05)  # a client that gives up is noticed when the mood changes
            with suppress(OSError), socket.create_connection(self._target, timeout=5) as server:
                ways = [(client, server), (server, client)]
                threads = [threading.Thread(target=self._pump, args=way, daemon=True) for way in ways]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        left = self._random.randint(500, 200_000)
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                while self.mood is Mood.HANG and not self._stop.is_set():
                    self._stop.wait(0.05)
                left -= len(data)
                if self.mood is Mood.REFUSE or (self.mood is Mood.CUT and left < 0):
                    break
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._stop.set()
        self._listener.close()


@contextmanager
def flaky_proxy(target: tuple[str, int], seed: int = 0) -> Iterator[FlakyProxy]:
    proxy = FlakyProxy(target, seed)
    try:
        yield proxy
    finally:
        proxy.close()
