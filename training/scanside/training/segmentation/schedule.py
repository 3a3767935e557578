"""Training for a given time instead of a given number of epochs."""

from typing import Any

EXPONENT = 0.9
"""Of nnU-Net's polynomial decay."""


class TimeIsUp(Exception):
    """The time of a fold is over; its last epoch is complete."""


def spent(trainer: Any) -> float:
    """Seconds that the epochs of a trainer took so far, over all runs: nnU-Net keeps them in its checkpoints."""
    starts, ends = (
        trainer.logger.get_value(f"epoch_{what}_timestamps", step=None) for what in ("start", "end")
    )
    return float(sum(end - start for start, end in zip(starts, ends, strict=False)))


class TimedRate:
    """nnU-Net's polynomial decay of the learning rate, over time instead of epochs.

    Takes the place of a trainer's `lr_scheduler`, of which nnU-Net only calls `step` and `get_last_lr`.
    """

    def __init__(self, trainer: Any, limit_s: float) -> None:
        self._trainer, self._limit = trainer, limit_s

    @property
    def part(self) -> float:
        """The part of the time that is over, from 0 to 1."""
        return min(1.0, spent(self._trainer) / self._limit)

    def step(self, epoch: int | None = None) -> None:
        """Set the learning rate of the epoch that begins."""
        # The last epoch begins before the time is over and still has to learn something.
        rate = self._trainer.initial_lr * max(1 - self.part, 0.01) ** EXPONENT
        for group in self._trainer.optimizer.param_groups:
            group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        """The learning rate that is set, for each group of weights."""
        return [group["lr"] for group in self._trainer.optimizer.param_groups]


def train_for(trainer: Any, seconds: float) -> None:
    """Let an initialised trainer end after a time: the epoch in which it runs out is the last one, by `TimeIsUp`."""
    rate, end = TimedRate(trainer, seconds), trainer.on_epoch_end
    trainer.lr_scheduler = rate

    def on_epoch_end() -> None:
        end()
        if rate.part >= 1:
            raise TimeIsUp

    trainer.on_epoch_end = on_epoch_end
