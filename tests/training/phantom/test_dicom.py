"""A phantom study as DICOM: read back by the runtime, exactly, in every vendor's dialect."""

from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from scanside.runtime.dicom.read import read_series
from scanside.runtime.errors import OutputError
from scanside.runtime.study.read import read_study
from scanside.training.phantom.dicom import write_cohort_series, write_dicom_study
from scanside.training.phantom.scanners import SCANNERS, Scanner, scanner_named
from scanside.training.phantom.study import SYNTHETIC, PhantomStudy, make_study
from tests.support.sentences import assert_one_sentence

ONE_OF_EACH = tuple(scanner_named(name) for name in ("alpha-1t5", "beta-3t", "gamma-3t", "delta-3t"))


@cache
def study(scanner: Scanner) -> PhantomStudy:
    return make_study(4, 11, scanner=scanner, small=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("dicom")
    return {
        scanner.vendor: write_dicom_study(study(scanner), root / scanner.vendor) for scanner in ONE_OF_EACH
    }


def objects(folder: Path) -> list[Dataset]:
    return [pydicom.dcmread(file) for file in sorted(folder.rglob("*.dcm"))]


def of(found: list[Dataset], series: int, b: float | None = None) -> Dataset:
    """An object of a series (with this b-value in any of the vendors' places)."""
    places = ((0x0019, 0x100C), (0x0018, 0x9087), (0x0065, 0x100A))
    chosen = [
        o
        for o in found
        if o.SeriesNumber == series and (b is None or any(p in o and float(o[p].value) == b for p in places))
    ]
    return chosen[0]


@pytest.mark.parametrize("scanner", ONE_OF_EACH, ids=lambda scanner: scanner.vendor)
def test_the_runtime_reads_the_very_images(scanner: Scanner, written: dict[str, Path]) -> None:
    made = study(scanner)
    read = read_study(written[scanner.vendor], ("t2w", "dwi", "b0", "adc"))
    assert not read.warnings
    for name, volume in made.images.items():
        assert np.array_equal(read.images[name].volume.data, volume.data), name
        assert read.images[name].volume.geometry.difference(volume.geometry) is None
    assert (read.images["b0"].b, read.images["dwi"].b) == scanner.dwi.b_actual


def test_every_object_says_that_it_is_synthetic(written: dict[str, Path]) -> None:
    for folder in written.values():
        for found in objects(folder):
            assert found.ImageComments == SYNTHETIC == found.PatientComments
            assert str(found.PatientName).startswith("PHANTOM^")
            assert found.PatientID.startswith("PHANTOM-")
            assert "phantom" in found.ManufacturerModelName
            assert found.BurnedInAnnotation == "NO"
            assert found.PatientBirthDate == ""


def test_uids_are_unique_valid_and_deterministic(written: dict[str, Path], tmp_path: Path) -> None:
    for folder in written.values():
        found = objects(folder)
        uids = [o.SOPInstanceUID for o in found]
        assert len(set(uids)) == len(uids)
        assert all(uid.is_valid for uid in uids)
        assert len({o.StudyInstanceUID for o in found}) == len({o.FrameOfReferenceUID for o in found}) == 1
        assert len({o.SeriesInstanceUID for o in found}) == 3
    again = write_dicom_study(study(ONE_OF_EACH[0]), tmp_path / "again")
    first = written[ONE_OF_EACH[0].vendor]
    names = sorted(file.relative_to(first) for file in first.rglob("*.dcm"))
    assert names == sorted(file.relative_to(again) for file in again.rglob("*.dcm"))
    assert all((first / name).read_bytes() == (again / name).read_bytes() for name in names)
    other = objects(write_dicom_study(study(SCANNERS[0]), tmp_path / "other"))[0]
    assert other.StudyInstanceUID != objects(first)[0].StudyInstanceUID


def test_the_acquisition_stands_in_the_header(written: dict[str, Path]) -> None:
    for scanner in ONE_OF_EACH:
        found = objects(written[scanner.vendor])
        t2w, dwi = of(found, 3), of(found, 5)
        assert (float(t2w.EchoTime), float(t2w.RepetitionTime)) == (scanner.t2w.te, scanner.t2w.tr)
        assert (float(dwi.EchoTime), float(dwi.RepetitionTime)) == (scanner.dwi.te, scanner.dwi.tr)
        assert float(t2w.MagneticFieldStrength) == scanner.field_t
        assert t2w.ScanningSequence == "SE"
        assert list(dwi.ScanningSequence) == ["EP", "SE"]
        assert float(dwi.SliceThickness) == scanner.dwi.thickness
        assert dwi.SOPClassUID.name == "MR Image Storage"


def test_siemens_has_its_b_value_in_private_tags_alone(written: dict[str, Path]) -> None:
    found = objects(written["siemens"])
    high = of(found, 5, 800)
    assert high[0x0019, 0x0010].value == "SIEMENS MR HEADER"
    assert high.SequenceName == "*ep_b800t"
    assert of(found, 7).SequenceName == "*ep_b50_800"
    assert not any("DiffusionBValue" in o for o in found)


def test_ge_writes_its_b_value_on_every_series_with_the_flag(written: dict[str, Path]) -> None:
    found = objects(written["ge"])
    assert all(o[0x0043, 0x0010].value == "GEMS_PARM_01" for o in found)
    firsts = {(o.SeriesNumber, int(o[0x0043, 0x1039].value[0])) for o in found}
    assert firsts == {(3, 0), (5, 0), (5, 1_000_000_800), (7, 0)}


def test_philips_scales_and_shuffles(written: dict[str, Path]) -> None:
    found = objects(written["philips"])
    assert all(float(o.RescaleSlope) == 0.25 and (0x2005, 0x100E) in o for o in found)
    assert {(o.SeriesNumber, float(o[0x2001, 0x1003].value)) for o in found} == {
        (3, 0.0), (5, 0.0), (5, 800.0), (7, 0.0),
    }  # fmt: skip
    order = sorted((int(o.InstanceNumber), float(o.SliceLocation)) for o in found if o.SeriesNumber == 3)
    heights = [height for _, height in order]
    assert heights not in (sorted(heights), sorted(heights, reverse=True))
    assert of(found, 5, 800).DiffusionBValue == 800.0


def test_uih_writes_what_was_applied_beside_what_was_prescribed(written: dict[str, Path]) -> None:
    high = of(objects(written["uih"]), 5, 800)
    assert (high[0x0065, 0x1009].value, high[0x0065, 0x100A].value) == (793.5, 800.0)


def test_a_cohort_has_a_series_a_sequence(tmp_path: Path) -> None:
    for scanner in ONE_OF_EACH[:3:2]:
        made = study(scanner)
        write_cohort_series(made, tmp_path / scanner.vendor)
        for name, volume in made.images.items():
            read, _ = read_series(tmp_path / scanner.vendor / name)
            assert np.array_equal(read.data, volume.data)


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError) as caught:
        write_dicom_study(study(ONE_OF_EACH[0]), tmp_path)
    assert_one_sentence(str(caught.value))
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
