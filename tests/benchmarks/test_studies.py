"""The phantoms that benchmarks take where nobody names a study."""

from importlib.resources import files
from pathlib import Path

import pytest

from scanside.benchmarks.stream import Stream
from scanside.benchmarks.studies import PHANTOM_SEED, SIZES, phantom_studies
from scanside.runtime.options import Options
from scanside.runtime.study.read import read_study


@pytest.fixture(scope="module")
def demonstration() -> Stream:
    bundle = Path(str(files("scanside.training").joinpath("data", "pancreas-phantom.bundle")))
    return Stream(bundle, Options(device="openvino"))


@pytest.mark.parametrize(
    "size", [pytest.param(size, marks=[] if size == "typical" else [pytest.mark.slow]) for size in SIZES]
)
def test_radiomics_and_classifier_are_measured_too(demonstration: Stream, size: str, tmp_path: Path) -> None:
    """A new bundle once missed the default phantom's lesion, and half of `make bench` failed."""
    (study,) = phantom_studies(tmp_path, [size], PHANTOM_SEED)
    runner = demonstration.runner
    result = runner.run(read_study(study.path, runner.recipe.needed))
    assert result.features is not None
    assert all(feature.value is not None for feature in result.features.values())
    assert result.classification is not None and result.classification.probability is not None
