"""Cases for tests: real DICOM in a real spool, a real store, results of the real pipeline."""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom

from scanside.runtime.appliance.config import Config, DicomDestination, Service
from scanside.runtime.appliance.store import audit, intake, jobs, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case, Entry, Instance, Job, Made, Outcome, Patient
from scanside.runtime.appliance.store.states import State
from scanside.runtime.errors import InputError
from scanside.runtime.study.compose import run_report
from scanside.runtime.study.pipeline import StudyRunner, refused
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyResult
from scanside.runtime.study.report import StudyReport
from scanside.runtime.study.write import write_result

ARRIVED = 1_767_950_000.0
"""2026-01-09; all times of a made case follow it."""
OBJECTS = (("seg", "1.2.840.10008.5.1.4.1.1.66.4"), ("sr", "1.2.840.10008.5.1.4.1.1.88.34"))


def configuration(folder: Path, **service: object) -> Config:
    """Of an appliance with one destination."""
    values = {"data": folder, "bundle": folder / "no.bundle", "research_use_only": True, **service}
    pacs = DicomDestination(name="PACS", ae_title="PACS", host="127.0.0.1", port=104)
    return Config(service=Service.model_validate(values), destinations=(pacs,))


def receive(config: Config, study: Path, now: float = ARRIVED, *, complete: bool = True) -> str:
    """Put a study into spool and store as the receiver does.

    Returns:
        The case id.
    """
    with Database(config.database, create=True) as database:
        with database.transaction() as write:  # so that a study has the same pseudonym in every run
            write.execute("UPDATE meta SET value = ? WHERE key = 'site_key'", ("5e" * 32,))
        for file in sorted(study.rglob("*.dcm")):
            header = pydicom.dcmread(file, stop_before_pixels=True)
            case_id = intake.pseudonym(str(database.meta("site_key")), str(header.StudyInstanceUID))
            series, sop = str(header.SeriesInstanceUID), str(header.SOPInstanceUID)
            path = Path(case_id) / _short(series) / f"{_short(sop)}.dcm"
            (config.spool / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, config.spool / path)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            one = Instance(sop, str(header.StudyInstanceUID), series, str(path), digest, file.stat().st_size)
            patient = Patient(str(header.PatientID), str(header.PatientName))
            intake.add_instance(
                database, one, association="a", calling="MR1", patient=patient, most=10_000, now=now
            )
        if complete:
            intake.close_association(database, "a", now)
            assert intake.complete_studies(database, quiet_seconds=0, series=None, now=now + 1) == [case_id]
    return case_id


def _short(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:16]


def claim(config: Config, now: float = ARRIVED + 2) -> Job:
    """Take the next job as the worker does."""
    with Database(config.database) as database:
        job = jobs.claim(database, "w", now)
    assert job is not None
    return job


def compute(
    config: Config,
    runner: StudyRunner,
    *,
    job: Job | None = None,
    hold: bool = False,
    to: Sequence[str] = (),
    series: Mapping[str, Path] | None = None,
    change: Callable[[dict[str, Any]], None] | None = None,
    now: float = ARRIVED + 2,
) -> State:
    """Compute the next job as the worker does: read, run, write, tell the store.

    Args:
        job: One that was claimed already.
        change: Edits the report before it is written.
    """
    job = job or claim(config, now)
    study = config.spool / job.case_id
    try:
        result = runner.run(read_study(study, runner.recipe.needed, series))
    except InputError as error:
        result = refused(str(error).replace(f"{study}", "the study"))

    def report(made: StudyResult, outputs: list[Path]) -> StudyReport:
        document = run_report(made, runner.bundle, runner.options, [study], outputs)
        if change is None:
            return document
        data = document.data()
        change(data)
        return StudyReport.model_validate(data)

    relative = Path(job.case_id) / str(job.job)
    document = write_result(result, runner.bundle, runner.recipe.channels, config.results / relative, report)
    chance = document.probability
    outcome = Outcome(
        document.status, document.reason,
        *((chance.value, chance.low, chance.high) if chance else (None, None, None)),
        str(relative), {stage.name: stage.ms for stage in document.stages},
        tuple(
            (name, Made(kind, sop_class, f"1.2.3.{job.job}.{n}", f"{relative}/{kind}.dcm"))
            for name in to
            for n, (kind, sop_class) in enumerate(OBJECTS)
        ),
    )  # fmt: skip
    with Database(config.database) as database:
        return jobs.succeed(database, job.job, outcome, hold=hold, now=now + 8)


def deliver(config: Config, now: float = ARRIVED + 20) -> None:
    """Everything has arrived."""
    with Database(config.database) as database:
        items = outbox.due(database, "PACS", now)
        outbox.stored(database, items, commitment=False, now=now)


def fixed(document: dict[str, Any]) -> None:
    """Nothing in the report depends on time, machine or versions."""
    for number, stage in enumerate(document["stages"]):
        stage["ms"] = 10.0 * 2 ** (number % 5)
    document["bundle"]["sha256"] = "0123456789abcdef" * 4
    document["versions"] = {}


def latest(config: Config, case_id: str) -> Case:
    """The case as the store has it."""
    with Database(config.database) as database:
        found = worklist.case(database, case_id)
    assert found is not None
    return found


def history(config: Config, case_id: str) -> list[Entry]:
    """The audit entries of a case."""
    with Database(config.database) as database:
        return list(audit.entries(database, case_id=case_id))


def copied(config: Config, folder: Path) -> Config:
    """The same data in a folder of its own, to be changed."""
    shutil.copytree(config.service.data, folder, dirs_exist_ok=True)
    service = config.service.model_copy(update={"data": folder})
    return config.model_copy(update={"service": service})
