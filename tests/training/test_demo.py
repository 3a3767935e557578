"""What the demonstration says is true of its patient."""

import json
from dataclasses import asdict
from pathlib import Path

from scanside.training import demo
from scanside.training.phantom.study import make_study
from scanside.training.phantom.write import write_masks


def test_truth_is_the_phantoms_own_and_an_absent_mask_has_no_dice(tmp_path: Path) -> None:
    study = make_study(0, seed=7, small=True)
    write_masks(study, tmp_path)
    (tmp_path / "dwi_mask.nii.gz").unlink()
    truth = demo._truth(study, tmp_path)
    assert dict(truth.dice) == {"t2w": 1.0}, "the mask is the truth itself"
    lesion = study.patient.lesion
    assert (truth.diagnosis, truth.place, truth.size_mm) == (
        lesion.diagnosis,
        lesion.place,
        round(lesion.size_mm, 1),
    )
    assert (truth.age, truth.sex, truth.scanner) == (study.patient.age, study.patient.sex, study.scanner.name)
    assert json.loads(json.dumps(asdict(truth)))["dice"] == {"t2w": 1.0}
