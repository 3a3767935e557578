"""The files of a case: what they say of a picture, what no format can hold, and that all are there or none."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime import Options, open_bundle, segment
from scanside.runtime.errors import OutputError, UsageError
from scanside.runtime.segmenter import Segmenter
from tests.runtime.cli.conftest import Command
from tests.runtime.cli.test_segment import SCHEMA, files
from tests.support import phantoms
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import Tiny, write_model

Write = Callable[..., Path]
FLAT = Tiny(patch=(32, 32), spacing=(1.0, 1.2), features=(4, 8), mirror=None)


@pytest.fixture(scope="module")
def flat_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from scanside.export.nnunet import ExportOptions, export_nnunet
    from tests.support.onnx_exports import shared

    root = tmp_path_factory.mktemp("flat")
    with shared():
        export_nnunet(
            write_model(root, FLAT), root / "bundle", ExportOptions(precisions=("fp32",)), lambda _: None
        )
    return root / "bundle"


def picture(path: Path) -> Path:
    image = sitk.GetImageFromArray(phantoms.smooth((1, 40, 44), 2)[0].astype(np.float32))
    image.SetSpacing((1.2, 1.0))
    sitk.WriteImage(image, str(path))
    return path


def test_a_picture_has_areas_and_no_volume(scanside: Command, flat_bundle: Path, tmp_path: Path) -> None:
    done = scanside("segment", flat_bundle, picture(tmp_path / "x.mha"), "-o", tmp_path / "m.mha", "--json")
    assert done.code == 0
    report = done.json
    jsonschema.validate(report, SCHEMA)
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "m.mha")))
    assert mask.ndim == 2 and (mask == 1).any()
    for where in (report, report["cases"][0]):
        assert where["labels"] is None
        assert where["areas_mm2"] == {
            name: pytest.approx((mask == value).sum() * 1.2, abs=1e-5)
            for name, value in (("near", 1), ("far", 2))
        }
    assert " mm²" in done.err and " ml" not in done.err


def test_a_picture_as_an_array_is_the_picture_as_a_file(
    scanside: Command, flat_bundle: Path, tmp_path: Path
) -> None:
    file = picture(tmp_path / "x.mha")
    chosen = ("--device", "cpu")
    assert scanside("segment", flat_bundle, file, "-o", tmp_path / "m.mha", *chosen).code == 0
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    result = segment(open_bundle(flat_bundle), array, spacing=(1.0, 1.2), options=Options(device="cpu"))
    assert np.array_equal(result.mask[0], sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "m.mha"))))
    assert result.volumes_ml is None and result.areas_mm2 is not None and result.areas_mm2["near"] > 0
    with pytest.raises(UsageError):
        segment(open_bundle(flat_bundle), array, spacing=(1.0,))


def test_a_volume_has_no_area(scanside: Command, bundle: Path, write_image: Write, tmp_path: Path) -> None:
    source = write_image(tmp_path / "x.nii.gz")
    report = scanside("segment", bundle, source, "-o", tmp_path / "m.nii.gz", "--json").json
    assert report["areas_mm2"] is None and report["labels"]["near"] > 0


def test_a_format_that_drops_the_geometry_is_refused_before_the_network_runs(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_image(tmp_path / "x.nii.gz")
    image = sitk.ReadImage(str(source))
    image.SetDirection((0, 1, 0, 1, 0, 0, 0, 0, -1))
    sitk.WriteImage(image, str(source))
    assert scanside("segment", bundle, source, "-o", tmp_path / "ok.nii.gz", "--device", "cpu").code == 0
    monkeypatch.setattr(Segmenter, "segment", None)  # called, it would be an unforeseen error
    done = scanside("segment", bundle, source, "-o", tmp_path / "m.gipl", "--device", "cpu", "--json")
    assert done.code == 1
    assert_one_sentence(done.json["reason"], "m.gipl")
    assert "direction" in done.json["reason"] and "unforeseen" not in done.err


def test_a_dicom_seg_of_a_file_is_refused_before_the_network_runs(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_image(tmp_path / "x.nii.gz")
    monkeypatch.setattr(Segmenter, "segment", None)
    done = scanside("segment", bundle, source, "-o", tmp_path / "m.dcm", "--device", "cpu")
    assert done.code == 1 and "not DICOM" in done.err and "unforeseen" not in done.err


@pytest.mark.requirement("atomic")
def test_a_case_that_fails_while_it_is_written_leaves_none_of_its_files(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(geometry: object) -> bytes:
        raise OutputError("The disk is full; free some space.")

    monkeypatch.setattr("scanside.runtime.outputs.properties", full)
    source, out = write_image(tmp_path / "x.nii.gz"), tmp_path / "out"
    done = scanside("segment", bundle, source, "-o", out, "--save-probabilities", "--device", "cpu")
    assert done.code == 1 and "disk is full" in done.err
    assert not files(out) & {"x.nii.gz", "x.npz", "x.pkl"}


@pytest.mark.requirement("atomic")
def test_a_mask_that_cannot_be_replaced_is_kept(
    scanside: Command, bundle: Path, write_image: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise OutputError("The disk is full; free some space.")

    source, mask = write_image(tmp_path / "x.nii.gz"), tmp_path / "mask.nii.gz"
    mask.write_text("precious")
    monkeypatch.setattr("scanside.runtime.outputs.check_outputs", lambda *arguments: None)
    monkeypatch.setattr("scanside.runtime.outputs.write_mask", broken)
    monkeypatch.setattr("scanside.runtime.mask_steps.check_outputs", lambda *arguments: None)
    assert scanside("segment", bundle, source, "-o", mask, "--overwrite", "--device", "cpu").code == 1
    assert mask.read_text() == "precious"


def test_probabilities_of_two_models_in_one_folder_are_refused(
    scanside: Command, bundle: Path, two_channel_bundle: Path, write_image: Write, tmp_path: Path
) -> None:
    first, second = (write_image(tmp_path / f"{name}.nii.gz") for name in "ab")
    out, asked = tmp_path / "out", ("--save-probabilities", "--device", "cpu")
    assert scanside("segment", bundle, first, "-o", out, *asked).code == 0
    assert scanside("segment", bundle, second, "-o", out, *asked).code == 0
    other = tmp_path / "c_0000.nii.gz", tmp_path / "c_0001.nii.gz"
    for path in other:
        write_image(path)
    done = scanside("segment", two_channel_bundle, *other, "-o", out, *asked)
    assert done.code == 1 and "another model" in done.err and "c.nii.gz" not in files(out)


def test_a_voxel_beyond_all_measure_is_one_sentence(scanside: Command, bundle: Path, tmp_path: Path) -> None:
    data = phantoms.smooth((14, 26, 22), 3).astype(np.float32)
    data[4, 5, 6] = 1e38
    sitk.WriteImage(sitk.GetImageFromArray(data), str(tmp_path / "x.nii.gz"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = scanside("segment", bundle, tmp_path / "x.nii.gz", "-o", tmp_path / "m.nii.gz", "--json")
    assert done.code == 5 and "Warning" not in done.err
    assert_one_sentence(done.json["reason"], "float32")


def test_a_pipe_is_neither_file_nor_folder(scanside: Command, bundle: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.nii.gz")
    done = scanside("segment", bundle, tmp_path / "x.nii.gz", "-o", tmp_path / "m.nii.gz")
    assert done.code == 5 and "pipe" in done.err
