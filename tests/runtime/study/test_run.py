"""`scanside run` as the shell sees it: exit codes, files, result.json, what a person reads."""

import json
import shutil
from pathlib import Path
from typing import Any

import highdicom
import jsonschema
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from scanside.runtime.record import json_schema
from scanside.runtime.study.report import StudyReport
from tests.runtime.cli.conftest import Command
from tests.runtime.study.tiny_study import (
    TinyBundle,
    TinyStudy,
    images,
    write_bundle,
    write_image,
    write_nifti,
)
from tests.support.interpreter import python
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data

SCHEMA = json_schema(StudyReport)
NIFTI_FILES = {"t2w_mask.nii.gz", "dwi_mask.nii.gz", "t2w_overlay.png", "dwi_overlay.png", "result.json"}
OBJECTS = {"report_sr.dcm", "capture_sc.dcm", "key_images.dcm"}


def valid(report: Any) -> Any:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(report, SCHEMA)
    return report


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} if folder.exists() else set()


@pytest.fixture(scope="session")
def nifti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nifti(tmp_path_factory.mktemp("nifti") / "P007")


def test_nifti_study(scanside: Command, bundle: Path, nifti: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    done = scanside("run", bundle, nifti, "-o", out, "--device", "cpu", "--json")
    assert done.code == 0 and files(out) == NIFTI_FILES and files(tmp_path) == NIFTI_FILES
    report = valid(done.json)
    assert report == valid(json.loads((out / "result.json").read_text())) and report["objects"] == []
    assert report["status"] == "ok" and report["synthetic"] is True and report["reason"] is None
    assert report["outputs"] == [str(out / name) for name in (
        "t2w_mask.nii.gz", "t2w_overlay.png", "dwi_mask.nii.gz", "dwi_overlay.png", "result.json")]  # fmt: skip
    assert report["inputs"] == [str(nifti / f"{name}.nii.gz") for name in ("t2w", "dwi", "adc")]
    assert report["device"] == {
        "asked": "cpu", "obtained": "cpu", "why": "asked for", "precision": "fp32", "engine": None,
    }  # fmt: skip
    assert report["stages"][0]["name"] == "read" and report["stages"][-1]["name"] == "write"
    for role in ("t2w", "dwi"):
        mask, image = (
            sitk.ReadImage(str(out / f"{role}_mask.nii.gz")),
            sitk.ReadImage(str(nifti / f"{role}.nii.gz")),
        )
        assert mask.GetSize() == image.GetSize() and np.allclose(mask.GetOrigin(), image.GetOrigin())
        ml = sitk.GetArrayFromImage(mask).sum() * np.prod(image.GetSpacing()) / 1000
        assert report["labels"][f"{role} lesion"] == pytest.approx(ml, rel=1e-6)
        (lesion,) = [row for row in report["lesions"] if row["role"] == role]
        assert lesion["volume_ml"] == pytest.approx(ml, rel=1e-5) and lesion["measured"]
        voxels = np.argwhere(sitk.GetArrayFromImage(mask)).mean(axis=0)[::-1]
        assert lesion["centroid_mm"] == pytest.approx(
            mask.TransformContinuousIndexToPhysicalPoint(voxels.tolist()), abs=1e-3
        )
    assert len(report["signature"]) == 9
    assert report["probability"]["class"] == "PDAC" and report["probability"]["predicted"] == "PDAC"
    assert 0 <= report["distance"] <= 1


def test_what_a_person_reads(scanside: Command, bundle: Path, nifti: Path, tmp_path: Path) -> None:
    done = scanside("run", bundle, nifti, "-o", tmp_path / "o", "--device", "cpu", "--no-mirroring")
    assert done.out.splitlines() == [str(tmp_path / "o" / name) for name in (
        "t2w_mask.nii.gz", "t2w_overlay.png", "dwi_mask.nii.gz", "dwi_overlay.png", "result.json")]  # fmt: skip
    lines = done.err.splitlines()
    (probability,) = [line for line in lines if "of PDAC" in line]
    assert "(ok; named PDAC)" in probability and "interval" in probability
    assert any(line.startswith("Status") and "OK" in line for line in lines)
    for words in (
        "T2WI",
        "DWI",
        " ml",
        " mm long",
        "SYNTHETIC",
        "approximate: no mirroring",
        "Research use only",
    ):
        assert words in done.err


def test_dicom_study_gets_segmentation_objects(
    scanside: Command, bundle: Path, dicom_study: Path, nifti: Path, tmp_path: Path
) -> None:
    done = scanside("run", bundle, dicom_study, "-o", tmp_path / "d", "--device", "cpu", "--json")
    assert done.code == 0 and files(tmp_path / "d") == NIFTI_FILES | OBJECTS | {
        "t2w_mask.dcm",
        "dwi_mask.dcm",
    }
    report = valid(done.json)
    listed = {(row["kind"], row["path"]) for row in report["objects"]}
    assert listed == {(kind, str(tmp_path / "d" / name)) for kind, name in (
        ("seg", "t2w_mask.dcm"), ("seg", "dwi_mask.dcm"), ("sr", "report_sr.dcm"),
        ("sc", "capture_sc.dcm"), ("key", "key_images.dcm"))}  # fmt: skip
    for row in report["objects"]:
        header = pydicom.dcmread(row["path"], stop_before_pixels=True)
        assert (header.SOPClassUID, header.SOPInstanceUID) == (row["sop_class_uid"], row["sop_instance_uid"])
        assert row["path"] in report["outputs"]
    assert {row["series"]: row["chosen"] for row in report["considered"]}["1 'localizer'"] is None
    assert [row["b_value"] for row in report["sequences"]] == [None, 800.0, None]
    for role in ("t2w", "dwi"):
        written = highdicom.seg.segread(tmp_path / "d" / f"{role}_mask.dcm")
        assert written.SegmentSequence[0].SegmentLabel == "Lesion 1"
        uid = {row["sequence"]: row["series_instance_uid"] for row in report["sequences"]}[role]
        assert written.ReferencedSeriesSequence[0].SeriesInstanceUID == uid
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "d" / f"{role}_mask.nii.gz")))
        frames = written.get_volume(combine_segments=True).array
        assert frames.sum() == mask.sum() > 0
    same = scanside("run", bundle, nifti, "-o", tmp_path / "n", "--device", "cpu", "--json").json
    for key in ("status", "lesions", "signature", "probability", "labels"):
        assert report[key] == same[key]


def test_a_second_run_gives_the_same_files(
    scanside: Command, bundle: Path, dicom_study: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        assert scanside("run", bundle, dicom_study, "-o", tmp_path / name, "--device", "cpu").code == 0
    for name in files(tmp_path / "one") - {"result.json"}:  # the DICOM objects too
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    first, second = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two"))
    for report in (first, second):
        del report["stages"], report["outputs"]
        for row in report["objects"]:
            row["path"] = Path(row["path"]).name
    assert first == second


def test_no_lesion(scanside: Command, bundle: Path, tmp_path: Path) -> None:
    study = write_nifti(tmp_path / "empty", TinyStudy(t2w=(), dwi=()))
    done = scanside("run", bundle, study, "-o", tmp_path / "o", "--device", "cpu", "--json")
    report = valid(done.json)
    assert done.code == 0 and report["status"] == "no lesion segmented"
    assert report["lesions"] == [] and report["probability"] is None and report["labels"]["dwi lesion"] == 0
    assert all(row["value"] is None and row["reason"] for row in report["signature"].values())
    assert files(tmp_path / "o") == NIFTI_FILES
    assert "not a negative finding" in done.err and "Probability  none is given" in done.err


def test_indeterminate(scanside: Command, nifti: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b", TinyBundle(indeterminate=(0.01, 0.999), synthetic=False))
    done = scanside("run", bundle, nifti, "-o", tmp_path / "o", "--device", "cpu", "--json")
    report = valid(done.json)
    assert (
        done.code == 0 and report["status"] == "indeterminate" and report["probability"]["predicted"] is None
    )
    assert "(indeterminate; no class is named)" in done.err and "SYNTHETIC" not in done.err


def test_a_refused_study_leaves_a_result_that_says_so(
    scanside: Command, bundle: Path, tmp_path: Path
) -> None:
    study = write_nifti(tmp_path / "study", names=("t2w", "adc"))
    done = scanside("run", bundle, study, "-o", tmp_path / "o", "--json")
    report = valid(done.json)
    assert (
        done.code == 5 and report["status"] == "unsuitable input" and files(tmp_path / "o") == {"result.json"}
    )
    assert_one_sentence(report["reason"], "diffusion-weighted")
    assert report["device"]["obtained"] is None and report["labels"] is None and report["lesions"] is None
    assert report["signature"] is None and report["probability"] is None and report["inputs"] == [str(study)]
    assert "UNSUITABLE INPUT" in done.err


def test_the_real_study_without_dwi(scanside: Command, bundle: Path, tmp_path: Path) -> None:
    for name in ("abdomen_scan_002_t2", "abdomen_scan_002_adc"):
        (tmp_path / "study" / name).mkdir(parents=True)
        for file in shared_data("dicom", name).iterdir():
            (tmp_path / "study" / name / file.name).symlink_to(file)
    done = scanside("run", bundle, tmp_path / "study", "-o", tmp_path / "o", "--json")
    assert done.code == 5 and "no diffusion-weighted series" in valid(done.json)["reason"]


def test_options_override_the_choice(
    scanside: Command, bundle: Path, dicom_study: Path, tmp_path: Path
) -> None:
    mine = write_image(images(TinyStudy(seed=3))["t2w"], tmp_path / "mine.nii.gz")
    done = scanside(
        "run", bundle, dicom_study, "-o", tmp_path / "o", "--t2w", mine, "--device", "cpu", "--json"
    )
    report = valid(done.json)
    assert report["sequences"][0]["how"] == "given with --t2w" and report["sequences"][0]["path"] == str(mine)
    assert files(tmp_path / "o") == NIFTI_FILES | OBJECTS | {"dwi_mask.dcm"}


def test_results_are_replaced_only_when_asked(
    scanside: Command, bundle: Path, nifti: Path, dicom_study: Path, tmp_path: Path
) -> None:
    out = tmp_path / "o"
    assert scanside("run", bundle, dicom_study, "-o", out, "--device", "cpu").code == 0
    (out / "notes.txt").write_text("mine")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    done = scanside("run", bundle, nifti, "-o", out, "--device", "cpu")
    assert done.code == 1 and "--overwrite" in done.err and done.out == ""
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert scanside("run", bundle, nifti, "-o", out, "--device", "cpu", "--overwrite").code == 0
    assert files(tmp_path) == NIFTI_FILES | {"notes.txt"}  # the SEG of the earlier run is gone with it


def test_a_failure_while_writing_leaves_nothing(
    scanside: Command, bundle: Path, nifti: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scanside.runtime.study import write

    def full(*arguments: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    out = tmp_path / "o"
    assert scanside("run", bundle, nifti, "-o", out, "--device", "cpu").code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(write, "write_overlay", full)
    done = scanside("run", bundle, nifti, "-o", out, "--device", "cpu", "--overwrite")
    assert done.code == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before and len(
        list(tmp_path.iterdir())
    ) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("BUNDLE", "nowhere", "-o", "OUT"), 5, "no file or folder nowhere"),
        (("nowhere", "STUDY", "-o", "OUT"), 3, "is not a bundle"),
        (("BUNDLE", "STUDY", "-o", "FILE"), 2, "is a file"),
        (("BUNDLE", "STUDY", "-o", "OUT", "--device", "abacus"), 2, "no device 'abacus'"),
        (("BUNDLE", "STUDY", "-o", "OUT", "--folds", "7"), 2, "no fold 7"),
        (("BUNDLE", "STUDY", "-o", "OUT", "--adc", "nowhere"), 5, "no file or folder nowhere"),
        (("BUNDLE", "STUDY"), 2, "--out"),
    ],
)
def test_mistakes(
    scanside: Command,
    bundle: Path,
    nifti: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    words: str,
) -> None:
    (tmp_path / "file").touch()
    paths = {"BUNDLE": bundle, "STUDY": nifti, "OUT": tmp_path / "out", "FILE": tmp_path / "file"}
    done = scanside("run", *(paths.get(argument, argument) for argument in arguments))
    assert done.code == code and words in done.err and done.out == ""
    assert files(tmp_path) == {"file"}


def test_a_tampered_classifier_is_refused(
    scanside: Command, bundle: Path, nifti: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "b")
    data = bytearray((copy / "classifiers" / "t2w-and-dwi.onnx").read_bytes())
    data[-1] ^= 1
    (copy / "classifiers" / "t2w-and-dwi.onnx").write_bytes(bytes(data))
    done = scanside("run", copy, nifti, "-o", tmp_path / "o", "--device", "cpu")
    assert done.code == 3 and "sha256" in done.err and files(tmp_path / "o") == set()


def test_the_command_line_loads_nothing_heavy() -> None:
    code = (
        "from scanside.runtime.cli.main import run\nrun(['run', '--help'])\nimport sys\nprint(*sys.modules)"
    )
    modules = {name.split(".")[0] for name in python(code).stdout.splitlines()[-1].split()}
    assert not modules & {
        "torch",
        "sklearn",
        "onnx",
        "pydicom",
        "highdicom",
        "onnxruntime",
        "radiomics",
        "PIL",
        "scipy",
    }
