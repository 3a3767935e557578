"""dcmtk's storescp as a receiver with a folder."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scanside.runtime.appliance.config import Tls
from tests.support.peers import free_port, listens, need


@dataclass(frozen=True)
class Receiver:
    """A running storescp. Its AE title is STORESCP; it answers to every title."""

    port: int
    folder: Path

    def received(self) -> list[Path]:
        return sorted(self.folder.iterdir())


@contextmanager
def storescp(folder: Path, *options: str, tls: Tls | None = None) -> Iterator[Receiver]:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    if tls is not None:
        options += ("+tls", str(tls.key), str(tls.certificate), "+cf", str(tls.authority))
    command = [need("storescp"), "-od", str(folder), "+uf", *options, str(port)]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while not listens(port):
            assert process.poll() is None and time.monotonic() < deadline, "storescp does not start"
            time.sleep(0.02)
        yield Receiver(port, folder)
    finally:
        process.terminate()
        process.wait(10)
