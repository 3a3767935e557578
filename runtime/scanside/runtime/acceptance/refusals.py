"""What must be refused: senders that nobody knows, and studies that nobody should compute."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scanside.runtime.acceptance import phantom
from scanside.runtime.acceptance.record import Check, failed, not_done, passed
from scanside.runtime.acceptance.rehearsal import SENDER, Rehearsal
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.runtime.dicom.phantom_study import Change, StudyNames, write_phantom_study

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_REPORT = "Report this: it must be refused."
STRANGER = "NOBODY_KNOWS_ME"
Send = Callable[..., Mapping[str, str]]


def strangers(send: Send, file: Path, *, callers: bool, tls: bool) -> tuple[Check, ...]:
    """Try to send an image as somebody who may not.

    Args:
        send: As `Rehearsal.send`.
        file: An image; it must not arrive.
        callers: Whether the configuration lists who may send.
        tls: Whether the receiver wants TLS.
    """
    return (
        _turned_away(
            "a calling AE title that is not listed", "List the callers.", send, file, calling=STRANGER
        )
        if callers
        else not_done(
            "association",
            "a calling AE title that is not listed",
            "The configuration lists no callers: the receiver is on this machine alone, and takes everybody here.",
        ),
        _turned_away("a called AE title that is not ours", "Report this.", send, file, called="NOT_SCANSIDE"),
        _turned_away("a sender without TLS", "Report this.", send, file, plaintext=True)
        if tls
        else not_done("association", "a sender without TLS", "The receiver is configured without TLS."),
    )


def _turned_away(
    name: str,
    to_do: str,
    send: Send,
    file: Path,
    *,
    calling: str = SENDER,
    called: str | None = None,
    plaintext: bool = False,
) -> Check:
    """Whether a sender is turned away."""
    why = send([file], calling=calling, called=called, plaintext=plaintext).get(file.name)
    if why is None:
        return failed("association", name, f"An image from {name} was taken.", to_do)
    return passed("association", name, f"It was turned away: {why.rstrip('.')}.")


@dataclass(frozen=True)
class Unsuitable:
    """A study that must be refused.

    Attributes:
        change: What makes it so.
        words: One of them has to stand in the reason.
        to_do: Where it is computed all the same.
    """

    name: str
    change: Change
    words: tuple[str, ...]
    to_do: str


def _other_body_part(_: str, __: int, dataset: "Dataset") -> bool:
    dataset.BodyPartExamined = "KNEE"
    return True


def _no_b_value(_: str, __: int, dataset: "Dataset") -> bool:
    for keyword in ("DiffusionBValue", "DiffusionDirectionality"):
        if keyword in dataset:
            delattr(dataset, keyword)
    return True


def _no_slice(sequence: str, z: int, _: "Dataset") -> bool:
    return not (sequence == "t2w" and z == 11)


UNSUITABLE = (
    Unsuitable(
        "another body part",
        _other_body_part,
        ("body part",),
        "Leave KNEE among accept.not_body_parts, or list accept.body_parts.",
    ),
    Unsuitable("no b-values", _no_b_value, ("b-value", "b value", "diffusion-weighted"), _REPORT),
    Unsuitable("a slice is missing", _no_slice, ("slice", "spacing", "gap", "missing"), _REPORT),
)


def unsuitable(
    service: Rehearsal, folder: Path, names: Callable[[str], StudyNames], seconds: float
) -> tuple[Check, ...]:
    """Send studies that must be refused, and see that they are, with the reason.

    Args:
        names: Gives the study of a word its UIDs.
    """
    images = phantom.images()
    sent = {}
    for one in UNSUITABLE:
        study = names(one.name)
        files = write_phantom_study(
            images, phantom.B_VALUES, study, folder / one.name.replace(" ", "-"), one.change
        )
        sent[one.name] = (study, service.send(files))
    checks = []
    ended = (State.REVIEW, State.QUARANTINED, State.DONE, State.SENDING)
    for one in UNSUITABLE:
        study, problems = sent[one.name]
        case = None if problems else service.wait_for(study.study_uid, ended, seconds)
        checks.append(judged(one, case, next(iter(problems.values()), None)))
    return tuple(checks)


def judged(one: Unsuitable, case: Case | None, problem: str | None) -> Check:
    """Whether a study was refused for its own reason.

    Args:
        problem: Why it could not be sent, or None.
    """
    if case is None:
        why = f"It could not be sent: {problem}" if problem else "Nothing was said of it within the time."
        return failed("refusal", one.name, why, "Look at the log of the service.")
    reason = case.reason or ""
    if case.status != "unsuitable input":
        what = f"The study was not refused: its status is '{case.status or case.state}'."
        return failed("refusal", one.name, what, one.to_do)
    if not any(word in reason.lower() for word in one.words):
        return failed("refusal", one.name, f"It was refused for another reason: {reason}", "Report this.")
    return passed("refusal", one.name, reason)
