"""What is changed in nnU-Net's trainer: the clock, norms, bfloat16, which patients are drawn, seeds."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from scanside.training.segmentation import schedule


class _Timed:
    """A trainer whose epochs take ten seconds on a clock of its own."""

    initial_lr, current_epoch = 0.5, 0

    def __init__(self) -> None:
        import torch

        self.logged: dict[str, list[float]] = {"epoch_start_timestamps": [], "epoch_end_timestamps": []}
        self.logger = self
        self.optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=self.initial_lr)
        self.lr_scheduler: Any = None

    def get_value(self, key: str, step: None) -> list[float]:
        return self.logged[key]

    def on_epoch_end(self) -> None:
        self.logged["epoch_end_timestamps"].append(10.0 * self.current_epoch + 10)
        self.current_epoch += 1


def test_a_training_by_the_clock_ends_with_its_learning_rate() -> None:
    trainer = _Timed()
    schedule.train_for(trainer, 45.0)
    rates = []
    with pytest.raises(schedule.TimeIsUp):
        for epoch in range(100):
            trainer.logged["epoch_start_timestamps"].append(10.0 * epoch)
            trainer.lr_scheduler.step(epoch)
            rates += trainer.lr_scheduler.get_last_lr()
            trainer.on_epoch_end()
    parts = [0, 10 / 45, 20 / 45, 30 / 45, 40 / 45]
    np.testing.assert_allclose(rates, [0.5 * (1 - part) ** 0.9 for part in parts], rtol=1e-12)
    assert trainer.current_epoch == 5, "the epoch in which the time ran out is the last one"


@pytest.mark.parametrize("batch", [1, 2])
def test_norms_without_copies_are_the_same_norms(batch: int) -> None:
    import torch

    from scanside.training.segmentation.trainer import normalise_in_layout

    torch.manual_seed(1)
    norm = torch.nn.InstanceNorm3d(4, eps=1e-5, affine=True)
    torch.nn.init.normal_(norm.weight)
    image = (10 + torch.randn(batch, 4, 5, 6, 7)).to(memory_format=torch.channels_last_3d).requires_grad_()
    there, back = {}, {}
    for name in ("theirs", "ours"):
        if name == "ours":
            normalise_in_layout(torch.nn.Sequential(norm))
        image.grad, norm.weight.grad = None, None
        there[name] = norm(image)
        there[name].sin().sum().backward()
        assert image.grad is not None and norm.weight.grad is not None
        back[name] = (image.grad.clone(), norm.weight.grad.clone())
    torch.testing.assert_close(there["ours"], there["theirs"], atol=2e-5, rtol=1e-5)
    voxels = batch * 5 * 6 * 7  # the gradient of a weight is a sum over them, and so is its rounding
    for ours, theirs, terms in zip(back["ours"], back["theirs"], (1, voxels), strict=True):
        torch.testing.assert_close(ours / terms, theirs / terms, atol=1e-5 if terms > 1 else 1e-4, rtol=1e-4)
    assert there["ours"].is_contiguous(memory_format=torch.channels_last_3d), "the layout stays"


class _Data:
    def __init__(self, *names: str) -> None:
        self.identifiers = list(names)


class _Trainer:
    def get_tr_and_val_datasets(self) -> tuple[_Data, _Data]:
        return _Data("a", "b", "c"), _Data("d")


def test_bfloat16_leaves_weights_and_logits_in_float32() -> None:
    import torch

    from scanside.training.segmentation.trainer import compute_in_bfloat16

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3), torch.nn.LeakyReLU(), torch.nn.Conv3d(4, 2, 1))
    image = torch.randn(1, 1, 6, 6, 6)
    exact = network(image)
    compute_in_bfloat16(network)
    near = network(image)
    near.square().mean().backward()
    assert near.dtype == torch.float32 and {w.dtype for w in network.parameters()} == {torch.float32}
    assert all(w.grad is not None and w.grad.dtype == torch.float32 for w in network.parameters())
    assert not torch.equal(near, exact), "bfloat16 was not used"
    torch.testing.assert_close(near, exact, atol=0.03, rtol=0.05)


def test_small_lesions_are_drawn_more_often() -> None:
    from scanside.training.segmentation.trainer import draw_more_often

    trainer = _Trainer()
    draw_more_often(trainer, ["b", "d"])
    training, validation = trainer.get_tr_and_val_datasets()
    assert Counter(training.identifiers) == {"a": 1, "b": 3, "c": 1}
    assert validation.identifiers == ["d"]


def test_seeds_repeat_per_epoch() -> None:
    import random

    import torch

    from scanside.training.segmentation.trainer import seed_everything

    def draw(*where: int) -> tuple[float, float, float]:
        seed_everything(*where)
        return random.random(), float(np.random.random()), float(torch.rand(1))

    first = draw(1, 0, 5)
    assert first == draw(1, 0, 5)
    assert len({first, draw(2, 0, 5), draw(1, 1, 5), draw(1, 0, 6)}) == 4
