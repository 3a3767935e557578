import shutil
from pathlib import Path

import numpy as np
import pytest

from scanside.benchmarks.models import KINDS, NOTICE, make_bundle, make_model
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import InputError, OutputError, UsageError
from scanside.runtime.stages.resample import resampled_shape
from scanside.runtime.stages.slide import tiling
from tests.support.nnunet_files import predictor
from tests.support.phantoms import image


def test_nnunet_itself_loads_the_model_and_finds_every_label(model: Path) -> None:
    found = predictor(model, ("0",))
    mask = found.predict_single_npy_array(image((24, 40, 36)), {"spacing": [2.0, 1.0, 1.0]})
    shares = np.bincount(mask.ravel(), minlength=3) / mask.size
    assert shares[0] > 0.5 and (shares[1:] > 0.001).all()
    assert found.allowed_mirroring_axes == (0, 1, 2)


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, model: Path) -> None:
    make_model(tmp_path / "again", "tiny", seed=0)
    make_model(tmp_path / "other", "tiny", seed=1)
    first, again, other = (
        predictor(folder, ("0",)).network.state_dict()
        for folder in (model, tmp_path / "again", tmp_path / "other")
    )
    assert all((first[name] == again[name]).all() for name in first)
    assert any((first[name] != other[name]).any() for name in first)


def test_a_made_model_is_bundled_without_proof_and_says_so(tmp_path: Path, model: Path) -> None:
    make_bundle(model, tmp_path / "bundle", (), False, lambda _: None)
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest.golden == () and NOTICE in manifest.intended_use


def test_only_a_made_model_is_bundled_without_proof(tmp_path: Path, model: Path) -> None:
    trained = tmp_path / "trained"
    shutil.copytree(model, trained)
    description = trained / "dataset.json"
    description.write_text(description.read_text().replace("UNTRAINED", "Trained"))
    with pytest.raises(InputError, match="export nnunet"):
        make_bundle(trained, tmp_path / "bundle", (), False, lambda _: None)
    assert not (tmp_path / "bundle").exists()


def test_the_abdominal_series_has_36_tiles() -> None:
    kind = KINDS["abdomen-31m"]
    cropped, spacing = (
        (37, 470, 536),
        (8.0, 0.7813, 0.7813),
    )  # the series of the shared data, cropped to its box
    shape = resampled_shape(cropped, spacing, kind.spacing)
    assert tiling(shape, kind.patch, 0.5).count == 36


def test_refuses_an_unknown_kind_and_a_folder_that_exists(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model kind 'huge'; choose one of"):
        make_model(tmp_path / "model", "huge")
    with pytest.raises(OutputError, match="exists already"):
        make_model(tmp_path, "tiny")
