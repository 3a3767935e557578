"""Ensembles of configurations in one bundle: beside `nnUNetv2_predict --save_probabilities` and `nnUNetv2_ensemble`."""

import json
import multiprocessing
from dataclasses import dataclass, replace
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.ensembling.ensemble import ensemble_folders

from scanside.runtime.bundle import open_bundle
from scanside.runtime.cli.main import run
from tests.support import phantoms
from tests.support.nnunet_files import postprocessed, predictor
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import REGION_LABELS, Tiny, write_cascade, write_model

FLAT = Tiny(patch=(32, 24), spacing=(1.0, 1.2), mirror=(0, 1))
REGIONS = {"labels": REGION_LABELS, "regions_class_order": (1, 2, 3)}


def predicted(folder: Path, images: Path, out: Path, previous: Path | None = None) -> Path:
    out.mkdir(parents=True)
    nnunet = predictor(folder, ("0",))
    nnunet.predict_from_files_sequential(
        str(images),
        str(out),
        save_probabilities=True,
        folder_with_segs_from_prev_stage=None if previous is None else str(previous),
    )
    return out


def written(folder: Path) -> Path:
    folder.mkdir()
    for number, shape in enumerate([(18, 40, 38), (14, 33, 27)]):
        image = sitk.GetImageFromArray(phantoms.smooth(shape, 5 + number).astype(np.float32) * 100 + 200)
        image.SetSpacing((0.9, 1.1, 1.7))
        image.SetOrigin((-20.5, 14.25, 7.0))
        sitk.WriteImage(image, str(folder / f"case{number}_0000.nii.gz"))
    return folder


@dataclass(frozen=True)
class Row:
    """Two models, and what nnU-Net found for both together."""

    members: tuple[Tiny, Tiny]
    postprocessing: tuple[object, ...] = ()
    cascade: bool = False


ROWS = {
    "2d and 3d, postprocessed": Row((FLAT, Tiny(transpose=(1, 0, 2))), ([1, 2],)),
    "regions": Row((replace(FLAT, **REGIONS), Tiny(**REGIONS))),  # type: ignore[arg-type]
    "2d and cascade": Row((FLAT, Tiny()), cascade=True),
}
LONGER = ("regions", "2d and cascade")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LONGER else []) for name in ROWS]
)
def test_same_labels_as_nnunet(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A pool of threads merges as the pool of processes does, without a minute of imports.
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind: SimpleNamespace(Pool=ThreadPool))
    row, images = ROWS[name], written(tmp_path / "images")
    first = write_model(tmp_path, row.members[0])
    folders = (
        first,
        *(
            write_cascade(tmp_path, row.members[1])
            if row.cascade
            else (write_model(tmp_path, row.members[1]),)
        ),
    )
    outs = [predicted(folders[0], images, tmp_path / "p0")]
    stage = predicted(folders[1], images, tmp_path / "p1")
    outs.append(predicted(folders[2], images, tmp_path / "p2", stage) if row.cascade else stage)
    ensemble_folders([str(out) for out in outs], str(tmp_path / "theirs"), num_processes=1)
    members = [folders[0], folders[-1]]
    found = first.parent / "ensembles" / "___".join(["ensemble", *(one.name for one in members), "0"])
    if row.postprocessing:
        found.mkdir(parents=True)
        steps = {
            "postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"]
            * len(row.postprocessing),
            "postprocessing_kwargs": [{"labels_or_regions": what} for what in row.postprocessing],
        }
        (found / "postprocessing.json").write_text(json.dumps(steps))
    bundle, out = tmp_path / "bundle", tmp_path / "ours"
    assert run(["export", "nnunet", *map(str, members), "-o", str(bundle), "--precision", "fp32"]) == 0
    assert (
        run(["segment", str(bundle), str(images), "-o", str(out), "--device", "cpu", "--save-probabilities"])
        == 0
    )
    differing = 0
    for number in range(2):
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"theirs/case{number}.nii.gz")))
        if row.postprocessing:
            theirs = postprocessed(theirs, found / "postprocessing.json")
        ours = sitk.GetArrayFromImage(sitk.ReadImage(str(out / f"case{number}.nii.gz")))
        alone = [sitk.GetArrayFromImage(sitk.ReadImage(str(one / f"case{number}.nii.gz"))) for one in outs]
        assert all((theirs != one).any() for one in alone) and len(np.unique(theirs)) > 2
        differing += int((ours != theirs).sum())
        mean = sum(np.load(one / f"case{number}.npz")["probabilities"] for one in outs) / 2
        np.testing.assert_allclose(np.load(out / f"case{number}.npz")["probabilities"], mean, atol=2e-3)
    assert differing == 0
    if not row.cascade:
        opened = open_bundle(bundle)
        assert opened.role(None) == "ensemble" and opened.manifest.final_roles == ("ensemble",)
        assert run(["selftest", str(bundle), "--device", "cpu"]) == 0
        assert (
            run(
                [
                    "segment",
                    str(bundle),
                    str(images),
                    "-o",
                    str(tmp_path / "one"),
                    "--device",
                    "cpu",
                    "--role",
                    "2d",
                ]
            )
            == 0
        )
        one = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "one/case0.nii.gz")))
        np.testing.assert_array_equal(
            one, sitk.GetArrayFromImage(sitk.ReadImage(str(outs[0] / "case0.nii.gz")))
        )


def test_what_find_best_configuration_wrote(tmp_path: Path) -> None:
    """inference_information.json names folders and folds; its ensemble's postprocessing is found in any order."""
    from scanside.export.members import chosen_models, ensemble_postprocessing

    names = [f"nnUNetTrainer__nnUNetPlans__{configuration}" for configuration in ("2d", "3d_fullres")]
    file = tmp_path / "inference_information.json"
    models = [
        dict(zip(("trainer", "plans_identifier", "configuration"), name.split("__"), strict=True))
        for name in names
    ]
    file.write_text(
        json.dumps({"folds": [0, 1], "best_model_or_ensemble": {"selected_model_or_models": models}})
    )
    chosen = chosen_models([file])
    assert [folder.name for folder in chosen.folders] == names and chosen.folds == ("0", "1")
    found = tmp_path / "ensembles" / f"ensemble___{names[1]}___{names[0]}___0_1" / "postprocessing.json"
    found.parent.mkdir(parents=True)
    found.touch()
    assert ensemble_postprocessing(chosen.folders, ("0", "1")) == found
    assert ensemble_postprocessing(chosen.folders, ("0",)) is None


def test_refusals(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = write_model(tmp_path / "a", FLAT)
    other = write_model(tmp_path / "b", Tiny(labels={"background": 0, "one": 1}))
    damaged = tmp_path / "inference_information.json"
    damaged.write_text("{}")
    for models, words in (
        ([first, first], "given twice"),
        ([first, other], "have different labels"),
        ([damaged], "find_best_configuration"),
    ):
        assert (
            run(["export", "nnunet", *map(str, models), "-o", str(tmp_path / "x"), "--precision", "fp32"])
            == 5
        )
        error = capfd.readouterr().err.strip().splitlines()[-1]
        assert words in error
        assert_one_sentence(error)
        assert not (tmp_path / "x").exists()
    arguments = [
        "export",
        "nnunet",
        str(first),
        str(other),
        "--configuration",
        "2d",
        "-o",
        str(tmp_path / "x"),
    ]
    assert run(arguments) == 2


def test_an_image_larger_than_the_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from scanside.runtime.errors import CaseError
    from scanside.runtime.plan import Labels
    from scanside.runtime.stages import ensemble

    monkeypatch.setattr(ensemble, "memory_gib", lambda: 8.0)
    labels = Labels(names={"background": 0, **{f"part {i}": i for i in range(1, 60)}})
    ensemble.require_memory((40, 256, 256), labels)
    with pytest.raises(CaseError, match="this machine has 8 GiB"):
        ensemble.require_memory((400, 512, 512), labels)
