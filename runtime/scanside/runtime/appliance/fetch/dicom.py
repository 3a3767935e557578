"""An archive with Query/Retrieve (PS3.4 annex C): C-FIND, C-MOVE to our own receiver, and C-GET of reports."""

import time
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from scanside.runtime.appliance.config import Config, DicomArchive, is_loopback
from scanside.runtime.appliance.deliver.association import (
    Association,
    Context,
    associate,
    our_title,
)
from scanside.runtime.appliance.deliver.classes import VERIFICATION
from scanside.runtime.appliance.deliver.status_codes import status_words
from scanside.runtime.appliance.fetch.archive import (
    MOST_REPORT,
    REPORTS,
    UID,
    FetchError,
    Filed,
    Listed,
    is_of,
)
from scanside.runtime.errors import ScansideError

if TYPE_CHECKING:
    from pydicom import Dataset

STUDY_FIND, STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.3"
"""Study Root Query/Retrieve Information Model."""
SCU_ROLES: tuple[tuple[str, str], ...] = (
    (VERIFICATION, "by `serve --check`"),
    (STUDY_FIND, "the series of a study, at the level SERIES; reports of a patient, at all levels"),
    (STUDY_MOVE, "one series, to our own receiver"),
    (STUDY_GET, "one report, with `priors = true`"),
    *((uid, "as SCP, of reports that C-GET brings") for uid in REPORTS),
)
FIND_KEYS = ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "NumberOfSeriesRelatedInstances")
DESTINATION_UNKNOWN = 0xA801
_PENDING = (0xFF00, 0xFF01)
_MOST_LISTED = 10_000


class DicomSource:
    """C-FIND and C-MOVE."""

    def __init__(self, archive: DicomArchive, config: Config) -> None:
        self._archive, self._config = archive, config

    def series(self, study_uid: str) -> Sequence[Listed]:
        """C-FIND at the level of series."""
        query = _query("SERIES", StudyInstanceUID=study_uid, **dict.fromkeys(FIND_KEYS[1:], ""))
        with associate(self._archive, self._config, [Context(STUDY_FIND)]) as association:
            found = [_listed(answer) for answer in self._find(association, query)]
        return [one for one in found if one.series_uid]

    def reports(self, patient_id: str, until: date, seconds: float) -> Sequence[Filed]:
        """C-FIND at the levels of studies, series and images, on one association."""
        ends = time.monotonic() + seconds
        days = f"-{until:%Y%m%d}"
        of_patient = {"PatientID": patient_id, "StudyDate": days, "ModalitiesInStudy": "SR"}
        with associate(self._archive, self._config, [Context(STUDY_FIND)]) as association:

            def find(level: str, **keys: str) -> "list[Dataset]":
                if time.monotonic() > ends:
                    raise FetchError(
                        f"{self._archive.name} did not list reports within {seconds:g} s; check it."
                    )
                return self._find(association, _query(level, **keys))

            return [
                Filed(study, series, uid, str(there.get("StudyDate") or ""))
                for there in find("STUDY", **of_patient, StudyInstanceUID="")
                if (study := _uid(there, "StudyInstanceUID")) and is_of(there.get("PatientID"), patient_id)
                for part in find("SERIES", StudyInstanceUID=study, SeriesInstanceUID="", Modality="SR")
                if (series := _uid(part, "SeriesInstanceUID"))
                for one in find(
                    "IMAGE",
                    StudyInstanceUID=study,
                    SeriesInstanceUID=series,
                    SOPInstanceUID="",
                    SOPClassUID="",
                )
                if one.get("SOPClassUID") in REPORTS and (uid := _uid(one, "SOPInstanceUID"))
            ]

    def report(self, filed: Filed, seconds: float) -> bytes:
        """C-GET at the level of images: no destination has to be known there, and nothing comes to our receiver."""
        came: list[bytes] = []

        def keep(event: Any) -> int:
            came.append(bytes(event.encoded_dataset()))
            return 0

        contexts = [Context(STUDY_GET), *(Context(uid) for uid in REPORTS)]
        query = _query(
            "IMAGE",
            StudyInstanceUID=filed.study_uid,
            SeriesInstanceUID=filed.series_uid,
            SOPInstanceUID=filed.sop_uid,
        )
        with (
            associate(self._archive, self._config, contexts, stored=keep, most=MOST_REPORT) as association,
            association.within(whole=seconds) as open_,
        ):
            for _ in self._followed(open_.send_c_get(query, STUDY_GET), "C-GET", open_):
                pass
        if len(came) != 1:
            raise FetchError(f"{self._archive.name} gave {len(came)} objects for one report; check it.")
        return came[0]

    def _find(self, association: Association, query: "Dataset") -> "list[Dataset]":
        found: list[Dataset] = []
        with association.within() as open_:
            for answer in self._followed(open_.send_c_find(query, STUDY_FIND), "C-FIND", open_):
                if answer is not None and len(found) < _MOST_LISTED:
                    found.append(answer)
        return found

    def bring(self, study_uid: str, series_uid: str, seconds: float) -> None:
        """C-MOVE of one series to `receive.ae_title`."""
        title = self._config.receive.ae_title
        with (
            associate(self._archive, self._config, [Context(STUDY_MOVE)]) as association,
            association.within(whole=seconds) as open_,
        ):
            query = _query("SERIES", StudyInstanceUID=study_uid, SeriesInstanceUID=series_uid)
            answers = open_.send_c_move(query, title, STUDY_MOVE)
            for _ in self._followed(answers, "C-MOVE", open_):
                pass

    def _followed(
        self, answers: "Iterator[tuple[Any, Dataset | None]]", what: str, open_: Any
    ) -> "Iterator[Dataset | None]":
        """Read the answers to the end.

        Raises:
            FetchError: If the last one is no success.
        """
        status, begun = None, time.monotonic()
        for answer, found in answers:
            status = getattr(answer, "Status", None)
            if status in _PENDING:
                yield found
        if status is None and begun + 0.9 * open_.dimse_timeout < time.monotonic():
            raise FetchError(
                f"{self._archive.name} did not answer {what} within {open_.dimse_timeout:g} s; check it."
            )
        if status is None:
            raise FetchError(
                f"{self._archive.name} ended the association at {what}; check that it knows "
                f"{our_title(self._config)} there, with address and port."
            )
        if status == DESTINATION_UNKNOWN:
            raise FetchError(
                f"{self._archive.name} does not know {self._config.receive.ae_title} as a destination of C-MOVE; enter "
                "our title, address and port there."
            )
        if status != 0:
            raise FetchError(
                f"{self._archive.name} answers {what} with {status_words(int(status))}; check it there."
            )

    def fault(self, seconds: float) -> str | None:
        """C-ECHO, the negotiation of C-FIND, C-MOVE and C-GET, and a C-MOVE of a study that does not exist."""
        if is_loopback(self._config.receive.host) and not is_loopback(self._archive.host):
            return (
                f"{self._archive.name} cannot send to our receiver, which listens on {self._config.receive.host}; set "
                "receive.host to an address of this machine."
            )
        wanted = {STUDY_FIND: "C-FIND", STUDY_MOVE: "C-MOVE"}
        if self._archive.priors:
            wanted[STUDY_GET] = "C-GET"
        contexts = [Context(VERIFICATION), *(Context(uid) for uid in wanted)]
        try:
            with associate(self._archive, self._config, contexts, seconds=seconds) as association:
                refused = [words for uid, words in wanted.items() if not association.accepts(uid)]
                if refused:
                    return (
                        f"{self._archive.name} does not take {' and '.join(refused)} from us; allow it there."
                    )
                with association.within() as open_:
                    if getattr(open_.send_c_echo(), "Status", None) != 0:
                        return (
                            f"{self._archive.name} takes associations and does not answer C-ECHO; check it."
                        )
                with association.within() as open_:
                    self._knows_us(open_)
        except ScansideError as error:
            return str(error)
        return None

    def _knows_us(self, open_: Any) -> None:
        """Only the destination can be wrong with a study that nobody has.

        Raises:
            FetchError: If the archive does not know us as a destination, or does not answer.
        """
        from pydicom.uid import generate_uid

        title = self._config.receive.ae_title
        nobody = _query("SERIES", StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid())
        answers = list(open_.send_c_move(nobody, title, STUDY_MOVE))
        status = getattr(answers[-1][0], "Status", None) if answers else None
        if status in (None, DESTINATION_UNKNOWN):
            for _ in self._followed(iter(answers), "C-MOVE", open_):
                pass


def _query(level: str, **keys: str) -> "Dataset":
    from pydicom.dataset import Dataset

    query = Dataset()
    query.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(query, keyword, value)
    return query


def _uid(answer: "Dataset", keyword: str) -> str:
    """A UID that an answer states; empty where it is none."""
    uid = str(answer.get(keyword) or "").strip()
    return uid if UID.fullmatch(uid) else ""


def _listed(answer: "Dataset") -> Listed:
    try:
        number = int(answer.get("NumberOfSeriesRelatedInstances"))
    except (TypeError, ValueError):
        number = None
    return Listed(
        str(answer.get("SeriesInstanceUID") or "").strip(), str(answer.get("Modality") or "").strip(), number
    )
