"""`python benchmarks/scripts/mrd.py BUNDLE IMAGE OUT.json`: how long a scanner waits for its labels by MRD.

The server is the command in a process of its own. Times are the client's, on this machine, so that no network is in
them: until it listens, and from CLOSE to the last label. Labels of all sessions must be the same.
"""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from scanside.benchmarks.conditions import noise
from scanside.benchmarks.distribution import Distribution, percentile
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.script import facts, save, script, table
from scanside.runtime.arrays import LabelMask
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import BackendError, CaseError
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.load import load_case
from scanside.runtime.mrd import wire
from scanside.runtime.mrd.series import slices_of
from scanside.runtime.mrd.wire import Image


def main(
    bundle: Path, image: Path, out: Path, role: str | None = None, device: str = "openvino",
    sessions: int = 40, starts: int = 6, overwrite: bool = False,
) -> None:  # fmt: skip
    """Start a server some times, then send it the same volume many times; 20 sessions for a p95."""
    document = facts("bench-mrd/1", out, overwrite)
    opened, volume = open_bundle(bundle), load_case(CaseInput(image.name, (image,)), 1).volume
    role, images, progress = opened.role(role), slices_of(volume), Progress(starts + sessions)
    command, listening = [str(opened.path), "--role", role, "--device", device], list[float]()
    for _ in range(starts - 1):
        with _serving(command) as (_, ms):
            listening.append(ms)
        progress.step("started")
    began = time.perf_counter()
    with _serving(command) as (address, ms):
        listening.append(ms)
        labels, _ = _session(address, images)
        first, taken = 1000 * (time.perf_counter() - began), list[float]()
        for _ in range(sessions):
            again, ms = _session(address, images)
            if not np.array_equal(again, labels):
                raise CaseError(
                    "Two sessions of the same images have different labels; see the server's log."
                )
            taken.append(ms)
            progress.step("a session")
    found, starting = Distribution.of(taken), Distribution.of(listening)
    remarks = [*document["remarks"], *noise("a session", found, None)]
    p95 = percentile(taken, 0.95)
    document |= {
        "remarks": remarks, "headline": not remarks, "bundle": opened.summary(), "role": role, "device": device,
        "shape": list(volume.geometry.shape), "listening_ms": starting, "first_ms": round(first, 1),
        "close_to_last_label_ms": found, "p50_ms": found.median, "p95_ms": p95,
    }  # fmt: skip
    size = "×".join(map(str, volume.geometry.shape))
    rows = [
        ("from the start of the process until it listens", _s(starting.median), f"{_s(starting.max)} (longest)"),
        ("from CLOSE to the last label", _s(found.median), "too few sessions" if p95 is None else _s(p95)),
    ]  # fmt: skip
    words = [
        f"{sessions} sessions of {size} voxels, {role} of {opened.manifest.name} on {device}. The first session of a "
        f"process had its last label {_s(first)} after the start, with golden cases not yet seen to pass here.",
        *table(("what", "p50", "p95"), rows),
        *(f"- Not to be quoted: {remark}" for remark in remarks),
    ]
    save(document, out, words)


@contextmanager
def _serving(arguments: Sequence[str]) -> Iterator[tuple[tuple[str, int], float]]:
    """The command; its address, and how long it took to listen, ms."""
    program = [sys.executable, "-m", "scanside.runtime.cli.main", "mrd", "serve", *arguments, "--port", "0"]
    began = time.perf_counter()
    process = subprocess.Popen(program, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = next((line for line in process.stderr if line.startswith("Listening")), None)
        ms = (time.perf_counter() - began) * 1000
        if line is None:
            raise BackendError("The MRD server ended before it listened; run scanside mrd serve to see why.")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield ("127.0.0.1", int(line.split()[2].rstrip(".").rsplit(":", 1)[1])), ms
    finally:
        process.terminate()
        process.wait(60)


def _session(address: tuple[str, int], images: Sequence[Image]) -> tuple[LabelMask, float]:
    """Send the images; labels in z order, and ms from CLOSE to the last of them."""
    found: list[Image] = []
    with socket.create_connection(address, timeout=600) as connection:
        connection.sendall(wire.config_message("scanside"))
        for image in images:
            connection.sendall(wire.image_message(image))
        connection.sendall(wire.close_message())
        began = last = time.perf_counter()
        while (message := wire.receive(connection.recv)) is not None:
            if isinstance(message, Image):
                found.append(message)
                last = time.perf_counter()
    labels = found[len(images) :]
    if len(labels) != len(images):
        raise CaseError(f"A session brought {len(labels)} labels for {len(images)} images; see its log.")
    return np.stack([image.data[0, 0] for image in labels]), (last - began) * 1000


def _s(ms: float) -> str:
    return f"{ms / 1000:.2f} s"


if __name__ == "__main__":
    script(main)
