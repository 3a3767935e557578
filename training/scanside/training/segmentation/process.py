"""Running a step of the training in a child process, and telling how it goes on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from scanside.runtime import machine
from scanside.runtime.errors import CaseError
from scanside.training.segmentation.settings import Settings

Listen = Callable[[dict[str, Any]], None]


def run_step(folder: Path, settings: Settings, step: str, listen: Listen, fold: str | None = None) -> None:
    """Run a step of `worker` to its end.

    Args:
        folder: The role's folder in the experiment.
        listen: Receives the step's messages.

    Raises:
        CaseError: If it fails; what nnU-Net said stands in the log that the error names.
    """
    name = step if fold is None else f"{step}-{fold}"
    log = folder / "log" / f"{name}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    arguments = [step, str(folder.resolve()), str(log.resolve()), *([] if fold is None else [fold])]
    process = subprocess.Popen(
        [sys.executable, "-m", "scanside.training.segmentation.worker", *arguments],
        env=environment(folder, settings, step),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=os.name == "posix",  # so that its pools can be stopped with it
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            listen(json.loads(line))
        code = process.wait()
    except BaseException:
        _stop(process)
        raise
    if code:
        raise CaseError(f"nnU-Net failed ({name}: {_last_line(log)}); all of its words are in {log}.")


def environment(folder: Path, settings: Settings, step: str) -> dict[str, str]:
    """Environment variables of the child, nnU-Net's among them."""
    threads = settings.threads or machine.cores()
    # Planning sets torch's threads to the number of augmentation workers, and zero threads are an error.
    workers = settings.workers if step == "train" else max(1, settings.workers)
    return {
        **os.environ,
        "nnUNet_raw": str((folder / "raw").resolve()),
        "nnUNet_preprocessed": str((folder / "preprocessed").resolve()),
        "nnUNet_results": str((folder / "results").resolve()),
        "nnUNet_def_n_proc": str(threads),
        "nnUNet_n_proc_DA": str(workers),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
        "PYTHONUNBUFFERED": "1",
    }


def _stop(process: subprocess.Popen[str]) -> None:
    """End the step with the pools that it spawned."""
    for number, wait in ((signal.SIGTERM, 5), (getattr(signal, "SIGKILL", signal.SIGTERM), 5)):
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(process.pid, number)
            else:
                process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait)
            return


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else "no word"
    return "no word"
