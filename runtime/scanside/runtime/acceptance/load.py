"""Time, throughput and a power cut, on the bundle's own golden study."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scanside.runtime.acceptance.record import (
    Check,
    Figure,
    count,
    failed,
    not_done,
    passed,
    refused,
    seconds,
)
from scanside.runtime.acceptance.rehearsal import Rehearsal
from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.runtime.bundle import Bundle
from scanside.runtime.dicom.phantom_study import StudyNames, write_phantom_study
from scanside.runtime.errors import ScansideError
from scanside.runtime.golden_study import load_study
from scanside.runtime.study.figures import figures_of
from scanside.runtime.study.pipeline import read_recipe
from scanside.runtime.study.report import StudyReport
from scanside.runtime.volume import Volume

ENDED = (State.REVIEW, State.QUARANTINED, State.DONE, State.SENDING)
_B_VALUE = 800.0
_EARLY = ("start", "inputs", "read")
"""Stages in which a worker has not computed yet."""


def study_images(bundle: Bundle) -> Mapping[str, Volume] | str:
    """The images of the bundle's first golden study, or why it cannot be sent."""
    if not bundle.manifest.studies:
        return "The bundle holds no golden study that could be sent."
    try:
        case = load_study(bundle, bundle.manifest.studies[0])
        lacking = [name for name in read_recipe(bundle).needed if name not in case.images]
    except ScansideError as error:
        return str(error)
    return f"The golden study lacks {', '.join(lacking)}." if lacking else case.images


@dataclass(frozen=True)
class Sent:
    """Studies that were sent back to back, and what became of them.

    Attributes:
        first: When the first image was sent, seconds since 1970.
        cases: A case a study; None where nothing came of it.
        reports: The result.json of each that has a result.
    """

    first: float
    cases: tuple[Case | None, ...]
    reports: tuple[StudyReport, ...]


def send_studies(
    service: Rehearsal,
    images: Mapping[str, Volume],
    names: Callable[[str], StudyNames],
    number: int,
    folder: Path,
    most_seconds: float,
) -> Sent:
    """Send copies of a study that differ in their UIDs alone, one right after the other, and wait for all results."""
    import time

    studies = [names(f"load {index}") for index in range(number)]
    files = [
        write_phantom_study(images, {"b0": 50.0, "dwi": _B_VALUE}, study, folder / f"load-{index}")
        for index, study in enumerate(studies)
    ]
    first = time.time()
    for one in files:
        service.send(one)
    cases = tuple(service.wait_for(study.study_uid, ENDED, most_seconds) for study in studies)
    reports = tuple(service.report(case) for case in cases if case is not None and case.result)
    return Sent(first, cases, reports)


def loaded(sent: Sent, limit: float | None) -> tuple[Check, ...]:
    """Judge time and sameness.

    Args:
        limit: Seconds from a study's last image to its result, at the 95th percentile; None for no limit.
    """
    done = [
        case
        for case in sent.cases
        if case is not None and case.finished is not None and case.status is not None
    ]
    lacking = [case for case in sent.cases if case is None or case not in done]
    name = "every study has a result"
    if lacking:
        reasons = [case.reason for case in lacking if case is not None and case.reason]
        why = f": {reasons[0]}" if reasons else " within the time."
        what = f"{len(lacking)} of {len(sent.cases)} studies have no result{why}"
        complete = failed(
            "load", name, what, "Look at the log of the service, at work.stage_seconds, and at the device."
        )
    else:
        complete = passed("load", name, f"{len(done)} studies, all {done[0].status}.")
    if not done:
        return (complete,)
    return complete, _times(done, limit), _throughput(sent.first, done), same(sent.reports)


def _times(done: Sequence[Case], limit: float | None) -> Check:
    alone = [float(case.finished) - float(case.started) for case in done if case.finished and case.started]
    waited = [float(case.finished) - case.last_received for case in done if case.finished]
    figures = (
        seconds("computing", *alone),
        Figure(name="last image to result", kind="note", unit="s", values=tuple(waited)),
    )
    words = (
        f"Computing took {_p(alone, 50):.1f} s (p50) and {_p(alone, 95):.1f} s (p95); "
        f"from the last image to the result, {len(done)} at once, {_p(waited, 50):.1f} s and {_p(waited, 95):.1f} s."
    )
    if limit is not None and _p(waited, 95) > limit:
        to_do = "Use a faster device, or raise the limit."
        return failed("load", "latency", f"{words} The limit is {limit:g} s.", to_do, *figures)
    return passed("load", "latency", words + ("" if limit is not None else " No limit was set."), *figures)


def _throughput(first: float, done: Sequence[Case]) -> Check:
    last = max(float(case.finished or 0.0) for case in done)
    rate = 3600.0 * len(done) / max(last - first, 1e-3)
    figure = Figure(name="studies an hour", kind="note", unit="/h", values=(rate,))
    return passed("load", "throughput", f"{rate:.0f} studies an hour, {len(done)} sent back to back.", figure)


def same(reports: Sequence[StudyReport]) -> Check:
    """Copies of one study have to give one result."""
    name = "one study, one result"
    said = [figures_of(report) for report in reports]
    figures = tuple(count(key, value, unit=unit) for key, (value, unit) in said[0].items()) if said else ()
    different = sorted(
        {key for one in said for key in said[0].keys() | one.keys() if one.get(key) != said[0].get(key)}
    )
    if different:
        what = f"Copies of one study gave different results: {', '.join(different[:4])}."
        return failed(
            "load", name, what, "Do not use this device: it does not compute the same twice.", *figures
        )
    return passed(
        "load", name, f"{len(reports)} copies gave the same masks, features and probability.", *figures
    )


def _p(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else float("nan")


def cut_power(
    service: Rehearsal, images: Mapping[str, Volume], study: StudyNames, folder: Path, most_seconds: float
) -> tuple[Check, ...]:
    """Kill the worker while it computes, as a power cut does, and see what becomes of the study."""
    problems = service.send(
        write_phantom_study(images, {"b0": 50.0, "dwi": _B_VALUE}, study, folder / "power")
    )
    if problems:
        return (
            refused(
                "power",
                "a result after the cut",
                f"The study could not be sent: {next(iter(problems.values()))}",
            ),
        )

    def computing() -> bool | None:
        case = service.case(study.study_uid)
        if case is None or case.state is not State.RUNNING:
            return True if case is not None and case.state in ENDED else None
        return service.kill_worker(case) if case.stage not in _EARLY else None

    service.until(computing, most_seconds)
    case = service.wait_for(study.study_uid, ENDED, most_seconds)
    report = service.report(case) if case is not None and case.result else None
    try:
        with service.store() as database:
            entries = audit.verify(database)
        chain = passed("power", "audit log after the cut", f"{entries} entries, unbroken.")
    except ScansideError as error:
        chain = refused("power", "audit log after the cut", str(error))
    return survived(case, report), chain


def survived(case: Case | None, report: StudyReport | None) -> Check:
    """Judge what became of the study whose worker was killed."""
    name = "a result after the cut"
    if case is not None and case.state is State.QUARANTINED:
        what = f"The study is quarantined after {case.attempts} tries: {case.reason}"
        return failed("power", name, what, "Set work.tries to 2 or more, so that a power cut needs nobody.")
    if case is None or report is None:
        return failed(
            "power", name, "The study has no result within the time.", "Look at the log of the service."
        )
    if case.attempts < 2:
        return not_done("power", name, "The study was computed before its worker could be killed.")
    return passed(
        "power", name, f"The worker was killed; try {case.attempts} gave the result, '{case.status}'."
    )
