"""What the store gives out. Times are seconds since 1970."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from scanside.runtime.appliance.store.states import Sending, State
from scanside.runtime.study.prior import Size


@dataclass(frozen=True)
class Instance:
    """A received SOP instance.

    Attributes:
        path: Relative to the spool.
        sha256, size: Of the file.
    """

    sop_uid: str
    study_uid: str
    series_uid: str
    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Patient:
    """Who it is. Never leaves the store but for the screen of an appliance that may show names."""

    patient_id: str = ""
    name: str = ""


@dataclass(frozen=True)
class Job:
    """One computation of one study; what the worker is given.

    Attributes:
        job: Its number.
        case_id: Pseudonym of the study.
        bundle: Another bundle than the configured one, or None.
        series: Sequence → series that a person chose.
        attempts: Including the current one while it runs.
    """

    job: int
    study_uid: str
    case_id: str
    state: State
    priority: int
    bundle: str | None
    series: Mapping[str, str]
    attempts: int


@dataclass(frozen=True)
class Warned:
    """Something that whoever decides on a result has to know.

    Attributes:
        code: A word for it, such as `lesions-apart`; `other` for a sentence that has none.
        sentence: Without patient data.
    """

    code: str
    sentence: str


@dataclass(frozen=True)
class Case:
    """A line of the worklist: a study and its latest job.

    Attributes:
        arrived, last_received: First and last instance.
        instances, series_count: Received so far.
        job, state, priority, attempts, reason, failure: Of the latest job.
        not_before: When it may run at the earliest.
        stage, done, total: What it computes, and how far it is.
        started, finished: Of the computation; None when it has not.
        status, probability, low, high: Of the result; None when there is none.
        positive: The class that the probability is of.
        named: The class that the result names; None where it names none.
        warnings: Of the result; None when there is none, or when it was made by a version that did not keep them.
        result: Folder of the result, relative to the results; None when there is none.
        verdict, verdict_by: What a person said of it.
        sending: Number of objects by state of delivery.
        deleted: When images and results were deleted.
        tick: Grows with every change.
    """

    case_id: str
    study_uid: str
    calling: str
    patient: Patient
    arrived: float
    last_received: float
    instances: int
    series_count: int
    job: int
    state: State
    priority: int
    attempts: int
    not_before: float
    reason: str | None
    failure: str | None
    bundle: str | None
    series: Mapping[str, str]
    stage: str | None
    done: int
    total: int
    started: float | None
    finished: float | None
    status: str | None
    probability: float | None
    low: float | None
    high: float | None
    positive: str | None
    named: str | None
    warnings: tuple[Warned, ...] | None
    result: str | None
    verdict: str | None
    verdict_by: str | None
    sending: Mapping[Sending, int]
    deleted: float | None
    tick: int


@dataclass(frozen=True)
class Made:
    """A result object that is to be sent.

    Attributes:
        kind: seg, sr, sc, key, reject or gsps.
        path: Relative to the results.
        series_uid: None in what an earlier version has left.
    """

    kind: str
    sop_class: str
    sop_uid: str
    path: str
    series_uid: str | None = None


@dataclass(frozen=True)
class Occasion:
    """Which of a study's results a job makes.

    Attributes:
        moment: When its inputs were first computed.
        number: From 1, in the order in which results were made.
        replaces: What the result before it has sent.
    """

    moment: float
    number: int
    replaces: tuple[Made, ...]


@dataclass(frozen=True)
class Measured:
    """What a result measured of whom, for the reports of later studies.

    Attributes:
        person: Pseudonym (`priors.pseudonym_of`).
        day: Of the study.
        algorithm, bundle_sha256: Of the bundle: name and version; hash.
    """

    person: str
    day: date
    algorithm: str
    bundle_sha256: str
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Outcome:
    """What a computation came to.

    Attributes:
        status, reason: As in result.json.
        probability, low, high: None where there is none.
        result: Folder, relative to the results.
        stages: Name → milliseconds.
        sends: (destination, object), each once.
        positive: The class that the probability is of.
        named: The class that the result names; None where it names none.
        warnings: What whoever decides on it has to know.
        measured: None where it is not known of whom or when it is, or nothing was computed.
        reason_code: As in result.json.
        figures: What it measured, by name, for monitoring.
    """

    status: str
    reason: str | None
    probability: float | None
    low: float | None
    high: float | None
    result: str
    stages: Mapping[str, float]
    sends: tuple[tuple[str, Made], ...]
    positive: str | None = None
    named: str | None = None
    warnings: tuple[Warned, ...] = ()
    measured: Measured | None = None
    reason_code: str | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """One object on its way to one destination."""

    item: int
    job: int
    case_id: str
    destination: str
    kind: str
    sop_class: str
    sop_uid: str
    path: str
    state: Sending
    attempts: int
    not_before: float
    reason: str | None
    transaction_uid: str | None
    changed: float
    series_uid: str | None


@dataclass(frozen=True)
class Entry:
    """One entry of the audit log.

    Attributes:
        number: From 1, without gaps.
        actor: A person, a process of ours, or a peer's AE title.
        detail: JSON, without patient data.
        previous, hash: Of the chain.
    """

    number: int
    at: float
    actor: str
    action: str
    case_id: str | None
    job: int | None
    detail: str
    previous: str
    hash: str
