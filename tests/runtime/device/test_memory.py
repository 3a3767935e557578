"""What a case is cut to on cards of several sizes, by the plan of its memory alone."""

import pytest

from scanside.runtime.backends.gpu import LARGEST_BATCH
from scanside.runtime.device.layout import layout
from scanside.runtime.device.memory import Case, Need, fitting
from scanside.runtime.plan import Channel, Normalization
from tests.support.plans import labels, plan

GIB = 1 << 30
TILE = {"mixed": 1_346_375_680, "fp32": 1_080_090_624}
"""Bytes that ONNX Runtime takes for a tile of 128³ in nnU-Net's network of 31 M parameters, WEIGHTS of a fold: read
off the real CUDA provider on a card of host memory (tests/support/fake_cuda)."""
WEIGHTS = {"mixed": 60_730_368, "fp32": 121_465_856}
CT = {"mean": 100.0, "std": 50.0, "percentile_00_5": -900.0, "percentile_99_5": 300.0}
CHANNEL = Channel(name="CT", normalization=Normalization(scheme="CTNormalization", **CT))


def cut(
    gib: float, heads: int, box: tuple[int, int, int], precision: str, folds: int = 1, spacing: float = 1.5
) -> Need | None:
    """The best choice on a card of `gib`, nine tenths of what the weights leave."""
    recipe = plan(
        patch_size=(128, 128, 128),
        spacing=(spacing,) * 3,
        labels=labels(heads),
        mirror_axes=(0, 1, 2),
        channels=(CHANNEL,),
    )
    current = (1.5, 1.5, 1.5)
    z, y, x = (round(size * 1.5 / spacing) for size in box)
    on = layout(recipe, (z, y, x), box, recipe.spacing, current, 0.5)  # type: ignore[arg-type]
    free = int(0.9 * (gib * GIB - folds * WEIGHTS[precision]))
    case = Case(recipe, box, (z, y, x), current, recipe.spacing, mirror=True, folds=folds)  # type: ignore[arg-type]
    found = fitting(case, on, LARGEST_BATCH, free, lambda batch: batch * TILE[precision])
    return next(found, None)


@pytest.mark.parametrize("precision", TILE)
def test_five_folds_of_the_default_network(precision: str) -> None:
    """Within 8 GiB, which a card of 12 has; 24, 8 and 6 GiB do as well."""
    taken = {gib: cut(gib, 3, (128, 256, 256), precision, folds=5) for gib in (24, 12, 8, 6)}
    for gib, need in taken.items():
        assert need is not None
        assert need.total + 5 * WEIGHTS[precision] < min(gib, 8) * GIB
    assert taken[24] is not None and taken[24].batch == 2


def test_large_images_of_many_classes() -> None:
    """25 heads at 512 × 512 × 400 run on a card of 12 GiB, on one of 8 in slabs; 14 at 512 × 512 × 200 on 6; 30 on 24.
    Five folds of 25 heads have sums of their own in slabs, and yet fit 12."""
    on_twelve, on_eight = (cut(gib, 25, (400, 512, 512), "mixed") for gib in (12, 8))
    assert on_twelve is not None and on_twelve.total < 12 * GIB and on_twelve.depth == 400
    assert on_eight is not None and on_eight.total < 8 * GIB and 129 <= on_eight.depth < 400
    five = cut(12, 25, (400, 512, 512), "mixed", folds=5)
    assert five is not None and five.total < 12 * GIB and five.depth < 400
    for gib, heads, box in ((6, 14, (200, 512, 512)), (8, 14, (200, 512, 512)), (24, 30, (400, 512, 512))):
        assert cut(gib, heads, box, "mixed") is not None
    assert cut(4, 105, (400, 512, 512), "fp32") is None  # then the host slides


def test_less_memory_never_means_more_at_a_time() -> None:
    before = (LARGEST_BATCH, 10**9)
    for gib in (48, 24, 12, 8, 6, 5, 4, 3):
        need = cut(gib, 14, (200, 512, 512), "mixed")
        if need is None:
            break
        assert need.total <= 0.9 * gib * GIB
        assert (need.batch, need.depth) <= before
        before = (need.batch, need.depth)
    else:
        raise AssertionError("3 GiB cannot be enough")
