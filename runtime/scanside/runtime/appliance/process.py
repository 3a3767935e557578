"""What the three processes have in common: one of each kind a data folder, ended with their supervisor, a heartbeat.

`python -m scanside.runtime.appliance.process receive scanside.toml`
"""

import ctypes
import fcntl
import importlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scanside.runtime.appliance.config import Config, load_config
from scanside.runtime.appliance.watch.heartbeat import beat
from scanside.runtime.appliance.watch.log import start_log
from scanside.runtime.errors import OutputError, ScansideError, UsageError

NAMES = ("receive", "work", "deliver")
SUPERVISOR = "SCANSIDE_SUPERVISOR"
"""Environment variable in which a supervisor tells its processes its own number."""

_PR_SET_PDEATHSIG = 1
_LOCK_SECONDS = 30.0
_BEAT_SECONDS = 1.0

log = logging.getLogger("scanside.process")


def main(name: str, path: Path) -> int:
    """Run one of `NAMES` until it is told to stop; returns the exit code."""
    _end_with_parent()
    config = load_config(path)
    start_log(config.watch.log_level, name)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    module = importlib.import_module(f"scanside.runtime.appliance.{name}.main")
    try:
        with only_one(config, name):
            threading.Thread(target=_beat, args=(config, name, stop), daemon=True).start()
            module.run(config, stop)
    except ScansideError as error:
        log.error("%s", error)
        return int(error.exit_code)
    return 0


@contextmanager
def only_one(config: Config, name: str, seconds: float = _LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock of a process; one that is just ending is waited for.

    Raises:
        UsageError: If another one goes on holding it.
        OutputError: If the file of the lock cannot be made.
    """
    path = config.service.data / f"{name}.lock"
    try:
        opened = path.open("a")
    except OSError as error:
        raise OutputError(f"{path} cannot be made ({error.strerror}); check service.data.") from error
    with opened as file:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise UsageError(
                        f"Another '{name}' works on {config.service.data} already; stop it first."
                    ) from None
                time.sleep(0.1)
        yield


def _end_with_parent() -> None:
    """A supervisor that was killed must leave nobody behind: the next one starts its own."""
    parent = os.environ.get(SUPERVISOR)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and parent != str(os.getppid()):  # it died before this was said
        os._exit(0)


def _beat(config: Config, name: str, stop: threading.Event) -> None:
    while True:
        with suppress(OSError):  # a full disk; the health endpoint says so
            beat(config, name)
        if stop.wait(_BEAT_SECONDS):
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
