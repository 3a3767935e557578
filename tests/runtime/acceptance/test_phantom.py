"""The geometry phantom is what it says, and its bundle is what its script makes."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from scanside.export.geometry_bundle import write_geometry_bundle
from scanside.runtime.acceptance import phantom
from scanside.runtime.acceptance.run import GEOMETRY_BUNDLE
from scanside.runtime.dicom.phantom_study import StudyNames, write_phantom_study
from scanside.runtime.volume import Geometry, Volume

GRIDS = [phantom.T2W, phantom.DWI]


@pytest.mark.parametrize("grid", GRIDS, ids=["t2w", "dwi"])
def test_voxels_agree_with_the_formulas(grid: Geometry) -> None:
    mask = phantom.meant(grid)
    sizes = [int((mask == number).sum()) for number in range(1, len(phantom.BODIES) + 1)]
    assert sizes == sorted(sizes, reverse=True), "lesions are numbered by size"
    for number, (body, size) in enumerate(zip(phantom.BODIES, sizes, strict=True), 1):
        assert size * grid.voxel_volume_ml == pytest.approx(body.volume_ml, rel=phantom.VOLUME_TOLERANCE / 2)
        centre = phantom.points(grid)[mask == number].mean(axis=0)
        assert np.linalg.norm(centre - body.centre) < phantom.PLACE_TOLERANCE_MM / 2


@pytest.mark.parametrize("grid", GRIDS, ids=["t2w", "dwi"])
def test_every_flip_and_turn_shows(grid: Geometry) -> None:
    mask = phantom.meant(grid)
    for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        assert (np.flip(mask, axes) != mask).sum() > mask.astype(bool).sum() / 2, axes


def test_itk_reads_the_images_where_they_are(tmp_path: Path) -> None:
    """The files against SimpleITK, which shares no code with the reader of the product."""
    made = phantom.images()["t2w"]
    write_phantom_study({"t2w": made}, {}, StudyNames(("itk",), datetime(2026, 1, 1)), tmp_path)
    files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    image = sitk.ReadImage(files)
    assert np.array_equal(sitk.GetArrayFromImage(image), made.data[0].astype(np.int32))
    grid = made.geometry
    assert image.GetOrigin() == pytest.approx(grid.origin, abs=1e-6)
    assert image.GetSpacing() == pytest.approx(grid.spacing[::-1], abs=1e-6)
    assert image.GetDirection() == pytest.approx(grid.direction, abs=1e-6)


def test_values_that_are_not_whole_are_kept_by_slope_and_intercept(tmp_path: Path) -> None:
    data = np.linspace(-3.0, 7.5, 4 * 6 * 5, dtype=np.float32).reshape(1, 4, 6, 5)
    (first, *_) = write_phantom_study(
        {"adc": Volume(data, Geometry((4, 6, 5), (3.0, 2.0, 1.0)))},
        {},
        StudyNames(("x",), datetime(2026, 1, 1)),
        tmp_path,
    )
    read = pydicom.dcmread(first)
    back = read.pixel_array * float(read.RescaleSlope) + float(read.RescaleIntercept)
    assert back == pytest.approx(data[0, 0], abs=10.5 / 60000)
    assert "NO PATIENT" in read.PatientComments and read.PatientName == "SCANSIDE^ACCEPTANCE"


def test_the_bundle_is_what_its_script_makes(tmp_path: Path) -> None:
    made = write_geometry_bundle(tmp_path / "made.bundle")
    for file in sorted(path for path in made.rglob("*") if path.is_file()):
        assert (GEOMETRY_BUNDLE / file.relative_to(made)).read_bytes() == file.read_bytes(), file.name
