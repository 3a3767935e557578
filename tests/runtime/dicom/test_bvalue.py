"""b-values of five vendors' real files, and of headers made by hand for what no file here shows."""

import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from scanside.runtime.dicom.bvalue import BValue, b_value
from scanside.runtime.dicom.frames import Frame, frames_of
from scanside.runtime.dicom.header import Instance, read_instance
from tests.support.shared_data import shared_data

REAL = {
    "prostatex_0000/6.000000-ep2ddifftraDYNDIST-69284": ({50: 19, 400: 19, 800: 19}, "Siemens (0019,100C)"),
    "prostatex_0000/4.000000-t2tsetra-00702": ({None: 19}, None),
    "ge_dwi_r2": ({0: 2, 1000: 12}, None),
    "headers_dicom2nifti/ge/dti/001_implicit": ({0: 4, 1000: 4}, "GE (0043,1039)"),
    "philips_dwi_multib": ({0: 20, 2: 20, 2000: 20}, "DiffusionBValue (0018,9087)"),
    "headers_dicom2nifti/philips/dti/002": ({0: 3, 40: 3, 270: 3, 800: 3}, "DiffusionBValue (0018,9087)"),
    "philips_abdomen_dwi_phantom": ({1500: 1}, "DiffusionBValue (0018,9087)"),
    "philips_enhanced_fieldmap": ({None: 64}, None),
    "siemens_xa30_enhanced/12_DWI_dir80_PA": ({2500: 39}, "MRDiffusionSequence"),
    "siemens_xa30_enhanced/16_DWI_dir80_PA": ({0: 39}, "MRDiffusionSequence"),
    "siemens_xa30_enhanced/11_DWI_dir80_PA": ({None: 39}, None),
    "siemens_xa30_enhanced/9_gre_field_mapping": ({None: 33}, None),
    "abdomen_scan_002_adc": ({500: 45}, "DiffusionBValue (0018,9087)"),
    "abdomen_scan_002_t2": ({None: 37}, None),
    "headers_dicom2nifti/hitachi/anatomical/001": ({None: 4}, None),
    "abdomen_siemens_overlay": ({None: 1}, None),
}


@pytest.mark.parametrize("folder", REAL)
def test_real_files(folder: str) -> None:
    expected, source = REAL[folder]
    files = sorted(path for path in shared_data("dicom", *folder.split("/")).iterdir() if path.is_file())
    found = [b_value(frame) for frame in frames_of([read_instance(file) for file in files])]
    assert Counter(None if b is None else b.group for b in found) == expected
    if source is not None:
        assert {b.source for b in found if b is not None} == {source}


def frame(**attributes: Any) -> Frame:
    header = Dataset()
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    return Frame(Instance(Path("made.dcm"), header))


def private(
    group: int, element: int, vr: str, value: Any, creator: str, block: int = 0x10, **more: Any
) -> Frame:
    made = frame(**more)
    made.instance.header.add_new(group << 16 | block, "LO", creator)
    made.instance.header.add_new(group << 16 | block << 8 | element, vr, value)
    return made


def value(frame: Frame) -> float | None:
    found = b_value(frame)
    return None if found is None else found.nominal


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (private(0x0019, 0x0C, "IS", "1000", "SIEMENS MR HEADER"), 1000),
        (private(0x0019, 0x0C, "UN", b"1000 ", "SIEMENS MR HEADER"), 1000),
        (private(0x0019, 0x0C, "OB", b"50\0", "SIEMENS MR HEADER"), 50),
        (private(0x0019, 0x0C, "IS", "1000", "SIEMENS MR HEADER", block=0x11), 1000),
        (private(0x0019, 0x0C, "IS", "1000", "GEMS_ACQU_01"), None),
        (private(0x2001, 0x03, "FL", 800.0, "Philips Imaging DD 001"), 800),
        (private(0x2001, 0x03, "UN", struct.pack("<f", 800.0), "Philips Imaging DD 001"), 800),
        (private(0x2001, 0x03, "FL", 800.0, "Philips Imaging DD 002"), None),
        (private(0x2001, 0x03, "FL", -1.0, "Philips Imaging DD 001"), None),
        (private(0x2001, 0x03, "FL", float("nan"), "Philips Imaging DD 001"), None),
    ],
)
def test_private_tags_by_creator_and_vr(made: Frame, expected: float | None) -> None:
    assert value(made) == expected


@pytest.mark.parametrize(
    ("raw", "more", "expected"),
    [
        (["1000", "8", "0", "0"], {"ScanningSequence": ["EP", "SE"]}, 1000),
        (["1000001500", "8", "0", "0"], {"ScanningSequence": ["EP", "SE"]}, 1500),
        (["0", "268435456", "0", "0"], {"ScanningSequence": ["EP", "GR"]}, 0),
        (["900", "8", "0", "0"], {"ScanningSequence": ["SE"], "SeriesDescription": "PROPELLER DWI"}, 900),
        (["900", "8", "0", "0"], {"ScanningSequence": ["SE"], "SeriesDescription": "AX T2 FS"}, None),
    ],
)
def test_ge_counts_only_where_the_image_is_diffusion(
    raw: list[str], more: dict[str, Any], expected: float
) -> None:
    assert value(private(0x0043, 0x39, "IS", raw, "GEMS_PARM_01", **more)) == expected
    unknown = private(0x0043, 0x39, "UN", "\\".join(raw).encode(), "GEMS_PARM_01", **more)
    assert value(unknown) == expected


@pytest.mark.parametrize("vr", ["FD", "UN"])
def test_uih_groups_by_nominal_and_fits_with_actual(vr: str) -> None:
    def written(number: float) -> Any:
        return struct.pack("<d", number) if vr == "UN" else number

    made = private(0x0065, 0x0A, vr, written(1000.0), "Image Private Header")
    made.instance.header.add_new(0x00651009, vr, written(929.75))
    assert b_value(made) == BValue(1000.0, 929.75, "UIH (0065,100A)")
    alone = private(0x0065, 0x09, vr, written(929.75), "Image Private Header")
    assert b_value(alone) == BValue(929.75, 929.75, "UIH (0065,1009)")


def test_without_any_creator_the_manufacturer_must_be_the_vendor() -> None:
    for manufacturer, expected in (("SIEMENS", 800.0), ("GE MEDICAL SYSTEMS", None), ("", None)):
        made = frame(Manufacturer=manufacturer)
        made.instance.header.add_new(0x0019100C, "IS", "800")
        assert value(made) == expected


def test_the_standard_attribute_goes_before_private_ones() -> None:
    made = private(0x0019, 0x0C, "IS", "1000", "SIEMENS MR HEADER", DiffusionBValue=800.0)
    assert b_value(made) == BValue(800.0, 800.0, "DiffusionBValue (0018,9087)")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"SequenceName": "*ep_b1000#6"}, 1000),
        ({"SequenceName": "*ep_b50t"}, 50),
        ({"SequenceName": "ep_b2500t"}, 2500),
        ({"SequenceName": "*ep_b50_800"}, None),
        ({"SequenceName": "*tse2d1_25"}, None),
        ({"SeriesDescription": "DIFF B500"}, 500),
        ({"SeriesDescription": "DWI b=800 s/mm2"}, 800),
        ({"SeriesDescription": "ax_dwi_b1000"}, 1000),
        ({"SeriesDescription": "DWI b0-b800"}, None),
        ({"SeriesDescription": "ep2d_diff_b50_400_800_tra"}, None),
        ({"SeriesDescription": "B1 map"}, None),
        ({"SeriesDescription": "AX T2 ABDB800"}, None),
        ({"ProtocolName": "TRACE B 800"}, 800),
    ],
)
def test_names_and_descriptions(attributes: dict[str, str], expected: float | None) -> None:
    assert value(frame(**attributes)) == expected


@pytest.mark.parametrize(
    ("nominal", "group"), [(0.0, 0), (2.0, 2), (9.4, 9), (47.0, 50), (804.0, 800), (996.0, 1000)]
)
def test_groups(nominal: float, group: int) -> None:
    assert BValue(nominal, nominal, "made").group == group
