"""Which series is what: real studies, and made ones with everything that misleads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scanside.runtime.dicom.read import read_frames, read_series
from scanside.runtime.dicom.select import judge
from scanside.runtime.dicom.study import index_study
from scanside.runtime.errors import InputError
from tests.runtime.dicom.studies import ADC, CORONAL, DWI, T2, add, add_b_values, named, select, whole
from tests.support.dicom_factory import Grid
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.requirement("series-choice")


def test_prostatex_is_selected_properly() -> None:
    found = whole(shared_data("dicom", "prostatex_0000"))
    assert {kind: named(chosen) for kind, chosen in found.items()} == {
        "t2w": "4 't2_tse_tra'",
        "dwi": "6 'ep2d_diff_tra_DYNDIST' b=800",  # measured, and not series 8, computed for b = 1000
        "b0": "6 'ep2d_diff_tra_DYNDIST' b=50",
        "adc": "7 'ep2d_diff_tra_DYNDIST_ADC' b=800",
    }
    study = index_study(shared_data("dicom", "prostatex_0000"))
    assert [v.b.nominal for v in study.volumes if v.name.startswith("6") and v.b] == [50, 400, 800]


def test_a_volume_of_a_mixed_series_has_its_own_pixels() -> None:
    dwi = whole(shared_data("dicom", "prostatex_0000"))["dwi"]
    assert dwi is not None
    volume, source = read_frames(list(dwi.volume.frames), dwi.volume.path)
    assert volume.data.shape == (1, 19, 128, 84) and len(source.sop_instance_uids) == 19
    calculated, _ = read_series(
        shared_data("dicom", "prostatex_0000", "8.000000-ep2ddifftraDYNDISTCALCBVAL-83202")
    )
    # The image computed for b = 1000 from these data is darker than the one measured at 800, and like it.
    assert np.corrcoef(volume.data.ravel(), calculated.data.ravel())[0, 1] > 0.8
    assert volume.data.mean() > calculated.data.mean()


def test_an_adc_map_with_a_b_value_is_no_dwi(tmp_path: Path) -> None:
    for name in ("abdomen_scan_002_t2", "abdomen_scan_002_adc"):
        for file in shared_data("dicom", name).iterdir():
            (tmp_path / f"{name}_{file.name}").symlink_to(file)
    found = whole(tmp_path)
    assert named(found["t2w"]) == "901 'AX T2'" and named(found["adc"]) == "602 'DIFF B500' b=500"
    assert found["dwi"] is None and found["b0"] is None


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("siemens_xa30_enhanced/11_DWI_dir80_PA", "adc"),
        ("siemens_xa30_enhanced/12_DWI_dir80_PA", None),  # b = 2500
        ("siemens_xa30_enhanced/16_DWI_dir80_PA", None),
        ("siemens_xa30_enhanced/9_gre_field_mapping", None),
        ("philips_enhanced_fieldmap", None),
        ("philips_dwi_multib", None),
        ("qin_prostate_adc_seg/ADC", "adc"),
        ("abdomen_siemens_overlay", None),
    ],
)
def test_real_series_alone(folder: str, kind: str | None) -> None:
    found = whole(shared_data("dicom", *folder.split("/")))
    assert [name for name, chosen in found.items() if chosen] == ([kind] if kind else [])


def test_directions_without_a_trace_image_are_refused() -> None:
    study = index_study(shared_data("dicom", "ge_dwi_r2"))
    with pytest.raises(InputError) as caught:
        select(study, "dwi")
    assert_one_sentence(str(caught.value), "6 images at the same position", "dwi")


def test_a_study_with_everything_in_it(tmp_path: Path) -> None:
    add(tmp_path, 1, {**T2, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})
    add(tmp_path, 2, {**T2, "SeriesDescription": "T2 HASTE cor"}, grid=Grid(CORONAL, step=6.0))
    add(tmp_path, 3, {**T2, "SeriesDescription": "T1 VIBE", "ScanningSequence": "GR", "EchoTime": 2.4})
    add(tmp_path, 4, {**T2, "SeriesDescription": "T2 MRCP thick", "EchoTime": 900.0})
    add(tmp_path, 5, T2)
    add(tmp_path, 6, {**T2, "SeriesDescription": "T2 TSE FS tra", "ScanOptions": "FS"})
    add_b_values(tmp_path, 7, (0.0, 400.0, 800.0))
    add(tmp_path, 8, {**ADC, "DiffusionBValue": 800.0})
    add(tmp_path, 9, {**ADC, "SeriesDescription": "eADC", "ImageType": ["DERIVED", "PRIMARY", "EADC"]})
    add(tmp_path, 10, {**DWI, "SeriesDescription": "DWI CALC b1000", "DiffusionBValue": 1000.0})
    add(
        tmp_path,
        11,
        {**ADC, "SeriesDescription": "FA", "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "FA"]},
    )
    (tmp_path / "readme.txt").write_text("not an image")
    found = whole(tmp_path)
    assert {kind: named(chosen) for kind, chosen in found.items()} == {
        "t2w": "6 'T2 TSE FS tra'",
        "dwi": "7 'ep2d_diff' b=800",
        "b0": "7 'ep2d_diff' b=0",
        "adc": "8 'ep2d_diff_ADC' b=800",
    }
    assert found["t2w"] is not None and "fat suppressed" in found["t2w"].reason


def judged(tmp_path: Path, kind: Any, attributes: Mapping[str, Any], **how: Any) -> str:
    study = index_study(add(tmp_path, 1, attributes, **how))
    made = judge(kind, study.volumes[0], study.volumes)
    return made.reason if made.score is None else "fits"


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("t2w", {}, "fits"),
        ("t2w", {"ScanningSequence": "GR"}, "gradient echo"),
        ("t2w", {"ScanningSequence": ["SE", "EP"]}, "echo-planar"),
        ("t2w", {"EchoTime": 12.0}, "echo time"),
        ("t2w", {"EchoTime": None, "SeriesDescription": "axial"}, "neither"),
        ("t2w", {"EchoTime": None}, "fits"),
        ("t2w", {"SeriesDescription": "T1 TSE"}, "T1-weighted"),
        ("t2w", {"SeriesDescription": "T2 FLAIR"}, "FLAIR"),
        ("t2w", {"SeriesDescription": "T2 MPR"}, "reformat"),
        ("t2w", {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}, "projection"),
        ("t2w", {"DiffusionBValue": 0.0}, "fits"),  # Philips writes 0 on everything
        ("t2w", {"DiffusionBValue": 50.0}, "diffusion-weighted"),
        ("dwi", {**DWI, "DiffusionBValue": 800.0}, "fits"),
        ("dwi", {**DWI, "DiffusionBValue": 600.0}, "no b-value from 700"),
        ("dwi", {**DWI}, "no b-value"),
        ("dwi", {"DiffusionBValue": 0.0}, "not diffusion-weighted"),
        ("adc", {**ADC}, "fits"),
        ("adc", {**ADC, "SeriesDescription": "Exponential Apparent Diffusion Coefficient"}, "not an ADC map"),
    ],
)  # fmt: skip
def test_rules(tmp_path: Path, kind: str, changes: dict[str, Any], reason: str) -> None:
    assert reason in judged(tmp_path, kind, {**T2, **changes})


def test_rules_of_geometry(tmp_path: Path) -> None:
    assert "fewer than 5" in judged(tmp_path / "a", "t2w", T2, slices=4)
    assert "not axial" in judged(tmp_path / "b", "t2w", T2, grid=Grid(CORONAL, step=6.0))
    assert "thick slab" in judged(tmp_path / "c", "t2w", T2, grid=Grid(step=40.0))


def test_two_series_that_fit_equally_well_are_refused_by_name(tmp_path: Path) -> None:
    add(tmp_path, 4, {**T2, "SeriesDescription": "T2 HASTE"})
    add(tmp_path, 5, {**T2, "SeriesDescription": "T2 BLADE"})
    with pytest.raises(InputError) as caught:
        whole(tmp_path)
    assert_one_sentence(str(caught.value), "4 'T2 HASTE'", "5 'T2 BLADE'", "--t2w")


def test_of_repeats_the_last_one_is_taken_with_a_warning(tmp_path: Path) -> None:
    add(tmp_path, 4, {**T2, "AcquisitionTime": "101500"})
    add(tmp_path, 5, {**T2, "AcquisitionTime": "101000"})
    found = whole(tmp_path)["t2w"]
    assert found is not None and named(found) == "4 'T2 TSE tra'" and "2 times" in found.warnings[0]
    add(tmp_path, 5, {**T2, "AcquisitionTime": "101500"})
    with pytest.raises(InputError):
        whole(tmp_path)


def test_a_series_with_a_gap_gives_way_to_the_next_with_a_warning(tmp_path: Path) -> None:
    broken = add(tmp_path, 4, {**T2, "SeriesDescription": "T2 FS", "ScanOptions": "FS"})
    add(tmp_path, 5, T2)
    next(iter(sorted(broken.iterdir())[5:6])).unlink()
    found = whole(tmp_path)["t2w"]
    assert found is not None and named(found) == "5 'T2 TSE tra'"
    assert "4 'T2 FS'" in found.warnings[0] and "missing" in found.warnings[0]
    for file in (tmp_path / "s5").iterdir():
        file.unlink()
    with pytest.raises(InputError) as caught:
        whole(tmp_path)
    assert_one_sentence(str(caught.value), "missing", "t2w")
