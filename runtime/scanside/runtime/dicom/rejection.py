"""What a new result takes the place of → a note that rejects it (IHE RAD TF, Imaging Object Change Management).

A PACS that knows such notes hides what they refer to; one that does not shows a Key Object Selection that says so.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from scanside.runtime.dicom.header import quiet
from scanside.runtime.dicom.object_header import NOTICE, Replaced, Stamp, source_header
from scanside.runtime.dicom.sr import device_observer
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write

TITLE = Code("113001", "DCM", "Rejected for Quality Reasons")
"""Of CID 7011 the one that lets a reader still find what was rejected: nothing about it was wrong, it is superseded."""
_PICTURES = ("seg", "sc")


def write_rejection(source: Dataset, replaced: Sequence[Replaced], stamp: Stamp, path: Path) -> Dataset:
    """Write a note that rejects objects of the same study.

    Args:
        source: Header of a source image: whose patient and study it is.
        replaced: At least one.
        stamp: Of the result that takes their place.

    Raises:
        OutputError: If the header lacks what the object needs, or the file cannot be written.
    """
    with quiet(), atomic_write(path) as temporary:
        try:
            made = _document([_stand_in(source, one) for one in replaced], stamp)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # highdicom's, on odd headers
            reason = " ".join(str(error).split()).rstrip(".")
            raise OutputError(
                f"No rejection note can be made ({reason}); hide the older result by hand."
            ) from error
        made.save_as(temporary)
    return made


def _document(evidence: Sequence[Dataset], stamp: Stamp) -> Any:
    number = stamp.revision.number
    content = highdicom.ko.KeyObjectSelection(
        document_title=TITLE,
        referenced_objects=evidence,
        observer_device_context=device_observer(stamp),
        description=f"{NOTICE}: superseded by result {number} of the same study",
    )
    digest = hashlib.sha256(repr([str(one.SOPInstanceUID) for one in evidence]).encode()).hexdigest()
    made = highdicom.ko.KeyObjectSelectionDocument(
        evidence=evidence,
        content=content,
        series_instance_uid=stamp.uid("reject series", digest),
        sop_instance_uid=stamp.uid("reject", digest),
        **stamp.series("reject", evidence[0], f"{stamp.algorithm.name} rejection note"),
    )
    made.copy_patient_and_study_information(evidence[0])
    stamp.finish(made, evidence[0])
    return made


def _stand_in(source: Dataset, replaced: Replaced) -> Dataset:
    """What highdicom looks at of an object that is referred to; only pictures have rows."""
    size = 1 if replaced.kind in _PICTURES else None
    return source_header(
        source,
        SOPClassUID=replaced.sop_class_uid,
        SOPInstanceUID=replaced.sop_instance_uid,
        SeriesInstanceUID=replaced.series_instance_uid,
        Rows=size,
        Columns=size,
    )
