"""What an ensemble of configurations is made of; its labels beside nnU-Net's are in test_matrix.py."""

import json
from pathlib import Path

import pytest

from scanside.runtime.cli.main import run
from tests.support.kinds import FLAT
from tests.support.sentences import assert_one_sentence
from tests.support.tiny_models import Tiny, write_model


def test_what_find_best_configuration_wrote(tmp_path: Path) -> None:
    """inference_information.json names folders and folds; its ensemble's postprocessing is found in any order."""
    from scanside.export.ensemble_members import chosen_models, ensemble_postprocessing

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
