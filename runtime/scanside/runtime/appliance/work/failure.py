"""An exception → what the store keeps of it: one word, one sentence, and whether the study can be blamed."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanside.runtime.appliance.store.records import Patient
from scanside.runtime.appliance.watch.log import redact
from scanside.runtime.appliance.work.inputs import SpoolError
from scanside.runtime.appliance.work.wording import in_words
from scanside.runtime.errors import (
    BackendError,
    BundleError,
    CaseError,
    InputError,
    OutputError,
    ScansideError,
    UsageError,
)
from scanside.runtime.triton.wire import AwayError

_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (SpoolError, "spool"),
    (BundleError, "bundle"),
    (AwayError, "engine"),
    (BackendError, "backend"),
    (OutputError, "output"),
    (CaseError, "case"),
    (UsageError, "configuration"),
    (InputError, "input"),
    (MemoryError, "memory"),
)
_OF_THE_MACHINE = frozenset({"disk", "bundle", "configuration", "engine"})
_FEW_BYTES = 16 << 20
_LEAST_NAME = 3
_PASSING = re.compile(r"(?<![\w.])\.(?:input-|\d+\.)\w+/")
"""Folders of a snapshot and of a result that is being written."""


@dataclass(frozen=True)
class Fault:
    """Why a job failed.

    Attributes:
        kind: One word, for the metrics.
        reason: A sentence without patient data.
        blameless: The study has no part in it, so that it goes back to the queue however often it happens.
    """

    kind: str
    reason: str
    blameless: bool


@dataclass(frozen=True)
class Words:
    """Takes out of a text what names this machine's folders or the patient.

    Attributes:
        folders: Absolute folders, inner ones first; paths below them become relative.
        images: The case's folder in the spool, where names of images are looked up; None where there is none.
    """

    folders: tuple[Path, ...]
    patient: Patient
    images: Path | None = None

    def relative(self, text: str) -> str:
        """The text with relative paths, without folders that will be gone."""
        for folder in self.folders:
            text = text.replace(f"{folder}/", "").replace(str(folder), folder.name)
        return _PASSING.sub("", text)

    def relative_all(self, document: Any) -> Any:
        """A JSON document, every text of it `relative`."""
        if isinstance(document, str):
            return self.relative(document)
        if isinstance(document, list):
            return [self.relative_all(item) for item in document]
        if isinstance(document, dict):
            return {name: self.relative_all(item) for name, item in document.items()}
        return document

    def clean(self, text: str) -> str:
        """The text `relative` and without the patient's name and number."""
        text = self.relative(text)
        for name in self._names():
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "…", text, flags=re.IGNORECASE)
        return text

    def advised(self, text: str) -> str:
        """The text `clean`, in the words of an appliance: what to send or choose in place of folders and options."""
        relative = self.relative(text)
        return self.clean(relative if self.images is None else in_words(relative, self.images))

    def _names(self) -> list[str]:
        parts = re.split(r"[\^=,\s]+", self.patient.name)
        found = {name for name in (self.patient.patient_id, *parts) if len(name) >= _LEAST_NAME}
        return sorted(found, key=len, reverse=True)


def fault_of(error: BaseException, words: Words, data: Path, *, own: bool) -> Fault:
    """What to keep of a failure.

    Args:
        data: Folder of the results, to see whether its disk is full.
        own: The job has a bundle or series that a person chose for it: then these are to blame.
    """
    kind = next((name for known, name in _KINDS if isinstance(error, known)), "crash")
    if kind == "output" and _is_of_the_disk(error, data):
        kind = "disk"
    of_images = kind in ("spool", "case", "input")  # others are for who runs the machine
    if isinstance(error, ScansideError):
        reason = redact(words.advised(str(error)) if of_images else words.clean(str(error)))
    elif kind == "memory":
        reason = "The memory did not suffice; close other programs, or compute on a larger machine."
    else:
        reason = f"An unforeseen error stopped the computation ({_place(error)}); report it."
    blameless = kind in _OF_THE_MACHINE and (kind == "disk" or not own)
    return Fault(kind, reason, blameless)


def _is_of_the_disk(error: BaseException, data: Path) -> bool:
    """The system said so, or a file that was not written whole lies on a disk without space."""
    if isinstance(error.__cause__, OSError):
        return True
    try:
        return shutil.disk_usage(data).free < _FEW_BYTES
    except OSError:
        return True


def _place(error: BaseException) -> str:
    """Type and innermost place: a message could quote a header."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = ""
    if trace is not None:
        where = f" in {trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno}"
    return type(error).__name__ + where
