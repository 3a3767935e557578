"""A cohort as nnU-Net's dataset: the same grid, whole, and with names that nnU-Net can have."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.errors import InputError
from scanside.training.cohort.table import Cohort
from scanside.training.segmentation.dataset import write_dataset
from tests.support.dicom_factory import Grid, stored_values, write_series
from tests.training.segmentation.small import T2W, patient


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """One patient, T2WI as a DICOM series with oblique slices, its mask as NIfTI."""
    c, s = np.cos(0.3), np.sin(0.3)
    grid = Grid(orientation=(1.0, 0.0, 0.0, 0.0, c, s))
    write_series(tmp_path / "cohort" / "ann" / "t2w", stored_values(), grid)
    mask = sitk.GetImageFromArray(np.ones((5, 8, 6), np.uint8))
    sitk.WriteImage(mask, str(tmp_path / "cohort" / "ann" / "t2w_mask.nii.gz"))
    return Cohort(tmp_path / "cohort", "one", True, (patient("ann"),), {})


def test_dicom_becomes_nifti_on_the_same_grid(cohort: Cohort, tmp_path: Path) -> None:
    from scanside.runtime.dicom.read import read_series
    from scanside.runtime.images.read import read_image

    folder = write_dataset(cohort, cohort.patients, T2W, tmp_path / "raw")
    source, _ = read_series(cohort.path / "ann" / "t2w")
    written = read_image(folder / "imagesTr" / "ann_0000.nii.gz")
    np.testing.assert_array_equal(written.data, source.data)
    assert source.geometry.difference(written.geometry) is None
    label = folder / "labelsTr" / "ann.nii.gz"
    assert label.read_bytes() == cohort.mask("ann", "t2w").read_bytes()
    document = json.loads((folder / "dataset.json").read_text())
    assert document["channel_names"] == {"0": "t2w"} and document["numTraining"] == 1
    assert document["labels"] == {"background": 0, "lesion": 1} and "synthetic" in document["name"]


def test_what_an_interrupted_conversion_left_is_replaced(cohort: Cohort, tmp_path: Path) -> None:
    folder = write_dataset(cohort, cohort.patients, T2W, tmp_path / "raw")
    (folder / "imagesTr" / "gone_0000.nii.gz").touch()
    write_dataset(cohort, cohort.patients, T2W, tmp_path / "raw")
    assert [file.name for file in (folder / "imagesTr").iterdir()] == ["ann_0000.nii.gz"]


def test_names_and_files_that_nnunet_cannot_have(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ends in '_seg'"):
        write_dataset(cohort, [patient("ann_seg")], T2W, tmp_path / "raw")
    with pytest.raises(InputError, match=r"Patient ben lacks .*t2w\.nii\.gz"):
        write_dataset(cohort, [patient("ben")], T2W, tmp_path / "raw")
