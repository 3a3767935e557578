"""`scanside bench mrd`: how long a scanner waits: until the server listens, and from CLOSE to the last label.

The server is the command in a process of its own. Times are the client's, on this machine, so that no network is in
them. Labels of every session are compared with those of the first.
"""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from pydantic import Field

from scanside.benchmarks.conditions import noise
from scanside.benchmarks.distribution import Distribution, percentile
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.results import BundleId, Run
from scanside.benchmarks.tables import aligned
from scanside.runtime.arrays import LabelMask
from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import BackendError, CaseError
from scanside.runtime.mrd import wire
from scanside.runtime.mrd.series import slices_of
from scanside.runtime.mrd.wire import Image
from scanside.runtime.volume import Volume


class MrdReport(Run):
    """`scanside bench mrd`."""

    schema_: Literal["scanside.bench-mrd/1"] = Field("scanside.bench-mrd/1", alias="schema")
    bundle: BundleId
    role: str
    device: str
    shape: list[int]
    """z, y, x of the volume that is sent."""
    headline: bool
    """Whether the figures may be quoted; `remarks` says why not."""
    remarks: list[str]
    listening_ms: Distribution
    """From the start of the process until it listens."""
    first_ms: float
    """From the start of a process until its first session has its last label: networks and golden cases are in it."""
    close_to_last_label_ms: Distribution
    """Of later sessions, from the end of CLOSE."""
    p50_ms: float
    p95_ms: float | None
    """null below 20 sessions."""


def run_mrd(
    bundle: Bundle, role: str, device: str, volume: Volume, counts: tuple[int, int], facts: Mapping[str, Any]
) -> MrdReport:
    """Start a server some times, then send it the same volume many times.

    Args:
        counts: Starts, sessions.
        facts: Of `environment`.

    Raises:
        BackendError: If the server does not start.
        CaseError: If a session has other labels than the one before, or none.
    """
    starts, sessions = counts
    progress, images = Progress(starts + sessions), slices_of(volume)
    command = [str(bundle.path), "--role", role, "--device", device]
    listening: list[float] = []
    for _ in range(starts - 1):
        with _serving(command) as (_, ms):
            listening.append(ms)
        progress.step("started")
    taken: list[float] = []
    began = time.perf_counter()
    with _serving(command) as (address, ms):
        listening.append(ms)
        labels, _ = _session(address, images)
        first = (time.perf_counter() - began) * 1000
        for _ in range(sessions):
            again, ms = _session(address, images)
            if not np.array_equal(again, labels):
                raise CaseError(
                    "Two sessions with the same images have different labels; see the server's log."
                )
            taken.append(ms)
            progress.step("a session")
    found = Distribution.of(taken)
    remarks = [*facts["remarks"], *noise("a session", found, None)]
    return MrdReport.model_validate(
        {
            **{name: facts[name] for name in ("created", "command", "machine", "versions", "git")},
            "bundle": bundle.summary(),
            "role": role,
            "device": device,
            "shape": list(volume.geometry.shape),
            "headline": not remarks,
            "remarks": remarks,
            "listening_ms": Distribution.of(listening),
            "first_ms": round(first, 1),
            "close_to_last_label_ms": found,
            "p50_ms": found.median,
            "p95_ms": percentile(taken, 0.95),
        }
    )


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
        raise CaseError(
            f"A session brought {len(labels)} labels for {len(images)} images; see the server's log."
        )
    return np.stack([image.data[0, 0] for image in labels]), (last - began) * 1000


def mrd_table(report: MrdReport) -> str:
    """The figures as Markdown, with what stands against quoting them."""
    took, listening = report.close_to_last_label_ms, report.listening_ms
    p95 = "too few sessions" if report.p95_ms is None else _seconds(report.p95_ms)
    longest = f"{_seconds(listening.max)} (longest of {len(listening.samples)})"
    rows = [
        ["what", "p50", "p95"],
        ["from the start of the process until it listens", _seconds(listening.median), longest],
        ["from CLOSE to the last label", _seconds(report.p50_ms), p95],
    ]
    size = "×".join(str(one) for one in report.shape)
    lines = [
        f"{len(took.samples)} sessions of {size} voxels, {report.role} of {report.bundle.name} on {report.device}. "
        f"The first session of a process had its last label {_seconds(report.first_ms)} after the start, with the "
        "golden cases where this machine had not seen them pass before.",
        "",
        *aligned(rows),
    ]
    if report.remarks:
        lines += ["", "Not to be quoted:", "", *(f"- {remark}" for remark in report.remarks)]
    return "\n".join(lines) + "\n"


def _seconds(ms: float) -> str:
    return f"{ms / 1000:.2f} s"
