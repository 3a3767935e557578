"""Masks as DICOM Segmentations: every voxel lies where it lay, whatever the series looks like."""

from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from scanside.runtime.dicom.read import read_frames, read_series
from scanside.runtime.dicom.readback import check_seg
from scanside.runtime.dicom.seg import SegOptions, numbered_segments, write_seg
from scanside.runtime.dicom.series import DicomSeries
from scanside.runtime.dicom.study import index_study
from scanside.runtime.dicom.uids import derived_uid
from scanside.runtime.errors import OutputError
from tests.runtime.dicom.segs import BUNDLE, LABELS, mask_on, write
from tests.support.dciodvfy import errors_of
from tests.support.dicom_factory import Grid, enhanced, save, stored_values, write_series
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.requirement("objects")

OBLIQUE = tuple(np.round(Rotation.from_euler("xyz", (20, -35, 60), True).as_matrix()[:, :2].T.ravel(), 9))


def values_at(segmentation: highdicom.seg.Segmentation, shape: tuple[int, ...], grid: object) -> np.ndarray:
    """The mask again, each voxel looked up by its place in the patient."""
    read = segmentation.get_volume(combine_segments=True, relabel=False)
    mask = np.zeros(shape, np.uint8)
    number_to_value = np.array([0, *sorted(LABELS.values())])
    for index in np.argwhere(read.array):
        place = read.affine @ np.append(index, 1)
        x, y, z = np.linalg.inv(grid.direction_matrix) @ (place[:3] - grid.origin) / grid.spacing[::-1]
        nearest = np.rint((z, y, x)).astype(int)
        assert np.abs(nearest - (z, y, x)).max() < 2e-3
        mask[tuple(nearest)] = number_to_value[read.array[tuple(index)]]
    return mask


def centroid(mask: np.ndarray, geometry: object) -> np.ndarray:
    index = np.argwhere(mask).mean(axis=0)[::-1]
    return geometry.origin + geometry.direction_matrix @ (index * geometry.spacing[::-1])


def assert_recovered(mask: np.ndarray, folder: Path, path: Path) -> highdicom.seg.Segmentation:
    volume, series = read_series(folder)
    segmentation = write(mask, series, path)
    geometry = volume.geometry
    np.testing.assert_array_equal(values_at(segmentation, mask.shape, geometry), mask)
    read = segmentation.get_volume(combine_segments=True)
    place = read.affine @ np.append(np.argwhere(read.array).mean(axis=0), 1)
    assert np.linalg.norm(place[:3] - centroid(mask, geometry)) < 0.01
    assert segmentation.segment_numbers == [1, 2, 3]
    return segmentation


@pytest.mark.parametrize("order", [range(6), [3, 5, 0, 2, 4, 1]])
def test_classic_series(tmp_path: Path, order: list[int]) -> None:
    stored = stored_values((6, 8, 6))
    folder = write_series(tmp_path / "in", stored, Grid(OBLIQUE), order)
    segmentation = assert_recovered(mask_on((6, 8, 6)), folder, tmp_path / "seg.dcm")
    assert len(segmentation.SourceImageSequence) == 6
    # every frame names the very slice it lies on
    _, series = read_series(folder)
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        header = next(h for h in series.headers if source == h.SOPInstanceUID)
        assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == list(header.ImagePositionPatient)


@pytest.mark.parametrize("shared_plane", [True, False])
@pytest.mark.parametrize("order", [range(6), [3, 5, 0, 2, 4, 1]])
def test_multi_frame(tmp_path: Path, order: list[int], shared_plane: bool) -> None:
    path = save(enhanced(stored_values((6, 8, 6)), Grid(OBLIQUE), order, shared_plane), tmp_path / "mf.dcm")
    before = path.read_bytes()
    segmentation = assert_recovered(mask_on((6, 8, 6)), path, tmp_path / "seg.dcm")
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0]
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        z = list(order)[source.ReferencedFrameNumber - 1]
        np.testing.assert_allclose(position, Grid(OBLIQUE).position(z), atol=1e-6)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "folder",
    [
        "abdomen_scan_002_adc",
        "prostatex_0000/4.000000-t2tsetra-00702",
        "qin_prostate_adc_seg/ADC",
        "siemens_xa30_enhanced/9_gre_field_mapping",
        "siemens_xa30_enhanced/11_DWI_dir80_PA",
        "abdomen_siemens_overlay",
    ],
)
def test_real_series(tmp_path: Path, folder: str) -> None:
    path = shared_data("dicom", *folder.split("/"))
    volume, _ = read_series(path)
    mask = mask_on(volume.geometry.shape)
    segmentation = assert_recovered(mask, path, tmp_path / "seg.dcm")
    assert errors_of(tmp_path / "seg.dcm") == []
    assert segmentation.StudyInstanceUID == read_series(path)[1].study_instance_uid


@pytest.fixture
def series(tmp_path: Path) -> DicomSeries:
    return read_series(write_series(tmp_path / "in", stored_values((6, 8, 6))))[1]


def test_empty_mask_is_a_valid_object(
    tmp_path: Path, series: DicomSeries, caplog: pytest.LogCaptureFixture
) -> None:
    segmentation = write(np.zeros((6, 8, 6), np.uint8), series, tmp_path / "seg.dcm")
    assert segmentation.number_of_segments == 3
    assert segmentation.NumberOfFrames == 18
    assert not segmentation.pixel_array.any()
    assert not caplog.records
    assert errors_of(tmp_path / "seg.dcm") == []


def test_what_it_says(tmp_path: Path, series: DicomSeries) -> None:
    segmentation = write(mask_on((6, 8, 6)), series, tmp_path / "seg.dcm")
    assert "RESEARCH USE ONLY" in segmentation.SeriesDescription
    assert segmentation.SegmentationType == "BINARY"
    assert segmentation.SeriesNumber == 9007
    assert segmentation.FrameOfReferenceUID == series.headers[0].FrameOfReferenceUID
    assert segmentation.SeriesInstanceUID != series.series_instance_uid
    first, second, third = segmentation.SegmentSequence
    assert [s.SegmentLabel for s in (first, second, third)] == ["pancreas", "tumor", "Größe"]
    assert {s.SegmentAlgorithmType for s in segmentation.SegmentSequence} == {"AUTOMATIC"}
    assert first.SegmentedPropertyTypeCodeSequence[0].CodeValue == "15776009"
    assert second.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Neoplasm"
    assert third.SegmentedPropertyTypeCodeSequence[0].CodeValue == "85756007"
    algorithm = first.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("pancreas-t2", "1.2.0")
    assert BUNDLE in algorithm.AlgorithmParameters
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert (measures.SpacingBetweenSlices, measures.SliceThickness) == (3, 2.5)


def uids(segmentation: highdicom.seg.Segmentation) -> set[str]:
    return {element.value for element in segmentation.iterall() if element.VR == "UI"}


def test_same_study_and_bundle_give_the_same_uids(tmp_path: Path, series: DicomSeries) -> None:
    mask = mask_on((6, 8, 6))
    first = write(mask, series, tmp_path / "1.dcm")
    assert uids(write(mask, series, tmp_path / "2.dcm")) == uids(first)
    other = write(mask, series, tmp_path / "3.dcm", sha256="cd" * 32)
    assert other.SOPInstanceUID != first.SOPInstanceUID
    assert other.SeriesInstanceUID != first.SeriesInstanceUID
    assert all(len(uid) <= 64 for uid in uids(first))


def test_derived_uid_is_stable() -> None:
    assert derived_uid("a", "b") == derived_uid("a", "b") != derived_uid("b", "a")
    assert derived_uid("seg", "1.2.3") == "2.25.128713730201598430592801809541311806033"


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_source_without_needed_uid(tmp_path: Path, keyword: str) -> None:
    folder = write_series(tmp_path / "in", stored_values(), change=lambda _, ds: delattr(ds, keyword))
    with pytest.raises(OutputError) as caught:
        write(mask_on((5, 8, 6)), read_series(folder)[1], tmp_path / "seg.dcm")
    assert_one_sentence(str(caught.value), keyword, str(folder), ".nii.gz")
    assert not (tmp_path / "seg.dcm").exists()


def test_value_without_label(tmp_path: Path, series: DicomSeries) -> None:
    mask = mask_on((6, 8, 6))
    mask[0, 0, 0] = 9
    with pytest.raises(OutputError) as caught:
        write(mask, series, tmp_path / "seg.dcm")
    assert_one_sentence(str(caught.value), "[9]")


def test_wrong_shape_is_a_programming_error(tmp_path: Path, series: DicomSeries) -> None:
    with pytest.raises(ValueError, match="grid"):
        write(np.zeros((6, 8, 7), np.uint8), series, tmp_path / "seg.dcm")


def test_headers_are_left_as_they_were(tmp_path: Path, series: DicomSeries) -> None:
    before = [header.to_json() for header in series.headers]
    write(mask_on((6, 8, 6)), series, tmp_path / "seg.dcm")
    assert [header.to_json() for header in series.headers] == before


def test_volume_of_one_b_value_in_an_object_that_holds_two(tmp_path: Path) -> None:
    """As Siemens XA and Philips store diffusion: every other frame belongs to the volume."""
    grid, stored = Grid(OBLIQUE), stored_values((12, 8, 6))
    dataset = enhanced(stored, grid, range(12), True)
    for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.PlanePositionSequence[0].ImagePositionPatient = [
            round(float(v), 9) for v in grid.position(index // 2)
        ]
        diffusion = Dataset()
        diffusion.DiffusionBValue = 50.0 if index % 2 else 800.0
        group.MRDiffusionSequence = [diffusion]
    path = save(dataset, tmp_path / "mf.dcm")
    (high,) = [volume for volume in index_study(path).volumes if volume.b and volume.b.nominal == 800]
    volume, series = read_frames(list(high.frames), path)
    mask = mask_on((6, 8, 6))
    segmentation = write(mask, series, tmp_path / "seg.dcm")
    np.testing.assert_array_equal(values_at(segmentation, mask.shape, volume.geometry), mask)
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        number = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        assert number % 2 == 1
        z = grid.position((number - 1) // 2)
        np.testing.assert_allclose(frame.PlanePositionSequence[0].ImagePositionPatient, z, atol=1e-6)


def test_labelmap_is_the_same_mask_in_another_object(tmp_path: Path, series: DicomSeries) -> None:
    mask = mask_on((6, 8, 6))
    made = {}
    for encoding in ("BINARY", "LABELMAP"):
        options = SegOptions(encoding, region=("15776009", "SCT", "Pancreas"), tracking="t2w")
        path = tmp_path / f"{encoding}.dcm"
        write_seg(mask, LABELS, series, path, algorithm_name="a", algorithm_version="1",
                  bundle_sha256=BUNDLE, options=options)  # fmt: skip
        made[encoding] = highdicom.seg.segread(path)
        check_seg(path, numbered_segments(mask, LABELS), series.geometry)
        assert errors_of(path) == []
    binary, labelmap = made["BINARY"], made["LABELMAP"]
    assert labelmap.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    assert binary.SOPInstanceUID != labelmap.SOPInstanceUID
    described = [
        segment for segment in labelmap.SegmentSequence if segment.SegmentNumber
    ]  # 0 is the background
    for segment, same in zip(binary.SegmentSequence, described, strict=True):
        assert (segment.TrackingUID, segment.TrackingID) == (same.TrackingUID, same.TrackingID)
    assert [s.TrackingID for s in binary.SegmentSequence] == ["t2w pancreas", "t2w tumor", "t2w Größe"]
    # The region is where an abnormality lies: not said of an organ, nor of what nobody knows.
    regions = [s.get("AnatomicRegionSequence") for s in binary.SegmentSequence]
    assert [bool(region) for region in regions] == [False, True, False]
    assert regions[1][0].CodeMeaning == "Pancreas"


def test_a_second_run_gives_the_same_bytes(tmp_path: Path, series: DicomSeries) -> None:
    for name in ("1.dcm", "2.dcm"):
        write(mask_on((6, 8, 6)), series, tmp_path / name)
    assert (tmp_path / "1.dcm").read_bytes() == (tmp_path / "2.dcm").read_bytes()
    assert highdicom.seg.segread(tmp_path / "1.dcm").ContentDate == "20260101"  # what the source says


def test_a_distance_that_was_computed_fits_its_representation(tmp_path: Path) -> None:
    """DS has 16 characters; a Philips multi-frame object gave 4.000000001506646."""
    file = save(enhanced(stored_values((6, 8, 6)), Grid(), range(6), True), tmp_path / "mf.dcm")
    series = read_series(file)[1]
    spacing = (4.000000001506646, *series.geometry.spacing[1:])
    odd = replace(series, geometry=replace(series.geometry, spacing=spacing))
    path = tmp_path / "seg.dcm"
    write(mask_on(series.geometry.shape), odd, path)
    assert errors_of(path) == []
    shared = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert shared.SpacingBetweenSlices == pytest.approx(spacing[0], abs=1e-12)
