"""With PyTorch as the network, the runtime's stages give nnunetv2's bits: preprocessed data, logits and labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scanside.export.reference import Reference
from scanside.runtime.plan import Plan
from scanside.runtime.stages.crop import crop
from scanside.runtime.stages.normalise import normalise
from scanside.runtime.stages.previous import one_hot
from scanside.runtime.stages.resample import resample_image, resampled_shape, target_spacing
from scanside.runtime.volume import Volume
from tests.support.phantoms import volume
from tests.support.tiny_models import REGION_LABELS, Tiny, write_cascade, write_model
from tests.support.torch_segmenter import bits, load, torch_segmenter

THICK = (4.0, 1.0, 1.2)
ZSCORE = "ZScoreNormalization"
REGIONS: dict[str, Any] = {"labels": REGION_LABELS, "regions_class_order": (1, 2, 3)}
SMALL, LARGE = (9, 15, 30), (24, 38, 33)


@dataclass(frozen=True)
class Row:
    tiny: Tiny
    spacing: tuple[float, float, float] = (1.9, 0.9, 1.0)
    cascade: bool = False


ROWS = {
    "plain": Row(Tiny(mirror=(0, 1, 2))),
    "residual encoder": Row(Tiny(architecture="residual")),
    "two folds": Row(Tiny(folds=("0", "1"))),
    "three folds": Row(Tiny(folds=("0", "1", "2"))),
    "two channels, CT and mask": Row(Tiny(normalization=("CTNormalization", ZSCORE), use_mask=(True, True))),
    "rescaled and none": Row(Tiny(normalization=("RescaleTo01Normalization", "NoNormalization"))),
    "transposed 2 0 1": Row(Tiny(transpose=(2, 0, 1), use_mask=(True,))),
    "transposed 1 2 0": Row(Tiny(transpose=(1, 2, 0))),
    "transposed 0 2 1": Row(Tiny(transpose=(0, 2, 1))),
    "apart along 0": Row(Tiny(spacing=THICK), (5.0, 0.9, 1.0)),
    "apart along 1": Row(Tiny(spacing=(1.2, 4.0, 1.0)), (0.9, 5.0, 1.0)),
    "apart along 2": Row(Tiny(spacing=(1.0, 1.2, 4.0)), (0.9, 1.0, 5.0)),
    "apart along 0, transposed": Row(Tiny(spacing=THICK, transpose=(2, 0, 1)), (0.9, 1.0, 5.0)),
    "apart, same slices": Row(Tiny(spacing=THICK), (4.0, 0.9, 1.0)),
    "regions": Row(Tiny(**REGIONS)),
    "regions, apart": Row(Tiny(**REGIONS, spacing=THICK), (5.0, 0.9, 1.0)),
    "ignore label": Row(Tiny(labels={"background": 0, "near": 1, "far": 2, "ignore": 3})),
    "logits of order 3": Row(Tiny(probabilities={"order": 3})),
    "logits of order 0": Row(Tiny(probabilities={"order": 0})),
    "no mirroring": Row(Tiny(mirror=None)),
    "mirror 0 2": Row(Tiny(mirror=(0, 2))),
    "batch normalisation": Row(Tiny(trainer="nnUNetTrainerBN")),
    "2d": Row(Tiny(patch=(32, 24), spacing=(1.0, 1.2), mirror=(0, 1)), (3.0, 0.9, 1.0)),
    "2d, transposed, regions": Row(
        Tiny(patch=(32, 24), spacing=(1.0, 1.2), mirror=(0,), transpose=(1, 0, 2), **REGIONS), (0.9, 4.0, 1.0)
    ),
    "cascade": Row(Tiny(), cascade=True),
    "cascade, masked, two folds": Row(Tiny(use_mask=(True,), folds=("0", "1")), cascade=True),
    "cascade, apart": Row(Tiny(spacing=THICK, transpose=(2, 0, 1)), (0.9, 1.0, 5.0), cascade=True),
    "cascade of regions": Row(Tiny(**REGIONS), cascade=True),
}


@pytest.mark.parametrize("shape", [LARGE, SMALL], ids=["large", "small"])
@pytest.mark.parametrize("name", ROWS)
def test_every_bit(name: str, shape: tuple[int, int, int], tmp_path: Path) -> None:
    row = ROWS[name]
    paths = write_cascade(tmp_path, row.tiny) if row.cascade else (write_model(tmp_path, row.tiny),)
    image = volume(shape, row.spacing, channels=len(row.tiny.normalization), seed=3)
    labels = None
    for path in paths:
        folder, plan, network = load(path)
        reference = Reference(folder, network, plan)
        expected, _ = reference.preprocess(image.data, image.geometry.spacing, labels)
        np.testing.assert_array_equal(bits(_preprocessed(image, plan, labels)), bits(expected))
        prediction = reference.predict(image.data, image.geometry.spacing, labels)
        labels = prediction.labels
    with torch_segmenter(paths, tmp_path) as segmenter:
        result = segmenter.segment(image, logits=True)
    assert result.logits is not None
    np.testing.assert_array_equal(bits(result.logits), bits(prediction.logits))
    np.testing.assert_array_equal(result.mask, prediction.labels)
    assert len(np.unique(prediction.labels)) >= (3 if shape == LARGE else 2)


def _preprocessed(image: Volume, plan: Plan, labels: np.ndarray | None) -> np.ndarray:
    cropped = crop(image, plan, labels)
    data = normalise(cropped, plan)
    target = target_spacing(plan, cropped.spacing)
    shape = resampled_shape(data.shape[1:], cropped.spacing, target)
    data = resample_image(data, shape, cropped.spacing, target, plan.resampling_data)
    if cropped.previous is not None:
        data = np.concatenate([data, one_hot(cropped.previous, shape, cropped.spacing, target, plan)])
    return np.ascontiguousarray(data)


def test_probabilities(tmp_path: Path) -> None:
    """Softmax probabilities of the whole image, zero outside the box but for background."""
    path = write_model(tmp_path, Tiny(transpose=(2, 0, 1)))
    image = volume(LARGE, (1.9, 0.9, 1.0), seed=3)
    folder, plan, network = load(path)
    predictor = Reference(folder, network, plan).predictor
    properties = {"spacing": list(image.geometry.spacing)}
    mask, expected = predictor.predict_single_npy_array(
        image.data, properties, save_or_return_probabilities=True
    )
    with torch_segmenter([path], tmp_path) as segmenter:
        result = segmenter.segment(image, probabilities=True)
    assert result.probabilities is not None
    np.testing.assert_allclose(result.probabilities, expected, atol=1e-6)
    np.testing.assert_array_equal(result.mask, mask)
