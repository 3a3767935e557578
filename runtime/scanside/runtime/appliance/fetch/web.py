"""An archive with DICOMweb: searched by QIDO-RS (PS3.18 10.6), read by WADO-RS (10.4) as its answer comes."""

import http.client
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any
from urllib.parse import quote, urlencode

from scanside.runtime.appliance.config import WebArchive
from scanside.runtime.appliance.deliver.stow import ask_web, http_words, open_web
from scanside.runtime.appliance.fetch.archive import (
    MOST_REPORT,
    REPORTS,
    UID,
    FetchError,
    Filed,
    Listed,
    is_of,
)
from scanside.runtime.appliance.receive.incoming import Conditions
from scanside.runtime.appliance.receive.multipart import PIECE, BodyError, boundary_of, parts
from scanside.runtime.appliance.receive.scp import Receiver, Sender
from scanside.runtime.appliance.receive.stow import store_all
from scanside.runtime.errors import ScansideError

_MOST_ANSWER = 16 << 20
_SERIES_UID, _MODALITY, _INSTANCES = "0020000E", "00080060", "00201209"
_UIDS = ("0020000D", _SERIES_UID, "00080018")
"""Of study, series and instance."""
_SOP_CLASS = "00080016"
_PATIENT_ID, _STUDY_DATE = "00100020", "00080020"
_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_REPORT = 'multipart/related; type="application/dicom"'
"""As it is, or in Explicit VR Little Endian."""


class WebSource:
    """QIDO-RS and WADO-RS."""

    def __init__(
        self, archive: WebArchive, seconds: float, conditions: Conditions | None, receiver: Receiver | None
    ) -> None:
        """Prepare it.

        Args:
            seconds: For each answer.
            conditions, receiver: By which files are kept; None for a source that is only asked.
        """
        self._archive, self._seconds = archive, seconds
        self._conditions, self._receiver = conditions, receiver

    def series(self, study_uid: str) -> Sequence[Listed]:
        """Search for the series of a study."""
        path = f"studies/{study_uid}/series?includefield={_MODALITY}&includefield={_INSTANCES}"
        with self._searched(path, self._seconds) as found:
            return [one for one in map(_listed, found) if one.series_uid]

    def reports(self, patient_id: str, until: date, seconds: float) -> Sequence[Filed]:
        """Search for instances of all studies."""
        keys = [("PatientID", patient_id), ("Modality", "SR"), ("StudyDate", f"-{until:%Y%m%d}")]
        keys += [("includefield", tag) for tag in (*_UIDS, _SOP_CLASS, _PATIENT_ID, _STUDY_DATE)]
        with self._searched(f"instances?{urlencode(keys, quote_via=quote)}", seconds) as found:
            listed = [_filed(one, patient_id) for one in found]
        return [one for one in listed if one is not None]

    @contextmanager
    def _searched(self, path: str, seconds: float) -> Iterator[Any]:
        """What a search finds; what makes reading it fail is the archive's."""
        answer = ask_web(self._archive, "GET", path, min(seconds, self._seconds), most=_MOST_ANSWER)
        if answer.status not in (200, 204, 404):
            raise FetchError(f"{self._archive.name} answers a search with {http_words(answer.status)}.")
        try:
            yield json.loads(answer.body) if answer.status == 200 else ()
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise FetchError(
                f"{self._archive.name} answers a search without DICOM JSON; check its url."
            ) from error

    def report(self, filed: Filed, seconds: float) -> bytes:
        """Retrieve an instance."""
        path = f"studies/{filed.study_uid}/series/{filed.series_uid}/instances/{filed.sop_uid}"
        with self._retrieved(path, _REPORT, seconds) as (response, boundary):
            found = bytearray()
            for number, part in enumerate(parts(_Answer(response), boundary)):
                for piece in part.pieces:
                    found += piece
                    if number or len(found) > MOST_REPORT:
                        raise FetchError(f"{self._archive.name} gave more than one report; check it.")
        return bytes(found)

    @contextmanager
    def _retrieved(
        self, path: str, accept: str, seconds: float
    ) -> Iterator[tuple[http.client.HTTPResponse, str]]:
        """The answer to a retrieval, and the boundary of its parts."""
        name, headers = self._archive.name, {"Accept": accept}
        with open_web(self._archive, "GET", path, self._seconds, headers=headers, within=seconds) as response:
            if response.status != 200:
                raise FetchError(f"{name} answers a retrieval with {http_words(response.status)}.")
            boundary = boundary_of(response.getheader("Content-Type", ""))
            if boundary is None:
                raise FetchError(f"{name} answers a retrieval without DICOM files; check it.")
            try:
                yield response, boundary
            except BodyError as error:
                raise FetchError(f"The answer of {name} is damaged ({error}); check it.") from error

    def bring(self, study_uid: str, series_uid: str, seconds: float) -> None:
        """Retrieve a series; each part is kept as one of a STOW-RS request."""
        assert self._conditions is not None and self._receiver is not None
        name = f"fetch.{os.getpid()}.{time.time_ns():x}"
        sender = Sender(name, self._archive.name, answers=True)
        path = f"studies/{study_uid}/series/{series_uid}"
        try:
            with self._retrieved(path, _FILES, seconds) as (response, boundary):
                told = list(
                    store_all(
                        _Answer(response), boundary, self._conditions, self._receiver, sender, study_uid
                    )
                )
        finally:
            self._receiver.over(name)
        refused = [one.refusal for one in told if one.refusal is not None]
        if refused:
            raise FetchError(
                f"{len(refused)} of {len(told)} images from {self._archive.name} were not taken ({refused[0].reason})."
            )

    def fault(self, seconds: float) -> str | None:
        """A search for one study; and for one report, where they are looked for."""
        for path in ("studies?limit=1", *(["instances?Modality=SR&limit=1"] if self._archive.priors else [])):
            try:
                answer = ask_web(self._archive, "GET", path, seconds, most=_MOST_ANSWER)
            except ScansideError as error:
                return str(error)
            if answer.status not in (200, 204):
                return f"{self._archive.name} answers a search with {http_words(answer.status)}."
            try:
                json.loads(answer.body or b"[]")
            except ValueError:
                return f"{self._archive.name} answers a search without DICOM JSON; check its url."
        return None


class _Answer:
    """The body of an answer as it comes."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def read(self) -> bytes:
        """The next bytes."""
        return self._response.read1(PIECE)


def _listed(document: Any) -> Listed:
    number = _first(document, _INSTANCES)
    return Listed(
        str(_first(document, _SERIES_UID) or ""),
        str(_first(document, _MODALITY) or ""),
        int(number) if number is not None else None,
    )


def _filed(document: Any, patient_id: str) -> Filed | None:
    """None where it is no such report, or of another patient."""
    study, series, uid = (str(_first(document, tag)) for tag in _UIDS)
    if _first(document, _SOP_CLASS) not in REPORTS or not is_of(_first(document, _PATIENT_ID), patient_id):
        return None
    if not all(UID.fullmatch(one) for one in (study, series, uid)):
        return None
    return Filed(study, series, uid, str(_first(document, _STUDY_DATE) or ""))


def _first(document: Any, tag: str) -> Any:
    values = document.get(tag, {}).get("Value") or [None]
    return values[0]
