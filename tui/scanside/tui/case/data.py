"""All that the store and a result's folder say of one case, read in one go by a thread."""

from dataclasses import dataclass

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store import audit, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case, Entry, Instance, Item
from scanside.runtime.appliance.store.states import State
from scanside.runtime.errors import InputError
from scanside.runtime.study.report import StudyReport, read_report
from scanside.tui.case.images import Wanted, wanted_by, wanted_by_rules


@dataclass(frozen=True)
class CaseData:
    """A case as it is now, with one of its jobs.

    Attributes:
        case: The job that is shown, with what the worklist shows of it.
        jobs: All of the case, latest first.
        instances: Received of the study.
        items: Objects of the shown job on their way.
        history: Audit entries of the case, oldest first.
        report: Of the shown job's result; None where there is none.
        trouble: Why there is no report although there should be one.
        wanted: Images to show.
        no_images: Why there are none, in a sentence.
    """

    case: Case
    jobs: tuple[Case, ...]
    instances: tuple[Instance, ...]
    items: tuple[Item, ...]
    history: tuple[Entry, ...]
    report: StudyReport | None
    trouble: str | None
    wanted: tuple[Wanted, ...]
    no_images: str | None

    @property
    def is_latest(self) -> bool:
        """Whether the shown job is the case's latest."""
        return self.case.job == self.jobs[0].job

    @property
    def version(self) -> tuple[object, ...]:
        """Changes when the images and outlines may have changed."""
        return (self.case.job, self.case.finished, self.case.result, len(self.instances))


def read_case(database: Database, config: Config, case_id: str, job: int | None = None) -> CaseData:
    """Read a case.

    Args:
        job: One of its jobs; None for the latest.

    Raises:
        InputError: If there is no such case, or the store cannot be read.
    """
    jobs = tuple(worklist.jobs_of(database, case_id))
    if not jobs:
        raise InputError(f"There is no case {case_id}; it is not in the store any more.")
    case = next((one for one in jobs if one.job == job), jobs[0])
    instances = tuple(worklist.instances_of(database, case.study_uid))
    report, trouble = _report(case, config)
    wanted, no_images = _wanted(case, config, report, instances)
    return CaseData(
        case=case,
        jobs=jobs,
        instances=instances,
        items=tuple(outbox.of_job(database, case.job)),
        history=tuple(audit.entries(database, case_id=case_id)),
        report=report,
        trouble=trouble,
        wanted=wanted,
        no_images=no_images,
    )


def _report(case: Case, config: Config) -> tuple[StudyReport | None, str | None]:
    if case.result is None:
        return None, None
    if case.deleted is not None:
        return None, "Images and results of this case were deleted after retention; send the study again."
    try:
        return read_report(config.results / case.result), None
    except InputError as error:
        return None, str(error)


def _wanted(
    case: Case, config: Config, report: StudyReport | None, instances: tuple[Instance, ...]
) -> tuple[tuple[Wanted, ...], str | None]:
    if case.deleted is not None:
        return (), "The images were deleted after retention; send the study again to see them."
    if report is not None and case.result is not None and report.sequences:
        found = wanted_by(report, instances, config.spool, config.results / case.result)
        if found:
            return found, None
    if case.state is State.RECEIVING:
        return (), "Images are still coming; they are shown when the study is complete."
    try:
        found = wanted_by_rules(instances, config.spool, case.case_id)
    except InputError as error:
        return (), f"No image can be shown: {error}".replace(f"{config.spool}/", "")
    return found, None if found else "The rules take none of the series for T2WI or DWI; press N to choose."
