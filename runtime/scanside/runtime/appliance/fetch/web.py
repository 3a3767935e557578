"""An archive with DICOMweb: searched by QIDO-RS (PS3.18 10.6), read by WADO-RS (10.4) as its answer comes."""

import http.client
import json
import os
import time
from collections.abc import Sequence
from typing import Any

from scanside.runtime.appliance.config import WebArchive
from scanside.runtime.appliance.deliver.stow import ask_web, http_words, open_web
from scanside.runtime.appliance.fetch.archive import FetchError, Listed
from scanside.runtime.appliance.receive.incoming import Conditions
from scanside.runtime.appliance.receive.multipart import PIECE, BodyError, boundary_of
from scanside.runtime.appliance.receive.scp import Receiver, Sender
from scanside.runtime.appliance.receive.stow import store_all
from scanside.runtime.errors import ScansideError

_MOST_ANSWER = 16 << 20
_SERIES_UID, _MODALITY, _INSTANCES = "0020000E", "00080060", "00201209"
_FILES = 'multipart/related; type="application/dicom"; transfer-syntax=*'


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
        answer = ask_web(self._archive, "GET", path, self._seconds, most=_MOST_ANSWER)
        if answer.status in (204, 404):
            return ()
        if answer.status != 200:
            raise FetchError(f"{self._archive.name} answers a search with {http_words(answer.status)}.")
        try:
            return [one for one in map(_listed, json.loads(answer.body)) if one.series_uid]
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise FetchError(
                f"{self._archive.name} answers a search without DICOM JSON; check its url."
            ) from error

    def bring(self, study_uid: str, series_uid: str, seconds: float) -> None:
        """Retrieve a series; each part is kept as one of a STOW-RS request."""
        assert self._conditions is not None and self._receiver is not None
        name = f"fetch.{os.getpid()}.{time.time_ns():x}"
        sender = Sender(name, self._archive.name, answers=True)
        path = f"studies/{study_uid}/series/{series_uid}"
        try:
            with open_web(
                self._archive, "GET", path, self._seconds, headers={"Accept": _FILES}, within=seconds
            ) as response:
                if response.status != 200:
                    raise FetchError(
                        f"{self._archive.name} answers a retrieval with {http_words(response.status)}."
                    )
                boundary = boundary_of(response.getheader("Content-Type", ""))
                if boundary is None:
                    raise FetchError(
                        f"{self._archive.name} answers a retrieval without DICOM files; check it."
                    )
                told = list(
                    store_all(
                        _Answer(response), boundary, self._conditions, self._receiver, sender, study_uid
                    )
                )
        except BodyError as error:
            raise FetchError(f"The answer of {self._archive.name} is damaged ({error}); check it.") from error
        finally:
            self._receiver.over(name)
        refused = [one.refusal for one in told if one.refusal is not None]
        if refused:
            raise FetchError(
                f"{len(refused)} of {len(told)} images from {self._archive.name} were not taken ({refused[0].reason})."
            )

    def fault(self, seconds: float) -> str | None:
        """A search for one study."""
        try:
            answer = ask_web(self._archive, "GET", "studies?limit=1", seconds, most=_MOST_ANSWER)
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


def _first(document: Any, tag: str) -> Any:
    values = document.get(tag, {}).get("Value") or [None]
    return values[0]
