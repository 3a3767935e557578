"""The steps of a training in processes of their own: `python -m scanside.training.segmentation.worker`.

nnU-Net reads its environment variables when it is imported and spawns processes that import the main module again,
so it gets a process whose main module is this small one. It is asked for steps on stdin, a JSON object per line, and
forks itself for each, so that nnU-Net is imported once: that takes nine seconds of processor time. What nnU-Net prints
goes to a log file; what the parent should know goes to stdout, a JSON object per line.
"""

import importlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from scanside.training.segmentation.settings import Settings, load
from scanside.training.segmentation.steps import Send, estimate, postprocess, prepare, train

_NNUNET = (
    "nnunetv2.experiment_planning.plan_and_preprocess_api",
    "nnunetv2.postprocessing.remove_connected_components",
    "scanside.training.segmentation.trainer",
    "nnunetv2.training.nnUNetTrainer.nnUNetTrainer",
)
"""What the steps import, and what takes its time."""


def main(arguments: list[str]) -> None:
    """Run the steps that are asked for, one after the other.

    Args:
        arguments: The role's folder.
    """
    folder, parent, worker = Path(arguments[0]), os.getppid(), os.getpid()
    send = _pipe()
    for line in sys.stdin:
        asked = json.loads(line)
        _divert(Path(asked["log"]))
        settings = load(folder / "settings.json")
        if sys.platform != "linux" or settings.device != "cpu":
            # Other systems' libraries do not survive a fork, and CUDA does nowhere: we are the step's own process.
            _run(folder, settings, asked, send, parent=parent, leader=worker)
            return
        for name in _NNUNET:
            importlib.import_module(name)
        child = os.fork()
        if child == 0:
            _run(folder, settings, asked, send, parent=worker, leader=worker)
            return
        send({"event": "ended", "code": _wait(child, parent)})


def _pipe() -> Send:
    """Keep the pipe to the parent, before stdout goes elsewhere."""
    pipe = os.fdopen(os.dup(1), "w", buffering=1)

    def send(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=pipe, flush=True)

    return send


def _divert(log: Path) -> None:
    """Send stdout and stderr of this process and of those it starts to the log."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _wait(child: int, parent: int) -> int:
    """Exit code of a step, which ends with us when the parent has been killed."""
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if os.getppid() != parent:
            _end_all(os.getpid())
        time.sleep(0.1)


def _run(
    folder: Path, settings: Settings, asked: dict[str, Any], send: Send, *, parent: int, leader: int
) -> None:
    """Run a step in this process, which is its own.

    Args:
        asked: `step` (`prepare`, `estimate`, `train`, `postprocess`), the `fold` to train, and the processes for
            augmentation, `workers`.
        parent: With whom the step ends.
        leader: Of the group of processes that ends with it.
    """
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    threading.Thread(target=_end_with_parent, args=(parent, leader), daemon=True).start()
    os.environ["nnUNet_n_proc_DA"] = asked["workers"]  # noqa: SIM112 - nnU-Net's own variable
    step = asked["step"]
    if settings.threads:
        import torch

        torch.set_num_threads(settings.threads)
    _quicker_pools()
    if step == "prepare":
        prepare(folder, settings, send)
    elif step == "train":
        train(folder, settings, asked["fold"], send)
    elif step == "estimate":
        estimate(folder, settings, send)
    elif step == "postprocess":
        postprocess(folder, settings, send)
    else:
        raise ValueError(step)


def _quicker_pools() -> None:
    """nnU-Net's pools: of one process a thread; of more, forked by a server that has imported nnU-Net.

    nnU-Net asks for `spawn`, by which each process takes about eight seconds of processor time before it begins, and
    forks twelve more for every list of file names.
    """
    from nnunetv2.configuration import default_num_processes
    from nnunetv2.utilities import utils

    utils.Pool = ThreadPool

    own: Callable[..., Any] = multiprocessing.get_context
    instead: Any
    if default_num_processes == 1:
        instead = SimpleNamespace(Pool=ThreadPool)
    elif "forkserver" in multiprocessing.get_all_start_methods():
        instead = own("forkserver")
        instead.set_forkserver_preload(["nnunetv2.preprocessing.preprocessors.default_preprocessor"])
    else:
        return
    multiprocessing.get_context = lambda method=None: instead if method == "spawn" else own(method)


def _end_with_parent(parent: int, leader: int) -> None:
    """Two processes must never train in one folder: when the parent has been killed, this one ends too."""
    while os.getppid() == parent:
        time.sleep(1)
    _end_all(leader)


def _end_all(leader: int) -> None:
    """End this process with the group of a leader, if it is in that group."""
    if hasattr(os, "killpg") and os.getpgrp() == leader:
        os.killpg(leader, signal.SIGKILL)  # with the pools that were started
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
