"""Images of a session as DICOM: what the header says of them arrives, and the same image is the same instance."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanside.runtime.appliance.receive.incoming import PREAMBLE, Announced, file_meta
from scanside.runtime.dicom.mr_image import EXPLICIT, MR_IMAGE, Slice, mr_image, table_of
from scanside.runtime.errors import InputError
from scanside.runtime.mrd.examination import Examination, read_examination
from scanside.runtime.mrd.header import with_fields
from scanside.runtime.mrd.instances import instances
from scanside.runtime.mrd.meta import write_meta
from scanside.runtime.mrd.series import slices_of
from scanside.runtime.mrd.wire import Image
from tests.runtime.mrd.test_series import changed, volume
from tests.support.dciodvfy import errors_of

SPACE = "http://www.ismrm.org/ISMRMRD"


def header(more: str = "", study: str = "", measurement: str = "") -> str:
    return (
        f'<ismrmrdHeader xmlns="{SPACE}"><subjectInformation><patientName>Doe^Jane</patientName>'
        "<patientBirthdate>1961-05-17</patientBirthdate><patientGender>F</patientGender></subjectInformation>"
        f"<studyInformation><studyDate>2026-11-28</studyDate><studyTime>09:08:07</studyTime>"
        f"<studyInstanceUID>1.2.3</studyInstanceUID>{study}</studyInformation>"
        "<measurementInformation><patientPosition>HFS</patientPosition><protocolName>ep2d_diff</protocolName>"
        f"<frameOfReferenceUID>1.2.4</frameOfReferenceUID>{measurement}</measurementInformation>"
        f"<sequenceParameters><TR>4000</TR><TE>60</TE><TE>90</TE>{more}</sequenceParameters></ismrmrdHeader>"
    )


def diffusion(dimension: str) -> str:
    values = "".join(f"<diffusion><bvalue>{b}</bvalue></diffusion>" for b in (0, 50, 800))
    return f"<diffusionDimension>{dimension}</diffusionDimension>{values}"


def with_meta(image: Image, **meta: str | tuple[str, ...]) -> Image:
    attributes = write_meta(
        {key: (value,) if isinstance(value, str) else value for key, value in meta.items()}
    )
    return replace(
        image, attributes=attributes, header=with_fields(image.header, attribute_string_len=len(attributes))
    )


def read(one: Slice) -> Any:
    meta = file_meta(Announced(MR_IMAGE, one.sop_uid, EXPLICIT))
    return pydicom.dcmread(io.BytesIO(PREAMBLE + meta + mr_image(one)))


def first(image: Image, text: str) -> Any:
    return read(instances([image], read_examination(text))[0][1])


def test_what_the_header_says_arrives() -> None:
    image = changed(slices_of(volume())[2], contrast=1)
    made = first(image, header())
    assert (made.PatientName, made.PatientBirthDate, made.PatientSex) == ("Doe^Jane", "19610517", "F")
    assert (made.StudyInstanceUID, made.FrameOfReferenceUID) == ("1.2.3", "1.2.4")
    assert (made.StudyDate, made.StudyTime, made.PatientPosition) == ("20261128", "090807", "HFS")
    assert (made.RepetitionTime, made.EchoTime, made.EchoNumbers) == (4000, 90, 2)
    assert "DiffusionBValue" not in made and list(made.ImageType) == ["ORIGINAL", "PRIMARY", "M"]
    np.testing.assert_array_equal(made.pixel_array, volume().data[0, 2])


@pytest.mark.parametrize(
    ("dimension", "fields", "b"),
    [
        ("repetition", {"repetition": 2}, 800),
        ("set", {"set": 1}, 50),
        ("user_3", {"user_int": (0, 0, 0, 2, 0, 0, 0, 0)}, 800),
        ("repetition", {"repetition": 7}, None),
        ("segment", {"repetition": 2}, None),
    ],
)
def test_the_b_value_is_that_of_the_counter_which_the_header_names(
    dimension: str, fields: dict[str, Any], b: float | None
) -> None:
    made = first(changed(slices_of(volume())[0], **fields), header(diffusion(dimension)))
    assert made.get("DiffusionBValue") == b


def test_attributes_of_an_image_go_before_the_header() -> None:
    image = with_meta(
        slices_of(volume())[0], DiffusionBValue="1000", EchoTime="71.5", SeriesDescription=("ep2d", "ADC"),
        ImageTypeValue3="M", ImageTypeValue4=("DIFFUSION", "ADC"), SOPInstanceUID="1.9.1", SeriesInstanceUID="1.9",
    )  # fmt: skip
    made = first(image, header(diffusion("repetition")))
    assert (made.DiffusionBValue, made.EchoTime, made.SeriesDescription) == (1000, 71.5, "ep2d_ADC")
    assert list(made.ImageType)[2:] == ["M", "DIFFUSION", "ADC"]
    assert (made.SOPInstanceUID, made.SeriesInstanceUID) == ("1.9.1", "1.9")
    whole = with_meta(slices_of(volume())[0], ImageType=("DERIVED", "PRIMARY", "DIFFUSION", "ADC"))
    assert list(first(whole, header()).ImageType) == ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]


def test_the_same_image_is_the_same_instance_and_another_one_is_not() -> None:
    measured = header(measurement="<measurementID>45_7</measurementID>")
    images, examination = slices_of(volume()), read_examination(measured)
    made = [one for _, one in instances(images, examination)]
    again = [one for _, one in instances(list(reversed(images)), examination)][::-1]
    assert [mr_image(one) for one in made] == [mr_image(one) for one in again]
    assert len({one.sop_uid for one in made}) == 5 and len({one.series_uid for one in made}) == 1
    other = replace(images[0], data=images[0].data + 1)
    assert instances([other], examination)[0][1].sop_uid != made[0].sop_uid
    later = read_examination(measured.replace("45_7", "45_8"))
    assert instances(images, later)[0][1].series_uid != made[0].series_uid


def test_an_instance_is_a_valid_mr_image(tmp_path: Path) -> None:
    _, one = instances(slices_of(volume()), read_examination(header()))[0]
    path = tmp_path / "one.dcm"
    meta = file_meta(Announced(MR_IMAGE, one.sop_uid, EXPLICIT))
    path.write_bytes(PREAMBLE + meta + mr_image(one))
    assert table_of(path) == ("1.2.4", (0.0, 0.0, 0.0))
    # Type 2 attributes of acquisition that MRD does not tell; the reader asks for none of them.
    unsaid = ("ScanningSequence", "SequenceVariant", "ScanOptions", "MRAcquisitionType", "EchoTrainLength")
    assert [line for line in errors_of(path) if not any(word in line for word in unsaid)] == []


@settings(max_examples=100)
@given(st.text(st.characters(codec="utf-8", exclude_characters="<>&\x00"), max_size=90), st.floats())
def test_no_text_of_the_network_breaks_a_data_set(text: str, number: float) -> None:
    try:
        examination = read_examination(header(study=f"<studyDescription>{text}</studyDescription>"))
    except InputError:
        return  # characters that XML does not know
    said = {
        **examination.said,
        "PatientID": text,
        "StudyDate": text,
        "FlipAngle": str(number),
        "PatientSex": text,
    }
    (_, one), *_ = instances(slices_of(volume()), Examination("1.2.3", "1.2.4", "m", said))
    made = read(one)
    assert made.SOPInstanceUID == one.sop_uid and made.Rows == 6
    assert len(str(made.get("PatientID", ""))) <= 64 and "\\" not in str(made.get("StudyDescription", ""))
