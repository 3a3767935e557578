"""A file a process touches as long as it lives: whoever has the data folder can see who has stopped."""

import os
import time
from pathlib import Path

from scanside.runtime.appliance.config import Config

STALE_SECONDS = 15.0
"""A process that beats once a second and has been silent for so long does not work."""


def beat(config: Config, name: str) -> None:
    """Say that a process lives.

    Raises:
        OSError: If the data folder cannot be written.
    """
    file = _file(config, name)
    try:
        os.utime(file)  # no new block: this works on a full disk too
    except FileNotFoundError:
        file.touch(mode=0o600)


def alive(config: Config, name: str) -> float | None:
    """Seconds since a process has said that it lives; None if it never has."""
    try:
        return max(0.0, time.time() - _file(config, name).stat().st_mtime)
    except OSError:
        return None


def _file(config: Config, name: str) -> Path:
    return config.service.data / f"{name}.heartbeat"
