"""Features of tiny patients: of the right masks, perturbed, resumable, absent with their reason."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.errors import InputError
from scanside.runtime.images.read import read_image
from scanside.runtime.radiomics.config import RadiomicsConfig, load_config
from scanside.runtime.radiomics.extract import extract
from scanside.training.cohort.table import read_cohort
from scanside.training.experiment import Experiment
from scanside.training.signature.cases import BESIDE
from scanside.training.signature.extract import Job, gather, jobs_of, measure_all
from scanside.training.signature.store import CROSS_VALIDATED, NONE, REFERENCE, TEST
from tests.support.sentences import assert_one_sentence


@pytest.fixture
def recipe(experiment: Experiment) -> RadiomicsConfig:
    return load_config((experiment.path.parent / "recipe.yaml").read_bytes())


@pytest.fixture
def jobs(experiment: Experiment, recipe: RadiomicsConfig) -> list[Job]:
    return jobs_of(read_cohort(experiment.cohort), experiment, recipe, perturbations=2, seed=0)


def test_every_patient_by_the_right_mask(
    experiment: Experiment, recipe: RadiomicsConfig, jobs: list[Job]
) -> None:
    cohort = read_cohort(experiment.cohort)
    counted: list[int] = []
    measure_all(jobs, 1, lambda: counted.append(1))
    assert len(counted) == 10
    found, absent = gather(cohort, jobs, "PDAC")
    assert [p.part for p in found.patients] == [CROSS_VALIDATED] * 8 + [TEST] * 2
    assert [p.positive for p in found.of(CROSS_VALIDATED)] == [True, False] * 4
    cases = found.cases(CROSS_VALIDATED)
    assert cases["measured"].shape == (8, 3, len(found.features))
    assert found.cases(TEST)["measured"].shape[1] == 1

    mask = experiment.masks(CROSS_VALIDATED, "t2w") / "p0.nii.gz"
    volume, image = (read_image(path) for path in (mask, cohort.image("p0", "t2w")))
    direct = extract({"t2w": image}, {"t2w": volume.data[0].astype(np.uint8)}, recipe)
    for name in ("t2w_original_firstorder_Mean", "t2w_original_glcm_Contrast"):
        assert cases["values"][0, found.features.index(name)] == direct[name].value
    adc = read_image(cohort.image("p0", "adc")).data[0]
    inside = read_image(experiment.masks(CROSS_VALIDATED, "dwi") / "p0.nii.gz").data[0] > 0
    assert cases["beside"][0, BESIDE.index("adc_mean")] == pytest.approx(adc[inside].mean())

    column = found.features.index("t2w_original_shape_VoxelVolume")
    own, smaller, larger = cases["measured"][0, :, column]
    assert 0.75 * own < smaller < own < larger < 1.25 * own
    reader = found.cases(CROSS_VALIDATED, REFERENCE)
    assert (reader["values"][:, column] > cases["values"][:, column]).all()
    assert np.array_equal(reader["measured"], cases["measured"], equal_nan=True)
    assert absent == {"no lesion is segmented on dwi": 3}


def test_a_missed_lesion_is_absent_with_its_reason(experiment: Experiment, jobs: list[Job]) -> None:
    measure_all(jobs[3:4], 1)
    document = json.loads(jobs[3].out.read_text())
    assert document["missed"] == ["dwi"]
    assert document["adc_mean"] is None
    assert document["volume_ml"] > 0
    assert document["values"]["cross-validated/none"]["adc_original_firstorder_Mean"] is None
    found, _ = gather(read_cohort(experiment.cohort), jobs[3:4], "PDAC")
    assert found.usable(CROSS_VALIDATED).tolist() == [False]
    t2w = tuple(i for i, name in enumerate(found.features) if name.startswith("t2w"))
    assert found.usable(CROSS_VALIDATED, {"t2w": t2w}).tolist() == [True], (
        "a model of the T2WI alone may use it"
    )
    assert found.usable(CROSS_VALIDATED, {"dwi": t2w}).tolist() == [False]


def test_lesions_in_two_places_enter_no_fit(experiment: Experiment, jobs: list[Job]) -> None:
    """Before, features of both places went into the signature together."""
    image = sitk.ReadImage(str(jobs[0].masks["dwi"]))
    voxels = np.zeros_like(sitk.GetArrayFromImage(image))
    voxels[0, :5, :5] = 1
    moved = sitk.GetImageFromArray(voxels)
    moved.CopyInformation(image)
    sitk.WriteImage(moved, str(jobs[0].masks["dwi"]))
    measure_all(jobs[:1], 1)
    found, _ = gather(read_cohort(experiment.cohort), jobs[:1], "PDAC")
    (patient,) = found.patients
    assert patient.apart and patient.wrong == "dwi" and not patient.missed
    assert found.usable(CROSS_VALIDATED).tolist() == [False]
    assert not patient.shows(("dwi",)) and not patient.shows(("t2w", "dwi"))


def test_what_is_done_is_not_done_again(jobs: list[Job]) -> None:
    measure_all(jobs[:2], 1)
    before = [job.out.stat().st_mtime_ns for job in jobs[:2]]
    jobs[1].masks["t2w"].write_bytes(jobs[0].masks["t2w"].read_bytes())
    measure_all(jobs[:2], 1)
    after = [job.out.stat().st_mtime_ns for job in jobs[:2]]
    assert after[0] == before[0]
    assert after[1] > before[1]
    assert replace(jobs[0], seed=1).key() != jobs[0].key()
    assert replace(jobs[0], perturbations=()).key() != jobs[0].key()


def test_processes_measure_the_same(jobs: list[Job], tmp_path: Path) -> None:
    measure_all(jobs[:2], 1)
    others = [replace(job, out=tmp_path / f"{job.patient}.json") for job in jobs[:2]]
    measure_all(others, 2)
    for job, other in zip(jobs, others, strict=False):
        assert job.out.read_text() == other.out.read_text()


def test_a_mask_that_is_not_there(experiment: Experiment, recipe: RadiomicsConfig) -> None:
    (experiment.masks(TEST, "dwi") / "p9.nii.gz").unlink()
    with pytest.raises(InputError, match="train segment --role dwi") as error:
        jobs_of(read_cohort(experiment.cohort), experiment, recipe, 2, 0)
    assert_one_sentence(str(error.value), "p9")


def test_a_mask_on_another_grid(jobs: list[Job]) -> None:
    image = sitk.ReadImage(str(jobs[0].masks["dwi"]))
    image.SetOrigin((1.0, 0.0, 0.0))
    sitk.WriteImage(image, str(jobs[0].masks["dwi"]))
    with pytest.raises(InputError, match="not on the grid") as error:
        measure_all(jobs[:1], 1)
    assert_one_sentence(str(error.value), "p0", "origin")


def test_no_mask_no_perturbation(jobs: list[Job]) -> None:
    assert jobs[8].perturbations == ()
    assert not jobs[8].ablation and jobs[8].reader
    assert NONE not in jobs[0].perturbations
