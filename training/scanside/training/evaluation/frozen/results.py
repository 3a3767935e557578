"""The result of a study, read from its folder: of `scanside run`, of the appliance, or of `scanside evaluate`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from scanside.runtime.errors import InputError
from scanside.runtime.study.answer import Known
from scanside.runtime.study.report import RESULT, StudyReport, read_report


@dataclass(frozen=True, eq=False)
class Answer:
    """What a bundle said of a study.

    Attributes:
        case: Id of the case: the appliance's, or the name of the result's folder.
        folder: With the masks.
        status, reason_code: As in result.json.
        sha256: Of the bundle.
        synthetic: The bundle was trained on a phantom.
        model: That answered; None where none did.
        covariates: That it took.
        probability, predicted, distance: None where there is none.
        features: That could be measured.
        measured: Segmenter → number of the lesion that was measured; only where there is one.
        lesions: Segmenter → number of lesions in its mask; empty where nothing was computed.
        decision: Of a reader: `accepted`, `rejected` or another word; None where nobody has decided.
    """

    case: str
    folder: Path
    status: str
    reason_code: str | None
    sha256: str
    synthetic: bool
    model: str | None
    covariates: Mapping[str, Known]
    probability: float | None
    predicted: str | None
    distance: float | None
    features: Mapping[str, float]
    measured: Mapping[str, int]
    lesions: Mapping[str, int]
    decision: str | None = None

    @property
    def computed(self) -> bool:
        """Whether the study was segmented at all."""
        return bool(self.lesions)


def read_answer(folder: Path, case: str | None = None) -> Answer:
    """Read a result's folder.

    Args:
        case: Its id; None for the one that result.json gives, or the folder's name.

    Raises:
        InputError: If result.json cannot be read or is no result.
    """
    try:
        report = read_report(folder)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    return _answer(folder, case or report.case or folder.name, report)


def find_results(folder: Path) -> list[Answer]:
    """Every result below a folder: `<case>/result.json`, or the appliance's `<case>/<job>/result.json`, the latest job.

    Raises:
        InputError: If there is none, or one cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; give the folder that holds a folder of each case.")
    found = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        jobs = [one for one in place.iterdir() if one.name.isdigit() and (one / RESULT).is_file()]
        if (place / RESULT).is_file():
            found.append(read_answer(place))
        elif jobs:
            found.append(read_answer(max(jobs, key=lambda one: int(one.name)), place.name))
    if not found:
        raise InputError(f"{folder} holds no {RESULT} one folder a case; give the folder that does.")
    return found


def results_of_store(store: Path, results: Path) -> list[Answer]:
    """The results that an appliance's store knows, with the readers' decisions.

    Of several results of a case the latest that a reader accepted counts, else the latest one.

    Args:
        store: The database, or its folder.
        results: The appliance's folder of results.

    Raises:
        InputError: If the store cannot be opened or a result cannot be read.
    """
    from scanside.runtime.appliance.store import worklist
    from scanside.runtime.appliance.store.database import Database

    found = []
    with Database(store / "scanside.db" if store.is_dir() else store) as database:
        for case in worklist.cases(database):
            made = [job for job in worklist.jobs_of(database, case.case_id) if job.result and not job.deleted]
            if made:
                taken = next((job for job in made if job.verdict == "accepted"), made[0])
                answer = read_answer(results / str(taken.result), case.case_id)
                found.append(replace(answer, decision=taken.verdict))
    if not found:
        raise InputError(f"The store {store} knows no result that is still there; give another one.")
    return sorted(found, key=lambda answer: answer.case)


def _answer(folder: Path, case: str, report: StudyReport) -> Answer:
    lesions = {name.split(" ", 1)[0]: 0 for name in report.labels or {}}  # also where the mask is empty
    for row in report.lesions or ():
        lesions[row.role] = lesions.get(row.role, 0) + 1
    return Answer(
        case=case,
        folder=folder,
        status=report.status,
        reason_code=report.reason_code,
        sha256=report.bundle.sha256,
        synthetic=report.synthetic,
        model=report.model.name if report.model else None,
        covariates=report.model.covariates if report.model else {},
        probability=report.probability.value if report.probability else None,
        predicted=report.probability.predicted if report.probability else None,
        distance=report.distance,
        features={name: row.value for name, row in (report.signature or {}).items() if row.value is not None},
        measured={row.role: row.number for row in report.lesions or () if row.measured},
        lesions=lesions,
    )
