"""The stages around the network, on one T2WI."""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from scanside.runtime.plan import Plan
from scanside.runtime.stages.crop import Cropped, crop, restore
from scanside.runtime.stages.label import label
from scanside.runtime.stages.lesions import find_lesions, main_lesion
from scanside.runtime.stages.normalise import normalise
from scanside.runtime.stages.resample import resample_image
from scanside.runtime.stages.slide import slide
from scanside.runtime.volume import Volume
from tests.benchmarks.stages.conftest import Layout, Prepared, heads, ignore


def test_crop(benchmark: BenchmarkFixture, image: Volume, recipe: Plan) -> None:
    cropped = benchmark(crop, image, recipe)
    assert cropped.mask is not None and cropped.data[0][cropped.mask].any()
    assert np.count_nonzero(cropped.data) == np.count_nonzero(image.data)


def test_normalise(benchmark: BenchmarkFixture, image: Volume, recipe: Plan) -> None:
    def fresh() -> tuple[tuple[Cropped, Plan], dict[str, object]]:
        return (crop(image, recipe), recipe), {}  # it works in place

    made = benchmark.pedantic(normalise, setup=fresh, rounds=10)
    mask = crop(image, recipe).mask
    assert made[0][mask].mean() == pytest.approx(0, abs=1e-3)
    assert made[0][mask].std() == pytest.approx(1, abs=1e-3)


def test_resample(benchmark: BenchmarkFixture, prepared: Prepared, recipe: Plan) -> None:
    shape, current = prepared.resampled.shape[1:], prepared.cropped.spacing
    made = benchmark(
        resample_image, prepared.normalised, shape, current, recipe.spacing, recipe.resampling_data
    )
    assert np.array_equal(made, prepared.resampled) and made.shape[1:] != prepared.normalised.shape[1:]


def test_slide_without_network(benchmark: BenchmarkFixture, prepared: Prepared, recipe: Plan) -> None:
    logits = benchmark(slide, prepared.resampled, heads, recipe, 0.5, True, ignore)
    assert logits.shape == (3, *prepared.resampled.shape[1:])
    middle = (slice(4, -4), slice(8, -8), slice(8, -8))  # at the border float16 keeps little of small weights
    grey = prepared.resampled[0]
    close = np.abs(logits[1] - grey)[middle] < 0.02 * np.abs(grey).max()
    assert close.mean() > 0.99, "mirrors undone, weights divided out"


def test_label(benchmark: BenchmarkFixture, prepared: Prepared, recipe: Plan) -> None:
    place = prepared.cropped.place
    labels = benchmark(label, prepared.logits, place.shape, recipe.spacing, place.spacing, recipe)
    assert labels.shape == place.shape and set(np.unique(labels)) == {0, 1, 2}
    sure = np.abs(prepared.normalised[0]) > 1.5
    agree = (labels > 0) == (prepared.normalised[0] > 0)
    assert agree[sure].mean() > 0.9


def test_restore(benchmark: BenchmarkFixture, prepared: Prepared, recipe: Plan, layout: Layout) -> None:
    place = prepared.cropped.place
    labels = np.ones(place.shape, np.uint16)
    mask = benchmark(restore, labels, place, recipe)
    assert mask.shape == layout.t2w.shape and int(mask.sum()) == labels.size


def test_lesions(benchmark: BenchmarkFixture, image: Volume, layout: Layout) -> None:
    mask = (image.data[0] > 500).astype(np.uint8)  # the ball of radius 14 mm
    lesions = benchmark(find_lesions, mask, layout.t2w, "t2w")
    assert len(lesions) == 1 and lesions[0].volume_ml == pytest.approx(4 / 3 * np.pi * 1.4**3, rel=0.15)
    assert np.array_equal(main_lesion(mask), mask)
