"""Starts the demonstration's service, archive and patients as children, and ends and removes all of it."""

import contextlib
import ctypes
import importlib.util
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.watch.heartbeat import alive
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import UsageError
from scanside.tui.demo.peer import AE_TITLE

PATIENTS = 8
SEED = 5
"""Of the synthetic cohort."""
_MAKING_SECONDS = 10.0
"""How long the first patient is made, about."""
_STOP_SECONDS = 15.0
_PR_SET_PDEATHSIG = 1


class Demo:
    """The demonstration in its folder."""

    def __init__(self, folder: Path, bundle: Path) -> None:
        self.folder = folder
        self.config = folder / "scanside.toml"
        self._children: list[subprocess.Popen[bytes]] = []
        self._service: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._archive_port = free_port()
        self._began = time.monotonic()
        self._sent = 0
        self.config.write_text(_configuration(folder, bundle, self._archive_port), encoding="utf-8")

    def start(self) -> None:
        """Start the patients, the service and the archive.

        To be called on the main thread: children end with the thread that started them (PR_SET_PDEATHSIG).
        """
        cohort = self.folder / "patients"
        making = self._run(
            "phantom.log", "scanside.runtime.cli.main", "phantom", str(cohort), "--patients", str(PATIENTS),
            "--train", "0", "--seed", str(SEED), "--dicom", "--jobs", "1",
        )  # fmt: skip
        self._service = self._run("serve.log", "scanside.runtime.cli.main", "serve", "-c", str(self.config))
        self._run("archive.log", "scanside.tui.demo.peer", str(self._archive_port))
        arguments = (cohort, making)
        threading.Thread(target=self._send_patients, args=arguments, name="patients", daemon=True).start()

    def wait_until_ready(self, config: Config, seconds: float = 60.0) -> None:
        """The terminal opens when the service lives: nobody should see an alarm first.

        Raises:
            UsageError: If the service does not begin.
        """
        for _ in range(round(seconds / 0.1)):
            if config.database.exists() and all(alive(config, name) is not None for name in NAMES):
                return
            if self._service is None or self._service.poll() is not None:
                break
            self._stop.wait(0.1)
        log = (self.folder / "serve.log").read_text(errors="replace").strip().splitlines()
        raise UsageError(
            f"The demonstration's service did not begin: {log[-1] if log else 'it said nothing'}."
        )

    def coming(self) -> str:
        """What is on its way while the list is still empty."""
        if self._sent:
            return "The first synthetic patient is being sent."
        left = _MAKING_SECONDS - (time.monotonic() - self._began)
        when = f"about {left:.0f} s left" if left > 1 else "any moment now"
        return f"The first synthetic patient is being made: {when}."

    def stop_service(self) -> None:
        """End the service, as a machine does that is switched off; the rest goes on."""
        if self._service is not None:
            self._service.terminate()
            self._service.wait(4 * _STOP_SECONDS)  # it ends its processes first

    def stop(self) -> None:
        """End every child and wait for it."""
        self._stop.set()
        with self._lock:
            children, self._children = self._children, []
        for child in children:
            child.terminate()
        for child in children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_STOP_SECONDS)
            if child.poll() is None:
                child.kill()
                child.wait()

    def _send_patients(self, cohort: Path, making: "subprocess.Popen[bytes] | None") -> None:
        """Send each patient as soon as its images are complete, while the next one is being made."""
        for number in range(1, PATIENTS + 1):
            images = cohort / f"phantom-{number:04}"
            while not complete(images):
                ended = making is None or making.poll() is not None
                if self._stop.wait(0.1) or (ended and not complete(images)):
                    return
            self._sent = number
            sent = self._run(
                "send.log", "scanside.runtime.cli.main", "send", "-c", str(self.config),
                "--calling", "DEMO-MR", str(images),
            )  # fmt: skip
            if sent is None or sent.wait() != 0:
                return

    def _run(self, log: str, module: str, *arguments: str) -> "subprocess.Popen[bytes] | None":
        """Start a child, which ends with us whatever becomes of us; None when the demonstration ends."""
        with self._lock, (self.folder / log).open("ab") as file:
            if self._stop.is_set():
                return None
            child = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,  # Ctrl-C is the terminal's, not theirs
                preexec_fn=_end_with_parent,
            )
            self._children.append(child)
        return child


def complete(patient: Path) -> bool:
    """Whether every image of a synthetic patient has been written: its masks, which are written last, are there."""
    return all((patient / f"{role}_mask.nii.gz").exists() for role in ("t2w", "dwi"))


@contextlib.contextmanager
def demonstration() -> Iterator[Demo]:
    """A running demonstration; nothing is left of it afterwards.

    Raises:
        UsageError: If the phantom or its bundle is not installed.
    """
    bundle = demo_bundle()
    folder = Path(tempfile.mkdtemp(prefix="scanside-demo-"))
    demo = Demo(folder, bundle)
    handlers = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        demo.start()
        yield demo
    finally:
        demo.stop()
        shutil.rmtree(folder, ignore_errors=True)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def demo_bundle() -> Path:
    """The bundle that comes with Scanside: trained on phantoms, for demonstrations.

    Raises:
        UsageError: If the part of Scanside that holds it is not installed.
    """
    found = importlib.util.find_spec("scanside.training")
    for place in (found.submodule_search_locations or []) if found else []:
        bundle = Path(place) / "data" / "pancreas-phantom.bundle"
        if bundle.is_dir():
            return bundle
    raise UsageError(
        "The demonstration needs scanside.training, which is not installed; install the whole of Scanside."
    )


def free_port() -> int:
    """A port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _configuration(folder: Path, bundle: Path, archive_port: int) -> str:
    """A `scanside.toml` on loopback; results wait for review, so that there is something to accept."""
    allowed = open_bundle(bundle)
    return f"""
[service]
data = {json.dumps(str(folder / "data"))}
bundle = {json.dumps(str(bundle))}
research_use_only = true
require_review = true
show_names = true  # "SYNTHETIC": there is no patient

[trust]
allow = {json.dumps([f"{allowed.manifest.name}@{allowed.sha256}"])}

[receive]
ae_title = "DEMO"
port = {free_port()}
quiet_seconds = 1
reserve_gb = 0.5

[send]
commitment_port = {free_port()}

[watch]
port = 0
log_level = "WARNING"

[[destinations]]
kind = "dicom"
name = "archive"
ae_title = "{AE_TITLE}"
host = "127.0.0.1"
port = {archive_port}
commitment = false
"""


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _end_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
