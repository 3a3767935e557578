"""b-values of five vendors' real files, and of headers made by hand for what no file here shows."""

import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import LegacyConvertedEnhancedMRImageStorage

from scanside.runtime.dicom.bvalue import BValue, b_value
from scanside.runtime.dicom.facts import facts_of
from scanside.runtime.dicom.frames import Frame, frames_of
from scanside.runtime.dicom.header import Instance, quiet, read_instance
from scanside.runtime.dicom.select import choose_volume, judge
from scanside.runtime.dicom.study import index_study, volumes_of
from tests.support.dicom_factory import Grid, enhanced, save, stored_values
from tests.support.shared_data import shared_data

REAL = {
    "prostatex_0000/6.000000-ep2ddifftraDYNDIST-69284": ({50: 19, 400: 19, 800: 19}, "Siemens (0019,100C)"),
    "prostatex_0000/4.000000-t2tsetra-00702": ({None: 19}, None),
    "prostatex_0000/7.000000-ep2ddifftraDYNDISTADC-48780": ({800: 19}, "Siemens (0019,100C)"),
    "prostatex_0000/8.000000-ep2ddifftraDYNDISTCALCBVAL-83202": ({1000: 19}, "Siemens (0019,100C)"),
    "qin_prostate_adc_seg/ADC": ({1400: 20}, "GE (0043,1039)"),
    "qin_prostate_adc_seg/seg": ({None: 80}, None),
    "headers_dicom2nifti/generic/compressed_rle/001": ({None: 4}, None),
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


# What follows from them: volume → the sequence it can be, or why it is no DWI.
NOT_DIFFUSION, MAP, RANGE, FEW = "is not diffusion", "is a map", "no b-value from 700", "fewer than 5"
DECIDED = {
    "prostatex_0000": {
        "4 't2_tse_tra'": "t2w",
        "6 'ep2d_diff_tra_DYNDIST' b=50": "b0",
        "6 'ep2d_diff_tra_DYNDIST' b=400": RANGE,
        "6 'ep2d_diff_tra_DYNDIST' b=800": "dwi",
        "7 'ep2d_diff_tra_DYNDIST_ADC' b=800": "adc",
        "8 'ep2d_diff_tra_DYNDISTCALC_BVAL' b=1000": "dwi",  # fits, but measured ones go before it
    },
    "ge_dwi_r2": {"1 'Ax DWI TENSOR R2' b=0": RANGE, "1 'Ax DWI TENSOR R2' b=1000": "dwi"},
    "headers_dicom2nifti/ge/dti/001_implicit": {
        "10 'no description' b=0": RANGE,
        "10 'no description' b=1000": FEW,
    },
    "headers_dicom2nifti/philips/dti/002": {
        "601 'no description' b=0": RANGE,
        "601 'no description' b=40": RANGE,
        "601 'no description' b=273": RANGE,
        "601 'no description' b=800": FEW,
    },
    "headers_dicom2nifti/generic/compressed_rle/001": {"4 'no description'": NOT_DIFFUSION},
    "headers_dicom2nifti/hitachi/anatomical/001": {"10 'no description'": NOT_DIFFUSION},
    "philips_dwi_multib": {
        "2301 'DTIphase_S2MB2' b=0": RANGE,
        "2301 'DTIphase_S2MB2' b=2": RANGE,
        "2301 'DTIphase_S2MB2' b=2000": RANGE,
    },
    "philips_abdomen_dwi_phantom": {"201 'AX_DWI_PH_0mmRL' b=1500": FEW},
    "philips_enhanced_fieldmap": {"801 'B0 NS'": NOT_DIFFUSION},
    "siemens_xa30_enhanced/11_DWI_dir80_PA": {"11 'DWI_dir80_PA_ADC'": "adc"},
    "siemens_xa30_enhanced/12_DWI_dir80_PA": {"12 'DWI_dir80_PA_TRACEW' b=2500": RANGE},
    "siemens_xa30_enhanced/16_DWI_dir80_PA": {"16 'DWI_dir80_PA_TENSOR_B0' b=0": RANGE},
    "siemens_xa30_enhanced/9_gre_field_mapping": {"9 'gre_field_mapping'": MAP},
    "abdomen_scan_002_adc": {"602 'DIFF B500' b=500": "adc"},  # Canon: the map carries a b-value
    "abdomen_scan_002_t2": {"901 'AX T2'": "t2w"},
    "abdomen_siemens_overlay": {"18 'marked lesion<MPR Collection>'": NOT_DIFFUSION},
    "qin_prostate_adc_seg/ADC": {"901 'Apparent Diffusion Coefficient' b=1400": "adc"},
}


@pytest.mark.parametrize("folder", DECIDED)
def test_decisions_on_real_files(folder: str) -> None:
    study = index_study(shared_data("dicom", *folder.split("/")))
    dwi, _ = choose_volume("dwi", study.volumes) if folder == "prostatex_0000" else (None, ())
    for volume in study.volumes:
        judged = {
            kind: judge(kind, volume, study.volumes, dwi.volume if dwi else None)
            for kind in ("t2w", "dwi", "b0", "adc")
        }
        fits = [kind for kind, made in judged.items() if made.score is not None]
        decision = DECIDED[folder][volume.name]
        if fits:
            assert fits == [decision], (volume.name, judged)
        else:
            assert decision in judged["dwi"].reason, (volume.name, judged)
    assert {volume.name for volume in study.volumes} == set(DECIDED[folder])


def test_no_real_file_is_left_out() -> None:
    root = shared_data("dicom")
    folders = {file.parent.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}
    assert folders - {"LICENSES_cmbcrc"} == set(REAL)
    decided = {folder for folder in REAL if not folder.startswith("prostatex")} - {"qin_prostate_adc_seg/seg"}
    assert decided | {"prostatex_0000"} == set(DECIDED)


PRIVATE = {
    "prostatex_0000/6.000000-ep2ddifftraDYNDIST-69284": 0x0019,
    "ge_dwi_r2": 0x0043,
    "headers_dicom2nifti/ge/dti/001_implicit": 0x0043,
    "philips_dwi_multib": 0x2001,
    "philips_abdomen_dwi_phantom": 0x2001,
    "qin_prostate_adc_seg/ADC": 0x0043,
}


def as_unknown(header: Dataset) -> None:
    """Private attributes as an archive leaves them that takes implicit VR and does not know them: UN, and bytes."""
    for tag in [element.tag for element in header if element.tag.is_private and element.VR != "SQ"]:
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, True
        write_data_element(buffer, header[tag])
        header[tag] = DataElement(tag, "UN", buffer.getvalue()[8:])


@pytest.mark.parametrize("folder", PRIVATE)
@pytest.mark.parametrize("creators", ["kept", "dropped", "another's"])
def test_real_private_tags_that_an_archive_no_longer_knows(folder: str, creators: str) -> None:
    """Alike without their VR; without any creator by the manufacturer; and never by another's creator."""
    group, maker = PRIVATE[folder], shared_data("dicom", *folder.split("/"))
    for file in sorted(maker.iterdir())[::5]:
        header = read_instance(file).header
        header.pop("DiffusionBValue", None)
        expected = b_value(Frame(Instance(file, header)))
        assert expected is not None and f"({group:04X}," in expected.source
        with quiet():
            as_unknown(header)
        for tag in (group << 16 | block for block in range(0x10, 0x100)):
            if creators != "kept":
                header.pop(tag, None)
        if creators == "another's":
            header[group << 16 | 0x10] = DataElement(group << 16 | 0x10, "LO", "ACME 1.0")
        found = b_value(Frame(Instance(file, header)))
        if creators == "another's":
            assert found is None or "(" not in found.source
        else:
            assert found == expected


def test_nothing_is_made_up_for_real_files_without_any_creator_of_an_unknown_maker() -> None:
    file = min(shared_data("dicom", "ge_dwi_r2").iterdir())
    header = read_instance(file).header
    header.pop("DiffusionBValue", None)
    del header[0x00430010]
    header.Manufacturer = "UNKNOWN"
    assert b_value(Frame(Instance(file, header))) is None


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


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"Manufacturer": "TOSHIBA", "DiffusionBValue": 1500.0}, 1500),
        ({"Manufacturer": "CANON_MEC", "ImageComments": "b=1500(0.445,0.000,0.895)"}, 1500),
        ({"Manufacturer": "CANON_MEC", "ImageComments": "b=0(0.000,0.000,0.000)"}, 0),
        ({"Manufacturer": "SIEMENS", "ImageComments": "b=1500(0.445,0.000,0.895)"}, None),
        ({"Manufacturer": "TOSHIBA", "ImageComments": "Reference volume"}, None),
    ],
)
def test_canon(attributes: dict[str, Any], expected: float | None) -> None:
    assert value(frame(**attributes)) == expected


def test_philips_states_zero_on_everything() -> None:
    ffe = private(
        0x2001, 0x03, "FL", 0.0, "Philips Imaging DD 001", Manufacturer="Philips", ScanningSequence="GR"
    )
    assert b_value(ffe) == BValue(0.0, 0.0, "Philips (2001,1003)")  # select.py decides that it is no DWI


@pytest.mark.parametrize(
    ("creator", "sequence_name", "expected", "source"),
    [
        ("SIEMENS MR HEADER", "*ep_b1000#6", 1000, "Siemens (0019,100C)"),  # E11, classic
        ("SIEMENS MR HEADER", "ep_b2500t", 2500, "Siemens (0019,100C)"),  # XA30, interoperability objects
        (None, "*ep_b1000#6", 1000, "SequenceName '*ep_b1000#6'"),
    ],
)
def test_siemens_classic(creator: str | None, sequence_name: str, expected: int, source: str) -> None:
    made = frame(Manufacturer="SIEMENS", SequenceName=sequence_name)
    if creator:
        made = private(0x0019, 0x0C, "IS", str(expected), creator, SequenceName=sequence_name)
    assert b_value(made) == BValue(expected, expected, source)


def test_enhanced_objects_state_it_per_frame() -> None:
    item, diffusion = Dataset(), Dataset()
    diffusion.DiffusionBValue, diffusion.DiffusionDirectionality = 800.0, "ISOTROPIC"
    item.MRDiffusionSequence = [diffusion]
    header = frame(DiffusionBValue=0.0).instance
    assert b_value(Frame(header, 0, (item,))) == BValue(800.0, 800.0, "MRDiffusionSequence")


@pytest.mark.parametrize("damaged", [b"", b"\xff\xff", b"abc", b"1e9999", b"-5", b"NaN", b"\x00" * 7])
def test_damaged_private_values_count_as_absent(damaged: bytes) -> None:
    for group, element, creator in (
        (0x0019, 0x0C, "SIEMENS MR HEADER"),
        (0x0043, 0x39, "GEMS_PARM_01"),
        (0x2001, 0x03, "Philips Imaging DD 001"),
        (0x0065, 0x09, "Image Private Header"),
    ):
        assert value(private(group, element, "UN", damaged, creator, ScanningSequence="EP")) is None


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


def test_what_a_converter_could_not_place_is_read(tmp_path: Path) -> None:
    """Legacy Converted Enhanced MR: b-value and private attributes stand in sequences of unassigned attributes."""
    dataset = enhanced(stored_values(), Grid(), range(5), shared_plane=True)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = LegacyConvertedEnhancedMRImageStorage
    shared = Dataset()
    shared.ScanningSequence, shared.SeriesDescription, shared.EchoTime = "EP", "dwi", 60.0
    dataset.SharedFunctionalGroupsSequence[0].UnassignedSharedConvertedAttributesSequence = [shared]
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        item = Dataset()
        if number < 3:
            item.add_new(0x00190010, "LO", "SIEMENS MR HEADER")
            item.add_new(0x0019100C, "IS", "800")
        else:
            item.DiffusionBValue = 50.0
        group.UnassignedPerFrameConvertedAttributesSequence = [item]
    frames = frames_of([read_instance(save(dataset, tmp_path / "legacy.dcm"))])
    found = [b_value(frame) for frame in frames]
    assert [b and b.nominal for b in found] == [800, 800, 800, 50, 50]
    assert {frame.get("EchoTime") for frame in frames} == {60.0}
    assert facts_of(volumes_of(frames)[0], ()).scanning == {"EP"}
