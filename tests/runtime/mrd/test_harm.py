"""Half messages, kills, lying lengths, mutated streams: the server is bounded, and its next session is fine."""

import contextlib
import os
import random
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from scanside.runtime.errors import BackendError
from scanside.runtime.mrd import wire
from scanside.runtime.mrd.client import send
from scanside.runtime.mrd.header import new_header
from scanside.runtime.mrd.wire import make_image
from tests.runtime.mrd.scanning import Scan, serving

GROWTH = 256 << 20
"""Bytes that a server may grow by, whatever is asked of it."""


def raw(scan: Scan) -> bytes:
    parts = [wire.config_message("scanside"), *map(wire.image_message, scan.images)]
    return b"".join([*parts, wire.close_message()])


def attack(address: tuple[str, int], stream: bytes) -> None:
    """Send it, hang up, and read whatever comes."""
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=60) as connection:
        connection.sendall(stream)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass


def fine(address: tuple[str, int], scan: Scan) -> None:
    found = send(address, scan.images)
    np.testing.assert_array_equal(found.labels(scan.images), scan.expected)


def lying() -> dict[str, bytes]:
    image = wire.image_message(make_image(new_header(image_type=1), b"", np.ones((1, 1, 4, 4), np.uint16)))
    ten_gb = 10 << 30
    return {
        "attributes of 10 GB": image[:200] + struct.pack("<Q", ten_gb),
        "text of 4 GB": struct.pack("<HI", wire.TEXT, 0xFFFFFFFF) + b"x" * 1000,
        "configuration of 4 GB": struct.pack("<HI", wire.CONFIG_TEXT, 0xFFFFFFFF),
        "image of 140 GB": image[:18] + struct.pack("<3H", 4096, 4096, 4096) + image[24:],
        "raw data of 34 GB": struct.pack("<H", wire.ACQUISITION)
        + b"\0" * 34
        + struct.pack("<3H", 0xFFFF, 0xFFFF, 0xFFFF)
        + b"\0" * 300,
        "half an image": image[:-7],
        "half a header": image[:77],
        "nothing": b"",
        "no MRD": b"GET / HTTP/1.1\r\n\r\n",
    }


def mutated(stream: bytes, random_: random.Random) -> bytes:
    """A session with bytes changed, left out, doubled or cut off; headers are hit more often than voxels."""
    made = bytearray(stream)
    for _ in range(random_.randint(1, 6)):
        place = random_.randrange(min(len(made), 1400 if random_.random() < 0.7 else len(made)))
        how = random_.random()
        if how < 0.6:
            made[place] = random_.randrange(256)
        elif how < 0.8:
            del made[place : place + random_.randint(1, 64)]
        else:
            made[place:place] = made[place : place + random_.randint(1, 64)]
    return bytes(made[: random_.randrange(len(made))]) if random_.random() < 0.3 else bytes(made)


def small_session() -> bytes:
    images = [
        make_image(
            new_header(image_type=1, field_of_view=(8.0, 8.0, 2.0), position=(0.0, 0.0, 2.0 * z),
                       read_dir=(1.0, 0.0, 0.0),
                       phase_dir=(0.0, 1.0, 0.0), slice_dir=(0.0, 0.0, 1.0), slice=z, image_series_index=1),
            b"<ismrmrdMeta><meta><name>a</name><value>1</value></meta></ismrmrdMeta>",
            np.full((1, 1, 8, 8), 100 * z, np.uint16),
        )
        for z in range(4)
    ]  # fmt: skip
    parts = [wire.config_message("scanside"), wire.text_message('{"parameters": {"sendlabels": "False"}}')]
    return b"".join([*parts, *map(wire.image_message, images), wire.close_message()])


def hurt(count: int, bundle: Path, scan: Scan) -> None:
    with serving(bundle) as (process, address):
        fine(address, scan)
        before = psutil.Process(process.pid).memory_info().rss
        for stream in lying().values():
            attack(address, stream)
        random_, stream = random.Random(count), small_session()
        for _ in range(count):
            attack(address, mutated(stream, random_))
        fine(address, scan)
        assert process.poll() is None
        assert psutil.Process(process.pid).memory_info().rss < before + GROWTH
        assert psutil.Process(process.pid).children() == [], "no process is left after CLOSE"


def test_lying_and_mutated_streams_leave_the_server_and_its_memory_as_they_were(
    lopsided: Path,
    scans: dict[str, Scan],
) -> None:
    hurt(60, lopsided, scans["axial"])


@pytest.mark.slow
def test_2000_mutated_streams(lopsided: Path, scans: dict[str, Scan]) -> None:
    hurt(2000, lopsided, scans["axial"])


def test_a_scanner_that_is_killed_harms_nobody_and_a_server_that_is_killed_is_said(
    lopsided: Path,
    scans: dict[str, Scan],
) -> None:
    scan = scans["axial"]
    with serving(lopsided) as (process, address):
        for share in (0.1, 0.5, 1.0):
            sender = killed_sender(address, raw(scan), share)
            assert sender == -signal.SIGKILL
        fine(address, scan)
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(raw(scan)[:-2])
            os.kill(process.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                assert connection.recv(1) == b"", "nothing was acknowledged"
        with pytest.raises(BackendError, match="does not answer"):
            send(address, scan.images)


def killed_sender(address: tuple[str, int], stream: bytes, share: float) -> int:
    """A process that sends a part of a session and is killed while the connection stands; its exit code."""
    program = (
        "import socket, sys, time\n"
        f"s = socket.create_connection({address!r}); s.sendall(sys.stdin.buffer.read())\n"
        "print('sent', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(stream[: int(len(stream) * share)])
    child.stdin.close()
    assert child.stdout.readline()
    child.kill()
    return child.wait(20)
