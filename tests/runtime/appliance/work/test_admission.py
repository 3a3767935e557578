"""What is no abdomen is not computed, and nothing of it reaches an archive."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset

from scanside.runtime.appliance.admission import Accept, SeriesFacts, why_not
from scanside.runtime.appliance.store import orders, outbox
from scanside.runtime.appliance.store.states import State
from scanside.runtime.appliance.work.main import Worker
from tests.runtime.appliance.work.filled import configured, opened, received, shown
from tests.runtime.study.tiny_study import TinyBundle, write_bundle
from tests.support.sentences import assert_one_sentence
from tests.support.shared_data import shared_data

pytestmark = pytest.mark.requirement("wrong-study")

ABDOMEN, PROSTATE, NONE = (
    SeriesFacts("MR", part, "MR upper abdomen") for part in ("ABDOMEN", "Prostate", "")
)


@pytest.mark.parametrize(
    ("series", "rules", "words"),
    [
        ([ABDOMEN, PROSTATE], {}, None),
        ([NONE], {}, None),
        ([PROSTATE, PROSTATE], {}, "PROSTATE"),
        ([ABDOMEN], {"body_parts": ["LIVER"]}, "ABDOMEN"),
        ([NONE], {"body_parts": ["LIVER"]}, None),
        ([SeriesFacts("MR", "ABDOMEN", "MRT Prostata")], {}, "prostat"),
        ([SeriesFacts("MR", "ABDOMEN", "MRT Prostata")], {"not_words": []}, None),
        ([SeriesFacts("CT", "ABDOMEN", "")], {}, "no MR images"),
        ([], {}, "no MR images"),
    ],
)
def test_why_a_study_is_not_accepted(
    series: list[SeriesFacts], rules: dict[str, object], words: str | None
) -> None:
    found = why_not(series, Accept.model_validate(rules))
    assert (found is None) == (words is None)
    if found is not None:
        assert_one_sentence(found, str(words), "nothing is sent")


def of_a_prostate(dataset: Dataset) -> None:
    dataset.BodyPartExamined = "PROSTATE"


def test_a_prostate_sends_nothing_until_a_person_chooses_its_series(
    tmp_path: Path, dicom_study: Path, bundle: Path
) -> None:
    study = changed(Path(shutil.copytree(dicom_study, tmp_path / "study")), of_a_prostate)
    config, database = opened(configured(tmp_path, bundle))
    case_id = received(config, database, sorted(study.rglob("*.dcm")))
    worker = Worker(config, database, threading.Event())
    with database:
        worker.step()
        case = shown(database, case_id)
        assert (case.state, case.status) == (State.DONE, "unsuitable input")
        assert case.reason is not None and "PROSTATE" in case.reason
        assert outbox.of_job(database, 1) == [] and worker._engine._runner is None
        uid = next(
            str(pydicom.dcmread(file).SeriesInstanceUID)
            for file in sorted((study / "a" / "t2").rglob("*.dcm"))
        )
        orders.rerun(database, case_id, "user ann", series={"t2w": uid})
        worker.step()
        worker.close()
        assert shown(database, case_id).status == "ok" and outbox.of_job(database, 2)


def changed(study: Path, change: Callable[[Dataset], None]) -> Path:
    for file in study.rglob("*.dcm"):
        dataset = pydicom.dcmread(file)
        change(dataset)
        dataset.save_as(file)
    return study


def test_a_real_prostate_study_is_not_accepted(tmp_path: Path, bundle: Path) -> None:
    files = [
        file for file in sorted(shared_data("dicom", "prostatex_0000").rglob("*")) if file.suffix == ".dcm"
    ]
    config, database = opened(configured(tmp_path, bundle))
    with database:
        case_id = received(config, database, files)
        worker = Worker(config, database, threading.Event())
        worker.step()
        case = shown(database, case_id)
        assert case.status == "unsuitable input" and "nothing is sent" in str(case.reason)
        assert outbox.of_job(database, case.job) == []


def test_of_unsuitable_input_the_report_alone_is_sent_and_it_names_no_lesion(
    tmp_path: Path, dicom_study: Path
) -> None:
    """An abdomen whose features are unlike those of the training cohort: masks were made, and stay here."""
    far = write_bundle(tmp_path / "far.bundle", TinyBundle(limit=1e-9))
    config, database = opened(configured(tmp_path, far))
    with database:
        case_id = received(config, database, sorted(dicom_study.rglob("*.dcm")))
        worker = Worker(config, database, threading.Event())
        worker.step()
        worker.close()
        case = shown(database, case_id)
        assert case.status == "unsuitable input" and "unlike the training cohort" in str(case.reason)
        (item,) = outbox.of_job(database, case.job)
        report = pydicom.dcmread(config.results / item.path)
        assert (config.results / str(case.result) / "t2w_mask.dcm").exists()
    said = report.to_json()
    assert item.kind == "sr" and "Pancreas" not in said and "Lesion 1" not in said
