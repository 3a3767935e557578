"""Words on stderr while a training runs, with the time left."""

import sys
import time
from typing import Any


class Progress:
    """Turns a child's messages into sentences.

    Attributes:
        parameters: Weights of the network, once the child has told.
        seconds: Duration of every epoch so far.
    """

    def __init__(self, role: str, folds: int) -> None:
        self.parameters: int | None = None
        self.seconds: list[float] = []
        self.curve: dict[int, list[dict[str, float]]] = {}
        self._role, self._folds, self._fold = role, folds, 0
        self._remaining_folds = folds - 1
        self._started, self._cases = 0.0, 0

    def start_fold(self, fold: int, after: int, cases: int) -> None:
        """Say which fold comes next.

        Args:
            after: Folds still to train after it.
            cases: Its validation patients.
        """
        self._fold, self._remaining_folds, self._cases = fold, after, cases

    def __call__(self, message: dict[str, Any]) -> None:
        """Take a message of the child."""
        if message["event"] == "say":
            say(f"{self._role}: {message['text']} …")
        elif message["event"] == "network":
            self.parameters = int(message["parameters"])
            how = "resuming" if message["begun"] else "training"
            say(f"{self._role} fold {self._fold}: {how} a network of {self.parameters:,} parameters")
        elif message["event"] == "epoch":
            self._epoch(message)
        elif message["event"] == "predict":
            self._predict(message)

    def _epoch(self, message: dict[str, Any]) -> None:
        epoch, epochs = int(message["epoch"]), int(message["epochs"])
        self.seconds.append(float(message["seconds"]))
        mean = sum(self.seconds[-10:]) / len(self.seconds[-10:])
        fold = mean * (epochs - epoch)
        say(
            f"{self._role} fold {self._fold} of 0–{self._folds - 1}, epoch {epoch} of {epochs}: "
            f"loss {message['loss']:.3f}, pseudo Dice {message['dice']:.3f}; {minutes(fold)} left in this fold, "
            f"{minutes(fold + mean * epochs * self._remaining_folds)} of training in all"
        )
        point = {"epoch": epoch, "loss": round(message["loss"], 4), "dice": round(message["dice"], 4)}
        self.curve.setdefault(self._fold, []).append(point)

    def _predict(self, message: dict[str, Any]) -> None:
        number = int(message["number"])
        if number == 1:
            self._started = time.monotonic()
        elif number % 10 == 0:
            left = (time.monotonic() - self._started) / (number - 1) * (self._cases - number + 1)
            say(
                f"{self._role} fold {self._fold}: predicting patient {number} of {self._cases}; {minutes(left)} left"
            )


def minutes(seconds: float) -> str:
    """A duration in words."""
    return f"{seconds / 60:.1f} min" if seconds >= 90 else f"{seconds:.0f} s"


def say(sentence: str) -> None:
    """A line on stderr."""
    print(sentence, file=sys.stderr, flush=True)
