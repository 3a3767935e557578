"""Where and with what a benchmark was run: the part of a results file that makes its numbers mean something."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scanside.runtime import machine

PACKAGES = (
    "torch", "nnunetv2", "dynamic-network-architectures", "batchgenerators", "scikit-image", "psutil",
    "pyradiomics-bhklab", "nncf",
)  # fmt: skip
BUSY_LOAD = 0.25
"""Load average a core, above which the machine counts as busy with something else."""


def environment(arguments: Sequence[str]) -> dict[str, Any]:
    """The machine, versions, git commit, command line, date and load before the run, for a `Record`.

    Args:
        arguments: Of `scanside`, or a whole command that begins with `python`.
    """
    program = () if arguments[:1] == ["python"] else ("scanside",)
    load = _load_average()
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": [*program, *(_neutral(argument) for argument in arguments)],
        "machine": {
            "processor": machine.processor(),
            "cores": machine.cores(),
            "memory_gib": machine.memory_gib(),
            "system": platform.platform(),
            "load_average": load,
        },
        "versions": machine.versions(PACKAGES),
        "git": _git(),
        "remarks": remarks(load),
    }


def remarks(load: list[float] | None) -> list[str]:
    """What a reader must know about the conditions."""
    if load is None:
        return ["This system tells no load average: whether the machine was otherwise idle is not known."]
    if load[0] > BUSY_LOAD * machine.cores():
        return [
            f"Busy machine: load average {load[0]:.2f} on {machine.cores()} core(s) before the run; "
            "times are upper bounds, ratios of pairs more reliable than times."
        ]
    return []


def _neutral(argument: str) -> str:
    """An argument without the folders of this machine."""
    path = Path(argument)
    return path.name if path.is_absolute() else argument


def _load_average() -> list[float] | None:
    try:
        return [round(value, 2) for value in os.getloadavg()]
    except (OSError, AttributeError):
        return None


def _git() -> dict[str, Any] | None:
    """Commit of the checkout this code runs from, or None when it is installed without one."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True, timeout=30
        )
        return done.stdout.strip()

    try:
        # An environment inside somebody else's repository is not this project's checkout.
        git("ls-files", "--error-unmatch", "py.typed")
        return {
            "commit": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None
