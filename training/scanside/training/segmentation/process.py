"""Running the steps of a training in child processes, and telling how they go on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from scanside.runtime import machine
from scanside.runtime.errors import CaseError
from scanside.training.segmentation.settings import Settings

Listen = Callable[[dict[str, Any]], None]


class Steps:
    """The steps of one training, each run by `worker` in a process of its own, at the end of a `with` block no more.

    The first step starts the worker, which imports nnU-Net once and forks itself for every step, or, where that is not
    safe, ends after a step and is started again.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Take the role's folder in the experiment."""
        self._folder, self._settings = folder, settings
        self._worker: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def run(self, step: str, listen: Listen, fold: str | None = None) -> None:
        """Run a step to its end.

        Args:
            step: As `worker` names it.
            listen: Receives the step's messages.

        Raises:
            CaseError: If it fails; what nnU-Net said stands in the log that the error names.
        """
        name = step if fold is None else f"{step}-{fold}"
        log = self._folder / "log" / f"{name}.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        if self._worker is None or self._worker.poll() is not None:
            self._worker = self._start(step)
        worker = self._worker
        try:
            code = self._ask(worker, step, log, listen, fold)
        except BaseException:
            self._worker = None
            _stop(worker)
            raise
        if code:
            raise CaseError(f"nnU-Net failed ({name}: {_last_line(log)}); all of its words are in {log}.")

    def _start(self, step: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "scanside.training.segmentation.worker", str(self._folder.resolve())],
            env=environment(self._folder, self._settings, step),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=os.name == "posix",  # so that its steps and their pools can be stopped with it
        )

    def _ask(
        self, worker: "subprocess.Popen[str]", step: str, log: Path, listen: Listen, fold: str | None
    ) -> int:
        """Have a step run; its exit code."""
        assert worker.stdin is not None and worker.stdout is not None
        workers = environment(self._folder, self._settings, step)["nnUNet_n_proc_DA"]
        asked = {"step": step, "log": str(log.resolve()), "fold": fold, "workers": workers}
        with suppress(BrokenPipeError):  # it has ended, and its log says why
            print(json.dumps(asked), file=worker.stdin, flush=True)
        for line in worker.stdout:
            message = json.loads(line)
            if message.get("event") == "ended":
                return int(message["code"])
            listen(message)
        self._end()  # as it does after each step where it cannot fork itself
        return int(worker.returncode)

    def _end(self) -> None:
        """Let the worker end, which has nothing left to do."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        assert worker.stdin is not None and worker.stdout is not None
        with suppress(BrokenPipeError):
            worker.stdin.close()
        try:
            worker.wait(10)
        except subprocess.TimeoutExpired:
            _stop(worker)
        worker.stdout.close()


def run_step(folder: Path, settings: Settings, step: str, listen: Listen) -> None:
    """Run one step alone.

    Raises:
        CaseError: As `Steps.run`.
    """
    with Steps(folder, settings) as steps:
        steps.run(step, listen)


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
    """End the worker with its step and the pools of that."""
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
