"""IBSI-1: the digital phantom, the codes, the command."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from typer.main import get_command

from scanside.runtime.cli import radiomics as command
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.images.read import read_image
from scanside.runtime.radiomics import conformance as module
from scanside.runtime.radiomics.config import default_config, dump_config
from scanside.runtime.radiomics.conformance import KNOWN, conformance, phantom, references, within
from scanside.runtime.radiomics.ibsi import CODES, code
from scanside.runtime.radiomics.names import FEATURES
from tests.runtime.radiomics.lesion_images import abdomen
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.requirement("features")


def run(*arguments: str) -> int:
    return int(get_command(command.app).main(args=list(arguments), standalone_mode=False) or 0)


def test_every_feature_passes_but_those_that_are_defined_otherwise() -> None:
    rows = conformance()
    assert len(rows) == len(references()) == 254
    assert not [row for row in rows if row.status == "fail"]
    others = {(row.reference.kind, row.reference.feature) for row in rows if row.status == "known deviation"}
    assert others == set(KNOWN)
    aggregations = {row.reference.aggregation for row in rows}
    assert aggregations == {"", "3D", "2.5D", "3D:averaged", "3D:merged", "2.5D:averaged", "2.5D:merged"}


def test_the_built_in_phantom_and_values_are_the_published_ones() -> None:
    image, mask = phantom()
    folder = shared_data("volumes", "ibsi1_digital_phantom")
    published = read_image(folder / "phantom.nii.gz")
    np.testing.assert_array_equal(image.data, published.data)
    np.testing.assert_array_equal(mask, read_image(folder / "mask.nii.gz").data[0])
    assert image.geometry.spacing == published.geometry.spacing
    lines = (
        shared_data("volumes", "ibsi1_reference_values", "ibsi_1_dig_phantom.csv")
        .read_text()
        .splitlines()[1:]
    )
    known = {tuple(line.split(";")[:2]) for line in lines}
    table = Path(module.__file__).with_name("ibsi_digital_phantom.csv").read_text().splitlines()
    ours = {tuple(line.split(",")[4:]) for line in table if not line.startswith(("#", "class"))}
    assert ours <= known


def test_a_tolerance_of_zero_still_allows_the_rounding_of_the_manual() -> None:
    reference = next(r for r in references() if r.feature == "Skewness")
    assert (reference.value, reference.tolerance) == (1.08, 0)
    assert within(1.0849, reference) and within(1.0751, reference)
    assert not within(1.0851, reference) and not within(1.0749, reference)


def test_a_wrong_phantom_fails_and_names_what() -> None:
    image, mask = phantom()
    mask[0, 0, 0] = 0
    rows = conformance(image, mask)
    failed = [row for row in rows if row.status == "fail"]
    assert failed and all(row.reason == "beyond the tolerance" for row in failed)
    kurtosis = next(row for row in rows if row.reference.feature == "Kurtosis")
    assert kurtosis.status == "fail"  # it deviates, but not by the known 3


def test_codes_are_dicoms() -> None:
    from pydicom.sr._concepts_dict import concepts

    dicom = {value: words[0] for entry in concepts["IBSI"].values() for value, words in entry.items()}
    for (kind, feature), found in CODES.items():
        assert feature in FEATURES[kind]
        assert found.dicom == (found.value in dicom)
        assert not found.dicom or found.meaning == dicom[found.value]
    assert len({found.value for found in CODES.values()}) == len(CODES)
    assert all(code(r.kind, r.feature).value == r.code for r in references())
    assert code("glcm", "MCC") is None


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("conformance") == 0
    output, words = capsys.readouterr()
    assert len(output.splitlines()) == 254
    assert "251 pass, 3 known deviation, 0 fail" in words and "excess kurtosis" in words


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("conformance", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "scanside.conformance/1" and document["status"] == "ok"
    assert document["counts"] == {"pass": 251, "known deviation": 3, "fail": 0}
    row = document["features"][0]
    assert set(row) >= {"ibsi", "feature", "value", "reference", "tolerance", "status"}


def test_a_failure_is_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, mask = phantom()
    mask[0, 0] = 0
    for name, array in (("phantom", image.data[0]), ("mask", mask)):
        picture = sitk.GetImageFromArray(array)
        picture.SetSpacing((2, 2, 2))
        sitk.WriteImage(picture, str(tmp_path / f"{name}.nii.gz"))
    assert run("conformance", "--data", str(tmp_path), "--json") == 1
    assert json.loads(capsys.readouterr().out)["status"] == "failed"


def test_extract_measures_the_largest_lesion_of_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, mask = abdomen()
    mask[0, 0, :3] = 1
    files = []
    for name, array in (("image", image.data[0]), ("mask", mask)):
        picture = sitk.GetImageFromArray(array)
        picture.SetSpacing(image.geometry.spacing[::-1])
        files.append(str(tmp_path / f"{name}.nii.gz"))
        sitk.WriteImage(picture, files[-1])
    config = tmp_path / "radiomics.yaml"
    config.write_bytes(dump_config(default_config()))
    assert run("extract", *files, "--config", str(config), "--json") == 0
    features = json.loads(capsys.readouterr().out)["features"]
    assert len(features) == 3 * 93 + 14 and features["t2w_original_shape_Sphericity"]["value"] > 0.5
    assert run("extract", *files, "--sequence", "adc") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3 * 93
    with pytest.raises(UsageError, match="no sequence 't1w'"):
        run("extract", *files, "--sequence", "t1w")
    with pytest.raises(InputError, match="cannot be read"):
        run("extract", *files, "--config", str(tmp_path / "none.yaml"))
