"""Which series is what: real studies, and made ones with everything that misleads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from scanside.runtime.dicom.read import read_frames, read_series
from scanside.runtime.dicom.select import RULES, Chosen, choose_volume, judge
from scanside.runtime.dicom.study import DicomStudy, SeriesVolume, index_study
from scanside.runtime.errors import ImageReadError, InputError
from tests.support.dicom_factory import ROOT, Grid, enhanced, save, slope_of, stored_values, write_series
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.requirement("series-choice")

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
T2 = {"SeriesDescription": "T2 TSE tra", "ScanningSequence": "SE", "EchoTime": 90.0, "EchoTrainLength": 20}
DWI = {"SeriesDescription": "ep2d_diff", "ScanningSequence": "EP", "EchoTime": 60.0}
ADC = {
    "SeriesDescription": "ep2d_diff_ADC",
    "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"],
    "EchoTime": 60.0,
}
SHAPE = (16, 8, 6)


def add(
    study: Path,
    number: int,
    attributes: Mapping[str, Any],
    *,
    grid: Grid | None = None,
    slices: int = SHAPE[0],
    each: Callable[[int, Dataset], None] | None = None,
) -> Path:
    """One series of a study, in a folder of its own."""

    def change(z: int, dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = f"{ROOT}.2.{number}"
        dataset.SOPInstanceUID = f"{ROOT}.3.{number}.{z + 1}"
        dataset.SeriesNumber = number
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        if each:
            each(z, dataset)

    stored = stored_values((slices, *SHAPE[1:]), seed=number)
    return write_series(study / f"s{number}", stored, grid or Grid(step=6.0), change=change)


def add_b_values(study: Path, number: int, values: tuple[float, ...], **how: Any) -> None:
    """Several b-values in one series, as vendors deliver them."""
    for index, b in enumerate(values):
        add(study, number, {**DWI, "DiffusionBValue": b, **how})
        for file in (study / f"s{number}").glob("IM*.dcm"):
            file.rename(file.with_name(f"b{index}_{file.name}"))
    _new_uids(study / f"s{number}", number)


def _new_uids(folder: Path, number: int) -> None:
    import pydicom

    for index, file in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(file)
        dataset.SOPInstanceUID = f"{ROOT}.3.{number}.{index + 1}"
        dataset.save_as(file)


def select(study: DicomStudy, kind: Any, dwi: Chosen | None = None) -> Chosen | None:
    return choose_volume(kind, study.volumes, dwi.volume if dwi else None)[0]


def whole(path: Path) -> dict[str, Chosen | None]:
    study = index_study(path)
    dwi = select(study, "dwi")
    return {kind: dwi if kind == "dwi" else select(study, kind, dwi) for kind in RULES}


def named(chosen: Chosen | None) -> str | None:
    return None if chosen is None else chosen.volume.name


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


def test_a_trace_image_goes_before_single_directions(tmp_path: Path) -> None:
    direction = {"DiffusionBValue": 800.0, "DiffusionDirectionality": "DIRECTIONAL"}
    trace = ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"]
    add(tmp_path, 4, {**DWI, **direction, "DiffusionGradientOrientation": [1.0, 0.0, 0.0]})
    add(tmp_path, 5, {**DWI, "DiffusionBValue": 800.0, "ImageType": trace})
    assert named(whole(tmp_path)["dwi"]) == "5 'ep2d_diff' b=800"


def test_directions_in_one_series_are_told_apart_and_refused(tmp_path: Path) -> None:
    for number, axis in enumerate(([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])):
        add(
            tmp_path / str(number), 4, {**DWI, "DiffusionBValue": 800.0, "DiffusionGradientOrientation": axis}
        )
    _new_uids(tmp_path / "0" / "s4", 40)
    study = index_study(tmp_path)
    assert [volume.problem for volume in study.volumes] == [None, None]
    with pytest.raises(InputError) as caught:
        select(study, "dwi")
    assert_one_sentence(str(caught.value), "several volumes", "--dwi")


def test_canon_states_no_b_value_where_no_gradient_was_on(tmp_path: Path) -> None:
    canon = {**DWI, "Manufacturer": "CANON_MEC", "SeriesDescription": "DWI 0-1000"}
    add(tmp_path / "low", 4, canon)
    for file in (tmp_path / "low" / "s4").iterdir():
        file.rename(file.with_name(f"low_{file.name}"))
    _new_uids(tmp_path / "low" / "s4", 40)
    add(tmp_path / "high", 4, {**canon, "DiffusionBValue": 1000.0, "ImageComments": "b=1000(0.0,0.0,1.0)"})
    found = whole(tmp_path)
    assert named(found["dwi"]) == "4 'DWI 0-1000' b=1000" and named(found["b0"]) == "4 'DWI 0-1000' b=0"
    chosen = found["b0"]
    assert chosen is not None and chosen.volume.b is not None and "Canon" in chosen.volume.b.source


def test_a_series_that_states_no_b_value_at_all_is_no_low_b_image(tmp_path: Path) -> None:
    add(tmp_path, 4, {**DWI, "Manufacturer": "CANON_MEC"})
    (volume,) = index_study(tmp_path).volumes
    assert volume.b is None


def test_b_of_zero_on_a_gradient_echo_of_philips_is_neither_dwi_nor_b0(tmp_path: Path) -> None:
    ffe = {
        "SeriesDescription": "mDIXON",
        "ScanningSequence": "GR",
        "EchoTime": 2.0,
        "Manufacturer": "Philips",
    }
    add(tmp_path, 3, {**ffe, "DiffusionBValue": 0.0})
    add(tmp_path, 4, {**DWI, "SeriesDescription": "DWI", "DiffusionBValue": 800.0})
    study = index_study(tmp_path)
    dwi = select(study, "dwi")
    judged = {kind: judge(kind, study.volumes[0], study.volumes, dwi and dwi.volume) for kind in RULES}
    assert [made.score for made in judged.values()] == [None] * 4
    assert "gradient echo" in judged["t2w"].reason and "not diffusion" in judged["b0"].reason


def test_uih_is_grouped_by_what_was_prescribed(tmp_path: Path) -> None:
    def uih(nominal: float, actual: Callable[[int], float]) -> Callable[[int, Dataset], None]:
        def each(z: int, dataset: Dataset) -> None:
            dataset.add_new(0x00650010, "LO", "Image Private Header")
            dataset.add_new(0x00651009, "FD", actual(z))
            dataset.add_new(0x0065100A, "FD", nominal)
            dataset.SOPInstanceUID = f"{ROOT}.3.{nominal:g}.{z + 1}"

        return each

    add(tmp_path / "a", 4, DWI, each=uih(1000.0, lambda z: 929.75 + 0.5 * (z % 2)))
    add(tmp_path / "b", 4, DWI, each=uih(50.0, lambda z: 47.0))
    found = whole(tmp_path)
    assert named(found["dwi"]) == "4 'ep2d_diff' b=1000" and named(found["b0"]) == "4 'ep2d_diff' b=50"
    dwi = found["dwi"]
    assert (
        dwi is not None and dwi.volume.b is not None and dwi.volume.b.actual == pytest.approx(929.75, abs=0.5)
    )


def test_ge_with_its_flag_and_without_the_standard_tag_at_zero(tmp_path: Path) -> None:
    def ge(raw: list[str], b: float | None) -> Callable[[int, Dataset], None]:
        def each(z: int, dataset: Dataset) -> None:
            dataset.add_new(0x00430010, "LO", "GEMS_PARM_01")
            dataset.add_new(0x00431039, "IS", raw)
            dataset.SOPInstanceUID = f"{ROOT}.3.{raw[0]}.{z + 1}"
            if b is not None:
                dataset.DiffusionBValue = b

        return each

    made = {**DWI, "SeriesDescription": "Ax DWI", "ScanningSequence": ["EP", "SE"]}
    add(tmp_path / "a", 4, made, each=ge(["1000000800", "8", "0", "0"], None))
    add(tmp_path / "b", 4, made, each=ge(["0", "8", "0", "0"], None))
    found = whole(tmp_path)
    assert named(found["dwi"]) == "4 'Ax DWI' b=800" and named(found["b0"]) == "4 'Ax DWI' b=0"


def test_philips_keeps_directions_trace_and_adc_in_one_series(tmp_path: Path) -> None:
    philips = {**DWI, "SeriesDescription": "DWI_3b", "Manufacturer": "Philips"}
    parts: list[tuple[str, float, dict[str, Any]]] = [
        ("O", 0.0, {}),
        ("M", 800.0, {"DiffusionGradientOrientation": [1.0, 0.0, 0.0]}),
        ("P", 800.0, {"DiffusionGradientOrientation": [0.0, 1.0, 0.0]}),
        ("I", 800.0, {}),
        ("I", 0.0, {"ImageType": ["DERIVED", "PRIMARY", "ADC", "ADC", "UNSPECIFIED"]}),
    ]
    for index, (letter, b, more) in enumerate(parts):

        def each(z: int, dataset: Dataset, index: int = index, letter: str = letter) -> None:
            dataset.add_new(0x20010010, "LO", "Philips Imaging DD 001")
            dataset.add_new(0x20011004, "CS", letter)
            dataset.SOPInstanceUID = f"{ROOT}.3.{index}.{z + 1}"

        add(tmp_path / str(index), 4, {**philips, "DiffusionBValue": b, **more}, each=each)
    study = index_study(tmp_path)
    assert len(study.volumes) == 5 and not any(volume.problem for volume in study.volumes)
    found = whole(tmp_path)
    assert found["dwi"] is not None and "trace or isotropic" in found["dwi"].reason
    assert found["dwi"].volume.frames[0].instance.path.parent.parent.name == "3"
    assert found["b0"] is not None and found["b0"].volume.frames[0].instance.path.parent.parent.name == "0"
    assert found["adc"] is not None and found["adc"].volume.frames[0].instance.path.parent.parent.name == "4"


def test_enhanced_multi_frame_with_everything_in_one_object(tmp_path: Path) -> None:
    """b = 0, directions, trace and ADC of one acquisition, as Philips and Siemens XA export them."""
    kinds = [
        ("ORIGINAL", 0.0, "NONE"),
        ("ORIGINAL", 800.0, "DIRECTIONAL"),
        ("DERIVED", 800.0, "ISOTROPIC"),
        ("ADC", None, ""),
    ]
    stored, grid = stored_values((12, 8, 6)), Grid(step=6.0)
    dataset = enhanced(stored, grid, [z for z in range(12) for _ in kinds], shared_plane=True)
    dataset.SeriesDescription = "DWI multi"
    for number, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        what, b, directionality = kinds[number % len(kinds)]
        frame_type, diffusion = Dataset(), Dataset()
        frame_type.FrameType = (
            ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]
            if what == "ADC"
            else [what, "PRIMARY", "DIFFUSION", "NONE"]
        )
        item.MRImageFrameTypeSequence = [frame_type]
        if b is not None:
            diffusion.DiffusionBValue, diffusion.DiffusionDirectionality = b, directionality
            item.MRDiffusionSequence = [diffusion]
    save(dataset, tmp_path / "all.dcm")
    found = whole(tmp_path)
    assert named(found["dwi"]) == "7 'DWI multi' b=800" and named(found["b0"]) == "7 'DWI multi' b=0"
    assert named(found["adc"]) == "7 'DWI multi'" and found["t2w"] is None
    dwi = found["dwi"]
    assert dwi is not None and "trace or isotropic" in dwi.reason
    image, _ = read_frames(list(dwi.volume.frames), dwi.volume.path)
    slopes = np.array([slope_of(z) for z in range(12)])[:, None, None]
    np.testing.assert_array_equal(image.data[0], (stored * slopes - 5.0).astype(np.float32))


def test_shuffled_instance_numbers_do_not_matter(tmp_path: Path) -> None:
    grid, stored = Grid(step=6.0), stored_values(SHAPE)
    order = np.random.default_rng(1).permutation(SHAPE[0]).tolist()
    write_series(tmp_path, stored, grid, order=order)
    (volume,) = index_study(tmp_path).volumes
    image, _ = read_frames(list(volume.frames), volume.path)
    np.testing.assert_array_equal(image.data[0], stored.astype(np.float32))


@pytest.mark.parametrize(
    ("keyword", "what"), [("StudyInstanceUID", "2 studies"), ("PatientID", "2 patients")]
)
def test_a_mixture_is_refused(tmp_path: Path, keyword: str, what: str) -> None:
    add(tmp_path, 4, T2)
    add(tmp_path, 5, {**DWI, "DiffusionBValue": 800.0, keyword: f"{ROOT}.77"})
    with pytest.raises(InputError) as caught:
        index_study(tmp_path)
    assert_one_sentence(str(caught.value), what)


def test_files_that_are_no_images(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        index_study(tmp_path)
    assert_one_sentence(str(caught.value), "no DICOM images")
    add(tmp_path, 4, T2)
    (tmp_path / "notes").write_text("not DICOM, and without a mark")
    assert index_study(tmp_path).passed_over == 1
    (tmp_path / "broken").write_bytes(bytes(128) + b"DICM" + b"cut")
    with pytest.raises(ImageReadError) as caught_broken:
        index_study(tmp_path)
    assert_one_sentence(str(caught_broken.value), "broken")


def test_what_holds_no_volume_is_told(tmp_path: Path) -> None:
    add(tmp_path, 4, T2)
    add(
        tmp_path,
        5,
        {"SeriesDescription": "screenshot", "PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
    )
    study = index_study(tmp_path)
    assert [volume.name for volume in study.volumes] == ["4 'T2 TSE tra'"]
    (name, reason) = study.refused[0]
    assert name == "5 'screenshot'" and "colour" in reason


def test_volumes_are_named_for_a_person(tmp_path: Path) -> None:
    (volume,) = index_study(add(tmp_path, 4, {**DWI, "DiffusionBValue": 800.0})).volumes
    assert isinstance(volume, SeriesVolume) and volume.name == "4 'ep2d_diff' b=800"
