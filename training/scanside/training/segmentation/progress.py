"""Words on stderr while a training runs, with the time left; and a memory of it that outlives interruptions."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Progress:
    """Turns a child's messages into sentences, and keeps what the record wants in a file, a JSON object a line.

    Attributes:
        parameters: Weights of the network, once a child has told.
        seconds: Duration of every epoch so far.
        steps: Step → seconds over all runs, interrupted attempts not counted.
    """

    def __init__(self, role: str, folds: int, file: Path) -> None:
        self.parameters: int | None = None
        self.seconds: list[float] = []
        self.steps: dict[str, float] = {}
        self._epochs: dict[tuple[str, int], dict[str, float]] = {}
        self._file = file
        text = file.read_text() if file.exists() else ""
        for line in text.splitlines():
            try:
                self._remember(json.loads(line))
            except ValueError:  # the line that was being written when the machine stopped
                continue
        if text and not text.endswith("\n"):
            with file.open("a") as stream:
                stream.write("\n")
        self._role, self._folds, self._fold = role, folds, "0"
        self._remaining_folds = folds - 1

    @property
    def curves(self) -> dict[str, list[dict[str, float]]]:
        """Fold → epoch, loss and pseudo Dice; of an epoch that was repeated, the last time."""
        curves: dict[str, list[dict[str, float]]] = {}
        for (fold, _), point in sorted(self._epochs.items()):
            curves.setdefault(fold, []).append(point)
        return curves

    @contextmanager
    def measure(self, step: str) -> Iterator[None]:
        """Note how long a step takes."""
        started = time.time()
        yield
        self._note({"event": "step", "step": step, "seconds": round(time.time() - started, 1)})

    def start_fold(self, fold: str, after: int) -> None:
        """Say which fold comes next.

        Args:
            after: Folds still to train after it.
        """
        self._fold, self._remaining_folds = fold, after

    def __call__(self, message: dict[str, Any]) -> None:
        """Take a message of the child."""
        if message["event"] in ("network", "epoch"):
            self._note({**message, "fold": self._fold})
        if message["event"] == "say":
            say(f"{self._role}: {message['text']} …")
        elif message["event"] == "network":
            how = "resuming" if message["begun"] else "training"
            where = self._where.partition(" of ")[0]
            say(f"{self._role} {where}: {how} a network of {message['parameters']:,} parameters")
        elif message["event"] == "epoch":
            self._epoch(message)

    @property
    def _where(self) -> str:
        return f"fold {self._fold} of 0–{self._folds - 1}" if self._folds > 1 else "on all patients"

    def _epoch(self, message: dict[str, Any]) -> None:
        epoch, epochs = int(message["epoch"]), int(message["epochs"])
        mean = sum(self.seconds[-10:]) / len(self.seconds[-10:])
        fold = mean * (epochs - epoch)
        say(
            f"{self._role} {self._where}, epoch {epoch} of {epochs}: "
            f"loss {message['loss']:.3f}, pseudo Dice {message['dice']:.3f}; {minutes(fold)} left in this fold, "
            f"{minutes(fold + mean * epochs * self._remaining_folds)} of training in all"
        )

    def _note(self, message: dict[str, Any]) -> None:
        self._remember(message)
        with self._file.open("a") as file:
            print(json.dumps(message), file=file)

    def _remember(self, message: dict[str, Any]) -> None:
        if message["event"] == "network":
            self.parameters = int(message["parameters"])
        elif message["event"] == "epoch":
            self.seconds.append(float(message["seconds"]))
            point = {name: round(float(message[name]), 4) for name in ("loss", "dice")}
            self._epochs[str(message["fold"]), int(message["epoch"])] = {"epoch": message["epoch"], **point}
        elif message["event"] == "step":
            step = message["step"]
            self.steps[step] = round(self.steps.get(step, 0.0) + float(message["seconds"]), 1)


def minutes(seconds: float) -> str:
    """A duration in words."""
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


def say(sentence: str) -> None:
    """A line on stderr."""
    print(sentence, file=sys.stderr, flush=True)
