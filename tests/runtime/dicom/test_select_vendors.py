"""Diffusion as every vendor stores it: b-values, directions, trace images and ADC maps are told apart."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from scanside.runtime.dicom.read import read_frames
from scanside.runtime.dicom.select import RULES, judge
from scanside.runtime.dicom.study import index_study
from scanside.runtime.errors import InputError
from tests.runtime.dicom.studies import DWI, add, named, new_uids, select, whole
from tests.support.dicom_factory import ROOT, Grid, enhanced, save, slope_of, stored_values
from tests.support.sentences import assert_one_sentence

pytestmark = pytest.mark.requirement("series-choice")


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
    new_uids(tmp_path / "0" / "s4", 40)
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
    new_uids(tmp_path / "low" / "s4", 40)
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
