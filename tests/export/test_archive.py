"""Archives of nnUNetv2_export_model_to_zip, made by nnU-Net itself, and golden images without names."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.export.archive import unpacked
from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import InputError
from tests.support import phantoms
from tests.support.kinds import CONFIGURATION, archive
from tests.support.tiny_models import Tiny, write_model

pytestmark = pytest.mark.requirement("no-code-in-models")


def test_an_archive_gives_the_bundle_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_model(tmp_path / "results", Tiny())
    file = archive(folder, tmp_path / "model.zip", monkeypatch)
    options = ExportOptions(precisions=("fp32",), name="tiny")
    with unpacked(file, None) as inside:
        export_nnunet(inside, tmp_path / "a", options, lambda words: None)
    export_nnunet(folder, tmp_path / "b", options, lambda words: None)
    first, second = (open_bundle(tmp_path / name).manifest for name in ("a", "b"))
    assert first.segmenters == second.segmenters and first.golden == second.golden
    network = f"segmenters/{CONFIGURATION}/0.onnx"
    assert first.files[network] == second.files[network]
    assert first.provenance["stages"] == second.provenance["stages"]


def zipped(file: Path, *names: str) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    return file


def test_what_is_not_clear_or_no_archive_is_refused(tmp_path: Path) -> None:
    two = zipped(tmp_path / "two.zip", "D/T__P__2d/plans.json", "D/T__P__3d_fullres/plans.json")
    with (
        pytest.raises(InputError, match=r"holds 2d, 3d_fullres; choose one with --configuration"),
        unpacked(two, None),
    ):
        pass
    with unpacked(two, "2d") as folder:
        assert folder.name == "T__P__2d"
    assert not folder.exists()
    for file, configuration, words in (
        (zipped(tmp_path / "other.zip", "README.md"), None, "holds no nnU-Net v2 model"),
        (tmp_path / "text.zip", None, "nor a readable archive"),
    ):
        if not file.exists():
            file.write_text("no archive")
        with pytest.raises(InputError, match=words), unpacked(file, configuration):
            pass


def test_a_path_that_leaves_the_archive_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    evil = zipped(tmp_path / "deep" / "evil.zip", "../../outside.json", "D/T__P__2d/plans.json")
    with unpacked(evil, None):
        assert not (tmp_path / "outside.json").exists() and not (tmp_path.parent / "outside.json").exists()


@pytest.mark.parametrize("keep", [True, False], ids=["images", "figures"])
def test_given_golden_images_have_no_names(keep: bool, tmp_path: Path) -> None:
    """Neither the file's name nor, with figures alone, a voxel of it gets into the bundle; stderr says which."""
    secret = "MEIER_ANNA_19610203"
    image = tmp_path / f"{secret}_0000.nii.gz"
    data = phantoms.smooth((20, 28, 26), 4).astype(np.float32)
    sitk.WriteImage(sitk.GetImageFromArray(data), str(image))
    said: list[str] = []
    options = ExportOptions(precisions=("fp32",), golden=(image,), keep_images=keep)
    export_nnunet(write_model(tmp_path, Tiny()), tmp_path / "bundle", options, said.append)
    bundle = open_bundle(tmp_path / "bundle")
    files = [path for path in (tmp_path / "bundle").rglob("*") if path.is_file()]
    assert all(secret not in str(path.relative_to(tmp_path)) for path in files)
    assert all(secret.encode() not in path.read_bytes() for path in files)
    assert ("golden-1" in [case.name for case in bundle.manifest.golden]) == keep
    stored = [np.load(io.BytesIO(bundle.read(case.file)))["image"] for case in bundle.manifest.golden]
    assert any(array.shape == (1, *data.shape) for array in stored) == keep
    parity = json.loads(bundle.read("parity.json"))
    assert any(row["case"] == "golden-1" for row in parity["hops"])  # proven on it either way
    assert any(("voxels of 1 given" if keep else "none of the images") in words for words in said), said
