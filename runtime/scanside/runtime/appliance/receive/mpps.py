"""Modality Performed Procedure Step as SCP (PS3.4 annex F.7): N-CREATE and N-SET of a scanner's steps.

Only what completes a study is kept: its UID, the step's state, which images the step has made. No name of a patient.
"""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from scanside.runtime.appliance.receive.classes import STORED
from scanside.runtime.appliance.receive.incoming import NOT_ASKED_FOR
from scanside.runtime.appliance.receive.ledger import Ledger
from scanside.runtime.appliance.receive.limits import Callers
from scanside.runtime.appliance.store.mpps import Noted, Step
from scanside.runtime.errors import ScansideError

if TYPE_CHECKING:
    from pydicom import Dataset

SUCCESS = 0x0000
INVALID_VALUE = 0x0106
FAILED = 0x0110
DUPLICATE = 0x0111
UNKNOWN = 0x0112
MISSING = 0x0120
STATUSES: tuple[tuple[int, str], ...] = (
    (SUCCESS, "noted, and on disk"),
    (INVALID_VALUE, "the state of the step is none of IN PROGRESS, DISCONTINUED, COMPLETED"),
    (FAILED, "the step has ended and changes no more, or it cannot be noted; send again"),
    (DUPLICATE, "there is such a step already"),
    (UNKNOWN, "there is no such step"),
    (MISSING, "the step names no study"),
    (NOT_ASKED_FOR, "the caller is an archive, of which images are taken that were asked for"),
)
"""What N-CREATE and N-SET are answered with (PS3.7 annex C)."""
_ANSWER = {
    Noted.NOTED: SUCCESS,
    Noted.DUPLICATE: DUPLICATE,
    Noted.UNKNOWN: UNKNOWN,
    Noted.FINAL: FAILED,
}

log = logging.getLogger("scanside.receive")


class Steps:
    """Answers requests. Nothing is raised to pynetdicom, and what is acknowledged is in the store."""

    def __init__(self, ledger: Ledger, callers: Callers) -> None:
        self._ledger, self._callers = ledger, callers

    def create(self, event: Any) -> tuple[int, None]:
        """N-CREATE: a step begins."""
        return self._answered(event, self._create), None

    def change(self, event: Any) -> tuple[int, None]:
        """N-SET: more of a step, at last that it has ended."""
        return self._answered(event, self._change), None

    def _answered(self, event: Any, work: Callable[[Any], int]) -> int:
        try:
            return NOT_ASKED_FOR if self._callers.only_answers(_calling(event)) else work(event)
        except ScansideError as error:  # a full disk: the scanner sends again
            log.error("a procedure step was not noted: %s", error)
        except Exception as error:  # whatever bytes can do to pydicom
            log.warning("a procedure step was not understood (%s)", type(error).__name__)
        return FAILED

    def _create(self, event: Any) -> int:
        attributes, step_uid = event.attribute_list, str(event.request.AffectedSOPInstanceUID or "")
        studies = [
            str(item.get("StudyInstanceUID") or "")
            for item in _items(attributes, "ScheduledStepAttributesSequence")
        ]
        study_uid = next((uid for uid in studies if _is_uid(uid)), None)
        if study_uid is None or not _is_uid(step_uid):
            return MISSING
        state = _state(attributes)
        if state is None:
            return INVALID_VALUE
        calling = _calling(event)
        noted = self._ledger.begin_step(step_uid, study_uid, calling, state)
        if noted is Noted.NOTED and state is not Step.IN_PROGRESS:
            log.info("a procedure step arrived as %s", state)
        return _ANSWER[noted]

    def _change(self, event: Any) -> int:
        attributes, step_uid = event.modification_list, str(event.request.RequestedSOPInstanceUID or "")
        told = attributes.get("PerformedProcedureStepStatus")
        state = _state(attributes) if told else None
        if told and state is None:
            return INVALID_VALUE
        images = sorted(set(_images(attributes)))
        noted = self._ledger.change_step(step_uid, state, images, _calling(event), _reason(attributes))
        return _ANSWER[noted]


def _calling(event: Any) -> str:
    return "".join(one for one in str(event.assoc.requestor.ae_title).strip() if one.isprintable())


def _state(attributes: "Dataset") -> Step | None:
    said = str(attributes.get("PerformedProcedureStepStatus") or "").strip()
    return Step(said) if said in tuple(Step) else None


def _images(attributes: "Dataset") -> Iterator[str]:
    """Of the classes that we take: what is never sent here cannot be waited for."""
    for series in _items(attributes, "PerformedSeriesSequence"):
        for keyword in ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence"):
            for item in _items(series, keyword):
                if str(item.get("ReferencedSOPClassUID") or "") in STORED:
                    uid = str(item.get("ReferencedSOPInstanceUID") or "")
                    if _is_uid(uid):
                        yield uid


def _reason(attributes: "Dataset") -> str | None:
    """Code of the reason for discontinuation (CID 9300); its meaning may hold anything."""
    codes = _items(attributes, "PerformedProcedureStepDiscontinuationReasonCodeSequence")
    return str(codes[0].get("CodeValue") or "")[:16] or None if codes else None


def _items(dataset: "Dataset", keyword: str) -> "list[Dataset]":
    return list(dataset.get(keyword) or [])


def _is_uid(text: str) -> bool:
    return 0 < len(text) <= 64 and not text.strip("0123456789.")
