"""Research copies, image by image: the table tag by tag, dates, and the b-values of every vendor."""

import copy
import datetime
import io
import re
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from scanside.runtime.dicom.bvalue import b_value
from scanside.runtime.dicom.deidentify import NotCopiedError, Secret, action_for, deidentify, move_date, table
from scanside.runtime.dicom.frames import frames_of
from scanside.runtime.dicom.header import Instance
from scanside.runtime.dicom.private import private_value
from scanside.runtime.errors import InputError
from tests.support.dicom_factory import Grid, enhanced, slice_of, stored_values

pytestmark = pytest.mark.requirement("deidentified")

SECRET = Secret(bytes(range(32)))
SAMPLE: dict[str, Any] = {
    "PN": "Doe^Ann", "LO": "SECRET LO", "SH": "SECRET SH", "ST": "SECRET ST", "LT": "SECRET LT", "UT": "SECRET UT",
    "UC": "SECRET UC", "CS": "SECRETCS", "AE": "SECRETAE", "AS": "042Y", "UR": "http://secret", "DA": "20210304",
    "DT": "20210304112233", "TM": "112233", "UI": "1.2.3.4711", "IS": "4711", "DS": "4711", "US": 4711, "SS": 4711,
    "UL": 4711, "FL": 4711.0, "FD": 4711.0, "OB": b"SECRET", "OW": b"SECRET", "UN": b"SECRET", "US or SS": 4711,
}  # fmt: skip


def mr_image() -> FileDataset:
    """A synthetic MR image as if read from a file."""
    return reread(slice_of(stored_values(), 0, Grid()))


def reread(dataset: Dataset) -> FileDataset:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()))


def cleaned(dataset: FileDataset, secret: Secret = SECRET) -> FileDataset:
    return reread(deidentify(copy.deepcopy(dataset), Path("image.dcm"), secret))


def bytes_of(dataset: FileDataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


KNOWN = sorted(
    tag
    for tag in table()
    if "X" not in tag
    and dictionary_has_tag(int(tag, 16))
    and int(tag, 16) >> 16 not in (0x0000, 0x0002, 0x0004)
)


@pytest.fixture(scope="module")
def full() -> tuple[FileDataset, FileDataset]:
    """An image with every attribute of the table, and its copy."""
    image = mr_image()
    for tag in KNOWN:
        vr = dictionary_VR(int(tag, 16))
        image.add_new(int(tag, 16), vr, SAMPLE[vr] if vr != "SQ" else Sequence([_item()]))
    return image, cleaned(image)


def _item() -> Dataset:
    item = Dataset()
    item.PatientName, item.ReferencedSOPInstanceUID = "Doe^Ann", "1.2.3.4711"
    return item


@pytest.mark.parametrize("tag", KNOWN, ids=lambda tag: f"{tag}-{keyword_for_tag(int(tag, 16))}")
def test_every_attribute_of_the_table_is_treated_as_it_says(
    tag: str, full: tuple[FileDataset, FileDataset]
) -> None:
    number, action, (image, found) = Tag(int(tag, 16)), table()[tag], full
    vr, keyword = dictionary_VR(number), keyword_for_tag(number)
    if action == "X/Z/U*":
        (item,) = found[number].value
        assert item.ReferencedSOPInstanceUID == SECRET.uid("1.2.3.4711") and item.PatientName == ""
    elif keyword == "AcquisitionContextSequence":
        assert len(found[number].value) == 0
    elif vr == "SQ":
        assert number not in found or (action == "Z" and len(found[number].value) == 0)
    elif keyword in ("PatientID", "PatientName", "StudyID"):
        assert re.fullmatch(r"[A-Z2-7]{5}-[A-Z2-7]{5}", str(found[number].value))
    elif keyword in ("PatientBirthTime", "LastMenstrualDate"):
        assert number not in found
    elif keyword != "PatientBirthDate" and vr in ("DA", "DT"):
        days = SECRET.days(
            "\0".join(str(image[keyword].value) for keyword in ("IssuerOfPatientID", "PatientID"))
        )
        assert found[number].value == move_date(SAMPLE[vr], days) != SAMPLE[vr]
    elif vr == "TM":
        assert found[number].value == SAMPLE["TM"], "times of day stay"
    elif keyword in ("SeriesDescription", "StudyDescription", "ProtocolName"):
        assert found[number].is_empty, "no known word is in it"
    elif keyword == "DeidentificationMethod":
        assert "PS3.15" in found[number].value
    elif action == "U":
        assert found[number].value == SECRET.uid("1.2.3.4711")
    elif action in ("D", "Z/D") or keyword == "DeviceSerialNumber":
        assert found[number].value != image[number].value
    elif action in ("Z", "X/Z"):
        assert found[number].is_empty
    else:
        assert action in ("X", "X/D", "X/Z/D") and number not in found


def test_nothing_of_the_tables_attributes_is_left_in_the_bytes(
    full: tuple[FileDataset, FileDataset],
) -> None:
    image, found = full
    for word in (b"SECRET", b"Doe", b"20210304", b"1.2.3.4711", b"042Y"):
        assert word in bytes_of(image) and word not in bytes_of(found)


def test_the_table_is_whole() -> None:
    assert len(table()) == 655
    assert {"X", "Z", "D", "U", "X/Z", "X/D", "X/Z/D", "Z/D", "X/Z/U*"} == set(table().values())
    for keyword, action in {
        "PatientName": "Z", "PatientID": "Z/D", "PatientBirthDate": "Z", "PatientAge": "X", "InstitutionName": "X/Z/D",
        "StudyInstanceUID": "U", "FrameOfReferenceUID": "U", "SeriesDescription": "X", "ImageComments": "X",
        "PatientSex": "Z", "OperatorsName": "X/Z/D", "SourceImageSequence": "X/Z/U*", "DeviceUID": "U",
    }.items():  # fmt: skip
        assert table()[f"{pydicom.datadict.tag_for_keyword(keyword):08X}"] == action


@pytest.mark.parametrize(
    ("tag", "action"),
    [
        (0x00091001, "X"), (0x60003000, "X"), (0x60020010, "X"), (0x50000005, "X"), (0x00080000, "X"),
        (0x00083333, "X"), (0x00080070, "K"), (0x00180081, "K"), (0x00080016, "K"), (0x7FE00010, "K"),
        (0x00100024, "X"), (0x00081190, "K"), (0x0008010C, "K"), (0x00209222, "K"),
    ],
)  # fmt: skip
def test_what_the_table_does_not_name(tag: int, action: str) -> None:
    assert action_for(Tag(tag)) == action


def test_private_and_unknown_attributes_and_overlays_go_at_every_depth() -> None:
    image, item = mr_image(), Dataset()
    for dataset in (image, item):
        dataset.private_block(0x0019, "SECRET MAKER", create=True).add_new(1, "LO", "SECRET")
        dataset.add_new(0x00083333, "LO", "SECRET")
    image.add_new(0x60000010, "US", 8)
    image.add_new(0x60003000, "OW", b"SECRET")
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", "1.2.3.9"
    image.SourceImageSequence = Sequence([item])
    found = cleaned(image)
    assert b"SECRET" not in bytes_of(found)
    assert not [e for e in found.iterall() if e.tag.is_private or e.tag.group == 0x6000]
    assert found.SourceImageSequence[0].ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.4"


def test_a_wrong_vr_cannot_smuggle_a_name_through() -> None:
    image = mr_image()
    image.add_new(0x00180081, "LO", "Doe^Ann")  # Echo Time is DS
    found = cleaned(image)
    assert "EchoTime" not in found and b"Doe" not in bytes_of(found)


def test_a_name_in_a_time_or_a_date_goes() -> None:
    image = mr_image()
    with pydicom.config.disable_value_validation():
        image.AcquisitionTime, image.AcquisitionDate = "Doe^Ann", "Doe 1964"
        found = cleaned(image)
    assert found.AcquisitionTime in ("", None) and b"Doe" not in bytes_of(found)


def test_preamble_and_file_header_are_new() -> None:
    image = mr_image()
    image.preamble = b"SECRET".ljust(128, b"\0")
    image.file_meta.SourceApplicationEntityTitle = "SECRETAE"
    found = deidentify(image, Path("x"), SECRET)
    assert b"SECRET" not in bytes_of(found)
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID


def test_it_says_what_was_done() -> None:
    found = cleaned(mr_image())
    assert (
        found.PatientIdentityRemoved == "YES" and found.LongitudinalTemporalInformationModified == "MODIFIED"
    )
    codes = [str(item.CodeValue) for item in found.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113105", "113107"] and "PS3.15" in found.DeidentificationMethod


def test_the_same_key_makes_the_same_copy_and_another_key_another_one() -> None:
    image = mr_image()
    assert bytes_of(cleaned(image)) == bytes_of(cleaned(image))
    other = cleaned(image, Secret(b"another key of thirty-two bytes."))
    for keyword in ("PatientID", "StudyInstanceUID", "SOPInstanceUID", "StudyID", "StudyDate"):
        assert other[keyword].value != cleaned(image)[keyword].value


def test_one_patient_stays_one_patient_and_intervals_stay() -> None:
    first, second = mr_image(), mr_image()
    second.StudyDate, second.StudyInstanceUID = "20260111", "1.2.3.5"
    one, two = cleaned(first), cleaned(second)
    assert one.PatientID == two.PatientID and one.StudyID != two.StudyID
    days = [pydicom.valuerep.DA(found.StudyDate) for found in (one, two)]
    assert (days[1] - days[0]).days == 10  # type: ignore[operator]
    stranger = mr_image()
    stranger.PatientID = "P2"
    assert cleaned(stranger).PatientID != one.PatientID and cleaned(stranger).StudyDate != one.StudyDate


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, "no MR image"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"}, "no MR image"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screen"),
        ({"ConversionType": "WSD"}, "screen"),
    ],
)  # fmt: skip
def test_what_may_show_who_it_is_is_refused(change: dict[str, Any], word: str) -> None:
    image = mr_image()
    for keyword, value in change.items():
        setattr(image, keyword, value)
    with pytest.raises(NotCopiedError, match=word):
        deidentify(image, Path("x"), SECRET)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(InputError, match="16 bytes"):
        Secret(b"short")


@given(st.dates(min_value=datetime.date(1930, 1, 1)), st.integers(-3653, -1))
def test_moving_a_date_is_exact(day: datetime.date, days: int) -> None:
    moved = move_date(f"{day:%Y%m%d}", days)
    assert datetime.date(int(moved[:4]), int(moved[4:6]), int(moved[6:])) - day == datetime.timedelta(days)
    assert move_date(f"{day:%Y%m%d}1122.5+0100", days) == moved + "1122.5+0100"


@pytest.mark.parametrize("value", ["", "2021", "20211399", "Ann", "202101011122Doe"])
def test_what_is_no_date_becomes_empty(value: str) -> None:
    assert move_date(value, -5) == ""


def private(group: int, creator: str, element: int, vr: str, value: Any) -> Any:
    return lambda image: image.private_block(group, creator, create=True).add_new(element, vr, value)


@pytest.mark.parametrize(
    ("manufacturer", "write", "b"),
    [
        ("SIEMENS", private(0x0019, "SIEMENS MR HEADER", 0x0C, "IS", "800"), 800),
        ("Philips", private(0x2001, "PHILIPS IMAGING DD 001", 0x03, "FL", 600.0), 600),
        ("GE MEDICAL SYSTEMS", private(0x0043, "GEMS_PARM_01", 0x39, "IS", ["1000001000", "8", "0", "0"]), 1000),
        ("UIH", private(0x0065, "Image Private Header", 0x09, "FD", 929.75), 929.75),
        ("Canon", lambda image: setattr(image, "ImageComments", "b=1500(0.445,0.000,0.895)"), 1500),
        ("SIEMENS", lambda image: setattr(image, "SequenceName", "*ep_b400t"), 400),
        ("Hitachi", lambda image: setattr(image, "SeriesDescription", "DWI of Ann b700"), 700),
    ],
)  # fmt: skip
def test_the_b_value_of_every_vendor_moves_to_its_standard_attribute(
    manufacturer: str, write: Any, b: float
) -> None:
    image = mr_image()
    image.Manufacturer, image.ScanningSequence = manufacturer, "EP"
    write(image)
    found = cleaned(image)
    assert found.DiffusionBValue == b
    stated = b_value(frames_of([Instance(Path("x"), found)])[0])
    assert stated is not None and stated.nominal == b


def test_what_uih_applied_stays_beside_what_was_prescribed() -> None:
    image = mr_image()
    image.Manufacturer = "UIH"
    block = image.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x0A, "FD", 1000.0)
    block.add_new(0x09, "FD", 929.75)
    block.add_new(0x11, "LO", "Doe^Ann")
    found = cleaned(image)
    from scanside.runtime.dicom.bvalue import _UIH_ACTUAL, _UIH_NOMINAL

    assert found.DiffusionBValue == private_value(found, _UIH_NOMINAL) == 1000
    assert private_value(found, _UIH_ACTUAL) == 929.75 and b"Doe" not in bytes_of(found)
    assert found.DeidentificationMethodCodeSequence[-1].CodeValue == "113111"


def test_the_trace_flag_of_philips_moves_too() -> None:
    image = mr_image()
    image.Manufacturer = "Philips"
    block = image.private_block(0x2001, "PHILIPS IMAGING DD 001", create=True)
    block.add_new(0x03, "FL", 600.0)
    block.add_new(0x04, "CS", "I")
    assert cleaned(image).DiffusionDirectionality == "ISOTROPIC"


def test_an_enhanced_object_keeps_its_frames() -> None:
    stored = stored_values()
    image = reread(enhanced(stored, Grid(), range(5), shared_plane=True))
    found = cleaned(image)
    assert len(found.PerFrameFunctionalGroupsSequence) == 5
    assert (found.pixel_array == stored).all()
    assert [item.PlanePositionSequence for item in found.PerFrameFunctionalGroupsSequence] == [
        item.PlanePositionSequence for item in image.PerFrameFunctionalGroupsSequence
    ]
