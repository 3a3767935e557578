"""Outlines as a presentation state: what they enclose is the mask, by our own reader, for dcmtk and by dciodvfy."""

import subprocess
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from scanside.runtime.arrays import LabelMask
from scanside.runtime.dicom import presentation
from scanside.runtime.dicom.object_header import Algorithm, stamp_of
from scanside.runtime.dicom.presentation import Lesion, filled, write_outlines
from scanside.runtime.dicom.read import read_series
from scanside.runtime.dicom.series import DicomSeries
from scanside.runtime.errors import OutputError
from scanside.runtime.labels import segment_color
from scanside.runtime.stages.outline import outlines
from tests.support.dciodvfy import errors_of
from tests.support.dicom_factory import Grid, enhanced, save, slope_of, stored_values, write_series
from tests.support.peers import need

ALGORITHM = Algorithm("pancreas", "1.2.0", "ab" * 32)
TRACKED = Lesion(1, "Lesion 1", ("t2w Lesion 1", "2.25.1"))


def two_lesions() -> LabelMask:
    """(6, 8, 6): one with a hole and a corner at the image's edge, one that touches it, one of another label."""
    mask = np.zeros((6, 8, 6), np.uint16)
    mask[2, 0:5, 0:5] = 1
    mask[2, 2, 2] = 0
    mask[3, 1:3, 1:3] = 1
    mask[3, 3, 3] = 2
    mask[4, 7, 5] = 2
    mask[1, 4, 4] = 3
    return mask


def written(
    series: DicomSeries, folder: Path, mask: LabelMask, synthetic: bool = False
) -> list[pydicom.Dataset]:
    lesions = [TRACKED, Lesion(2, "Further lesions", None)]
    made = write_outlines(
        mask, lesions, series, synthetic, stamp_of(ALGORITHM, series.headers), folder / "pr"
    )
    for path, _ in made:
        assert errors_of(path) == []
    return [pydicom.dcmread(path) for path, _ in made]


def test_what_the_outlines_enclose_is_the_mask(tmp_path: Path) -> None:
    series = read_series(write_series(tmp_path / "in", stored_values((6, 8, 6)), order=[3, 5, 0, 2, 4, 1]))[1]
    mask = two_lesions()
    (state,) = written(series, tmp_path, mask, synthetic=True)
    found = filled(state, 8, 6)
    assert set(found) == {(uid, 1) for uid in series.sop_instance_uids[2:5]}, "slices through lesions alone"
    for z in (2, 3, 4):
        assert (found[series.sop_instance_uids[z], 1] == np.isin(mask[z], (1, 2))).all()
    assert state.Modality == "PR" and state.PatientID == "P1" and state.SeriesNumber > 14000
    assert "RESEARCH USE ONLY" in state.SeriesDescription
    texts = [one.TextObjectSequence[0].UnformattedTextValue for one in state.GraphicAnnotationSequence
             if "TextObjectSequence" in one]  # fmt: skip
    assert texts == ["RESEARCH USE ONLY - SYNTHETIC PHANTOM MODEL"] * 3, "one on each slice"
    layers = {one.GraphicLayer: one for one in state.GraphicLayerSequence}
    assert list(layers) == ["NOTICE", "LESION 1", "LESION 2"]
    red = highdicom.color.CIELabColor.from_rgb(*segment_color(1))
    assert layers["LESION 1"].GraphicLayerRecommendedDisplayCIELabValue == list(red.value)
    tracked = {
        (graphic.get("TrackingID"), graphic.get("TrackingUID"), one.GraphicLayer)
        for one in state.GraphicAnnotationSequence
        for graphic in one.get("GraphicObjectSequence") or ()
    }
    assert tracked == {("t2w Lesion 1", "2.25.1", "LESION 1"), (None, None, "LESION 2")}


def test_dcmtk_accepts_and_applies_it(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "in", stored_values((6, 8, 6)))
    series = read_series(folder)[1]
    written(series, tmp_path, two_lesions())
    checked = subprocess.run(
        [need("dcmpschk"), tmp_path / "pr.dcm"], capture_output=True, text=True, check=False
    )
    said = checked.stdout + checked.stderr
    assert checked.returncode == 0 and "Test passed" in said, said
    image = series.frames[2].instance.path
    command = [need("dcmp2pgm"), "-p", tmp_path / "pr.dcm", image, tmp_path / "shown.pgm"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert (tmp_path / "shown.pgm").read_bytes().startswith(b"P5")


def test_frames_of_a_multi_frame_object_are_named(tmp_path: Path) -> None:
    """Each frame of this one has a rescaling of its own."""
    file = enhanced(stored_values((6, 8, 6)), Grid(), [3, 5, 1, 0, 4, 2], True)
    series = read_series(save(file, tmp_path / "one.dcm"))[1]
    mask = two_lesions()
    states = written(series, tmp_path, mask)
    assert [float(one.RescaleSlope) for one in states] == [slope_of(z) for z in (2, 3, 4)]
    for z, state, number in zip((2, 3, 4), states, (6, 1, 5), strict=True):
        ((uid, frame), enclosed), *none = filled(state, 8, 6).items()
        assert (uid, frame, none) == (file.SOPInstanceUID, number, [])
        assert (enclosed == np.isin(mask[z], (1, 2))).all()
        (image,) = state.ReferencedSeriesSequence[0].ReferencedImageSequence
        assert image.ReferencedFrameNumber == number


def test_images_that_are_scaled_apart_get_states_of_their_own(tmp_path: Path) -> None:
    """A presentation state has one rescaling and would show the others wrong (Philips scales each slice)."""

    def change(z: int, dataset: pydicom.Dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = 1 + (z == 4), 0
        dataset.WindowCenter, dataset.WindowWidth = 100 + z, 200

    series = read_series(write_series(tmp_path / "in", stored_values((6, 8, 6)), change=change))[1]
    mask = two_lesions()
    states = written(series, tmp_path, mask)
    assert [float(one.RescaleSlope) for one in states] == [1, 2]
    assert (
        len({one.SOPInstanceUID for one in states}) == 2
        and len({one.SeriesInstanceUID for one in states}) == 1
    )
    assert [len(filled(one, 8, 6)) for one in states] == [2, 1]
    windows = [float(one.WindowCenter) for one in states[0].SoftcopyVOILUTSequence]
    assert windows == [102, 103]


def test_without_a_lesion_there_is_none(tmp_path: Path) -> None:
    series = read_series(write_series(tmp_path / "in", stored_values((6, 8, 6))))[1]
    assert written(series, tmp_path, np.zeros((6, 8, 6), np.uint16)) == []
    assert not (tmp_path / "pr.dcm").exists()


def test_a_long_outline_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presentation, "_MOST_POINTS", 4)
    series = read_series(write_series(tmp_path / "in", stored_values((6, 8, 6))))[1]
    mask = two_lesions()
    (state,) = written(series, tmp_path, mask)
    graphics = [
        one for item in state.GraphicAnnotationSequence for one in item.get("GraphicObjectSequence") or ()
    ]
    assert max(int(one.NumberOfGraphicPoints) for one in graphics) == 4
    assert (filled(state, 8, 6)[series.sop_instance_uids[2], 1] == (mask[2] == 1)).all()


def test_an_outline_that_is_not_the_mask_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = read_series(write_series(tmp_path / "in", stored_values((6, 8, 6))))[1]
    monkeypatch.setattr(presentation, "outlines", lambda plane: outlines(np.roll(plane, 1, axis=1)))
    with pytest.raises(OutputError, match="read again, is not the mask"):
        written(series, tmp_path, two_lesions())
