"""A real Triton Inference Server, from NVIDIA's wheel nvidia-pytriton, and somebody who spoils its answers."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.peers import LOOPBACK, free_port
from tests.support.wheels import unpacked

VERSION = "0.7.0"
"""Of the wheel, whose server is Triton 2.51 (24.10) with the Python backend alone."""
_START_SECONDS = 120.0


class Triton:
    """A server of one repository on a port of its own. It may be killed and started again in between."""

    def __init__(self, repository: Path, folder: Path) -> None:
        """Prepare it; nothing runs yet.

        Args:
            folder: For its log and its Python backend.
        """
        wheel = unpacked("nvidia-pytriton", VERSION, "pytriton/tritonserver")
        self._home = wheel / "pytriton" / "tritonserver"
        self._libraries = wheel / "nvidia_pytriton.libs"
        self._repository, self._folder, self.port = repository, folder, free_port()
        self._shared = f"scanside-{uuid.uuid4().hex[:12]}"
        self._process: subprocess.Popen[bytes] | None = None
        self._install_backend()

    @property
    def url(self) -> str:
        """As an engine."""
        return f"triton://{LOOPBACK}:{self.port}"

    def start(self, *models: str, wait: bool = True) -> None:
        """Start it with some of the repository's models, which may fail to load."""
        command = [
            str(self._home / "bin" / "tritonserver"),
            f"--model-repository={self._repository}",
            f"--backend-directory={self._folder / 'backends'}",
            f"--backend-config=python,shm-region-prefix-name={self._shared}",
            f"--http-address={LOOPBACK}",
            f"--http-port={self.port}",
            "--allow-grpc=false",
            "--allow-metrics=false",
            "--model-control-mode=explicit",
            "--model-load-thread-count=1",  # two Python models that load at once have aborted it: lock_exception
            *(f"--load-model={model}" for model in models),
            "--exit-on-error=false",
            "--strict-readiness=false",
        ]
        libraries = f"{self._libraries}:{sysconfig.get_config_var('LIBDIR')}"  # the stub wants libpython
        environment = dict(os.environ, LD_LIBRARY_PATH=libraries)
        environment.pop("PYTHONPATH", None)
        with (self._folder / "triton.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Until it has loaded its models, or failed to."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"Triton ended with {self._process.returncode}:\n{self.log()[-4000:]}")
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/v2/health/live", timeout=5),
            ):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"Triton does not answer:\n{self.log()[-4000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to the server and its Python processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        for left in Path("/dev/shm").glob(f"{self._shared}*"):
            left.unlink(missing_ok=True)

    def log(self) -> str:
        """What it wrote."""
        return (self._folder / "triton.log").read_text(errors="replace")

    def _install_backend(self) -> None:
        """The Python backend with the stub of this very Python, which the wheel keeps elsewhere."""
        backend = self._folder / "backends" / "python"
        backend.mkdir(parents=True)
        for file in (self._home / "backends" / "python").iterdir():
            (backend / file.name).symlink_to(file)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = self._home / "python_backend_stubs" / version / "triton_python_backend_stub"
        shutil.copyfile(stub, backend / stub.name)
        for program in (backend / stub.name, self._home / "bin" / "tritonserver"):
            program.chmod(0o755)


class Meddler:
    """Passes requests on to a server, and spoils answers to `infer` on their way back.

    Attributes:
        spoil: Whole answer → what is sent in its place; the connection is closed after it.
        after: So many answers to `infer` pass as they are.
    """

    def __init__(self, target: int, spoil: Callable[[bytes], bytes], after: int = 0) -> None:
        self.spoil, self.after = spoil, after
        self._target, self._lock = target, threading.Lock()
        self._listener = socket.create_server((LOOPBACK, 0))
        self.url = f"triton://{LOOPBACK}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._pass, args=(self._listener.accept()[0],), daemon=True).start()

    def _pass(self, here: socket.socket) -> None:
        with here, socket.create_connection((LOOPBACK, self._target)) as there, suppress(OSError):
            try:
                here.sendall(self._answer(here, there))
            finally:
                here.shutdown(socket.SHUT_RDWR)  # `close` alone ends nothing while `_pump` waits

    def _answer(self, here: socket.socket, there: socket.socket) -> bytes:
        head = here.recv(1 << 16)
        there.sendall(head)
        threading.Thread(target=_pump, args=(here, there), daemon=True).start()
        answer = b"".join(iter(lambda: there.recv(1 << 16), b""))
        if b"/infer " not in head.split(b"\r\n", 1)[0]:
            return answer
        with self._lock:
            spoiled, self.after = self.after <= 0, self.after - 1
        return self.spoil(answer) if spoiled else answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(1 << 16):
            target.sendall(piece)
