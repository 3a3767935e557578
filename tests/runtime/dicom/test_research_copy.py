"""Research copies of whole studies: every vendor's files, and the same series are chosen from the copy."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from scanside.runtime.dicom.deidentify import MR_IMAGES, Secret
from scanside.runtime.dicom.header import read_instance
from scanside.runtime.dicom.research_copy import _choices, copy_study
from scanside.runtime.dicom.study import index_study
from scanside.runtime.errors import InputError, OutputError
from tests.support.dciodvfy import errors_of
from tests.support.dicom_factory import Grid, save, slice_of, stored_values, write_series
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.requirement("deidentified")

SECRET = Secret(bytes(range(32)))
VENDORS = (
    "abdomen_scan_002_t2", "abdomen_scan_002_adc", "abdomen_siemens_overlay", "ge_dwi_r2", "headers_dicom2nifti",
    "philips_abdomen_dwi_phantom", "philips_dwi_multib", "philips_enhanced_fieldmap", "prostatex_0000",
    "qin_prostate_adc_seg", "siemens_xa30_enhanced",
)  # fmt: skip
TELLING = re.compile(
    r"Name$|Names$|^PatientID$|Birth|Institution|Station|AccessionNumber|Physician|Operator|Address|SerialNumber|"
    r"Comments|UID$|Date$|DateTime$|Telephone|Military|Occupation|RequestedProcedure|DeviceID"
)
TECHNICAL = re.compile(
    r"CoilName|SequenceName|ModelName|SOPClassUID|TransferSyntax|ProtocolName|ManufacturerName|ElementName"
)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """A vendor's folder and its copy, made once."""

    @cache
    def make(vendor: str) -> tuple[Path, Path]:
        source, out = shared_data("dicom", vendor), tmp_path_factory.mktemp("copies") / vendor
        assert copy_study(source, out, SECRET).warnings == ()
        return source, out

    return make


@cache
def pairs(source: Path, out: Path) -> list[tuple[Path, Path]]:
    """Each MR image and its copy; one in eight where there are many."""
    images = [path for path in sorted(source.rglob("*")) if path.is_file() and path.suffix != ".md"]
    headers = [(path, read_instance(path).header) for path in images]
    found = [
        (path, out / SECRET.uid(header.SeriesInstanceUID) / f"{SECRET.uid(header.SOPInstanceUID)}.dcm")
        for path, header in headers
        if header.SOPClassUID in MR_IMAGES
    ]
    assert sorted(out.rglob("*.dcm")) == sorted(copy for _, copy in found)
    return found if len(found) < 20 else found[::8]


def public(dataset: Dataset) -> Iterator[DataElement]:
    """Every standard attribute, at every depth."""
    for tag in list(dataset.keys()):
        if not tag.is_private:
            element = dataset[tag]
            yield element
            for item in element.value if element.VR == "SQ" else ():
                yield from public(item)


def values(dataset: Dataset) -> set[str]:
    """What could tell who it is, of attributes whose name says so."""
    found = set()
    for element in public(dataset):
        telling = TELLING.search(element.keyword) and not TECHNICAL.search(element.keyword)
        if not telling or element.VR not in ("PN", "LO", "SH", "ST", "LT", "UI", "DA", "DT", "CS"):
            continue
        for value in element.value if element.VM > 1 else [element.value]:
            text = str(value).strip()
            if len(text) >= 5 and not text.startswith("1.2.840.10008.") and text.lower() != "anonymous":
                found.add(text)
    return found


Copies = Callable[[str], tuple[Path, Path]]


@pytest.mark.parametrize("vendor", VENDORS)
def test_nothing_that_tells_is_left_in_a_vendors_files(vendor: str, copies: Copies) -> None:
    for source, copied in pairs(*copies(vendor)):
        header = read_instance(source).header
        kept = {str(header.get(keyword)) for keyword in ("SequenceName", "SeriesDescription", "SeriesNumber")}
        written = copied.read_bytes()
        written = written[: max(written.find(b"\xe0\x7f\x10\x00"), 0) or None]
        left = [text for text in values(header) - kept if text.encode("latin-1", "ignore") in written]
        assert not left, source
        assert not [e.tag for e in read_instance(copied).header.iterall() if e.tag.is_private]


@pytest.mark.parametrize("vendor", VENDORS)
def test_pixels_and_geometry_are_those_of_before(vendor: str, copies: Copies) -> None:
    source, copied = pairs(*copies(vendor))[0]
    before, after = pydicom.dcmread(source), pydicom.dcmread(copied)
    assert after.PixelData == before.PixelData
    for keyword in (
        "Rows", "Columns", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "EchoTime",
        "RepetitionTime", "RescaleSlope", "ImageType", "Manufacturer", "SeriesNumber",
    ):  # fmt: skip
        assert after.get(keyword) == before.get(keyword)


@pytest.mark.parametrize("vendor", VENDORS)
def test_the_same_series_are_chosen_from_the_copy(vendor: str, copies: Copies) -> None:
    source, out = copies(vendor)
    try:
        before = index_study(source)
    except InputError:
        pytest.skip("NOT TESTED: these files are not one study")
    after = index_study(out)
    assert _choices(after) == _choices(before)
    assert [v.b and v.b.nominal for v in after.volumes] == [v.b and v.b.nominal for v in before.volumes]


@pytest.mark.parametrize("vendor", VENDORS)
def test_dciodvfy_finds_no_new_errors(vendor: str, copies: Copies) -> None:
    found = {source.parent: (source, copied) for source, copied in pairs(*copies(vendor))}
    for source, copied in found.values():
        before, after = ({re.sub(r"\d+", "", line) for line in errors_of(path)} for path in (source, copied))
        assert after <= before, after - before


def test_a_study_is_copied_whole_or_not_at_all(tmp_path: Path) -> None:
    study = write_series(tmp_path / "study", stored_values())
    report = slice_of(stored_values(), 0, Grid())
    report.SOPClassUID, report.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.7"
    save(report, study / "capture.dcm")
    (study / "notes.txt").write_text("Doe")
    found = copy_study(study, tmp_path / "copy", SECRET)
    assert len(found.written) == 5 and found.left_out == {"is no MR image": 1}
    assert {path.parent.name for path in found.written} == {SECRET.uid("1.2.826.0.1.3680043.8.498.1.2")}
    with pytest.raises(OutputError, match="exists"):
        copy_study(study, tmp_path / "copy", SECRET)

    def refuse(count: int) -> None:
        raise InputError("The store cannot be written; try again.")

    with pytest.raises(InputError):
        copy_study(study, tmp_path / "other", SECRET, before=refuse)
    (study / "capture.dcm").write_bytes((study / "IM0000.dcm").read_bytes()[:400])
    with pytest.raises(InputError):
        copy_study(study, tmp_path / "other", SECRET)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "study"]


def test_a_description_that_loses_a_telling_word_is_warned_about(tmp_path: Path) -> None:
    def change(z: int, dataset: Dataset) -> None:
        dataset.SeriesDescription = "MyT2Sequence"
        dataset.EchoTime, dataset.ScanningSequence = None, "SE"

    study = write_series(tmp_path / "study", stored_values((6, 8, 6)), change=change)
    found = copy_study(study, tmp_path / "copy", SECRET)
    assert len(found.warnings) == 1 and found.warnings[0].startswith("The t2w is chosen differently")
