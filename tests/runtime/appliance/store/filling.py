"""Puts instances and jobs into a store."""

from scanside.runtime.appliance.store import intake, jobs
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.intake import Added
from scanside.runtime.appliance.store.records import Instance, Job, Made, Outcome, Patient

ANN = Patient("4711", "Doe^Ann")


def instance(number: int, study: str = "1.2.3", sha: str = "a") -> Instance:
    return Instance(f"{study}.9.{number}", study, f"{study}.{number % 2}", f"x/{number}", sha * 64, 100)


def add(
    db: Database, one: Instance, *, association: str = "a1", most: int = 100, now: float = 1000.0
) -> Added:
    return intake.add_instance(
        db, one, association=association, calling="MR1", patient=ANN, most=most, now=now
    )


def queued(db: Database, study: str = "1.2.3", now: float = 1000.0) -> str:
    add(db, instance(1, study), now=now)
    intake.close_association(db, "a1", now)
    (case_id,) = intake.complete_studies(db, quiet_seconds=0, series=None, now=now)
    return case_id


def outcome(*destinations: str, status: str = "ok", uid: str = "7.1") -> Outcome:
    made = Made("sr", "1.2.840.10008.5.1.4.1.1.88.34", uid, "c/1/report_sr.dcm")
    sends = tuple((name, made) for name in destinations)
    return Outcome(status, None, 0.7, 0.5, 0.8, "c/1", {"read": 5.0, "check": 1.0}, sends)


def claimed(db: Database, now: float = 1001.0) -> Job:
    job = jobs.claim(db, "w1", now)
    assert job is not None
    return job
