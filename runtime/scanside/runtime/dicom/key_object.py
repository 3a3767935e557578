"""The slices that show what was found → a Key Object Selection, by which a PACS opens a study at the lesion."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from scanside.runtime.dicom.frames import Frame
from scanside.runtime.dicom.header import quiet
from scanside.runtime.dicom.object_header import NOTICE, Stamp, source_header
from scanside.runtime.dicom.sr import device_observer
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write


def write_key_objects(
    captures: Sequence[Dataset], slices: Sequence[Frame], synthetic: bool, stamp: Stamp, path: Path
) -> Dataset:
    """Write a selection of title 113000 `Of Interest`.

    Args:
        captures: Secondary captures that belong to it.
        slices: Source slices through the lesion, at least one; frames of a multi-frame object are named by number.
        synthetic: The model was trained on a phantom; the description says so.
        stamp: Whose images, which bundle, when.

    Raises:
        OutputError: If the headers lack what the object needs, or the file cannot be written.
    """
    with quiet(), atomic_write(path) as temporary:
        try:
            made = _document(captures, slices, synthetic, stamp)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # highdicom's, on odd headers
            reason = " ".join(str(error).split()).rstrip(".")
            raise OutputError(
                f"No DICOM key object selection can be made ({reason}); look at the overlays."
            ) from error
        made.save_as(temporary)
    return made


def _document(captures: Sequence[Dataset], slices: Sequence[Frame], synthetic: bool, stamp: Stamp) -> Any:
    numbers: dict[str, list[int]] = {}
    headers: dict[str, Dataset] = {}
    for frame in slices:
        uid = str(frame.instance.header.SOPInstanceUID)
        headers.setdefault(uid, source_header(frame.instance.header))
        numbers.setdefault(uid, [])
        if frame.groups:
            numbers[uid].append(frame.index + 1)
    evidence = [*headers.values(), *captures]
    content = highdicom.ko.KeyObjectSelection(
        document_title=codes.DCM.OfInterest,
        referenced_objects=evidence,
        observer_device_context=device_observer(stamp),
        description=f"{NOTICE}{' - SYNTHETIC PHANTOM MODEL' if synthetic else ''}: slices through the main lesion of "
        "the automatic segmentation",
    )
    for item in content[0].ContentSequence:
        for reference in item.get("ReferencedSOPSequence") or ():
            if found := sorted(numbers.get(str(reference.ReferencedSOPInstanceUID)) or ()):
                reference.ReferencedFrameNumber = found if len(found) > 1 else found[0]
    digest = hashlib.sha256(
        repr((sorted(numbers.items()), [str(c.SOPInstanceUID) for c in captures])).encode()
    )
    first = evidence[0]
    made = highdicom.ko.KeyObjectSelectionDocument(
        evidence=evidence,
        content=content,
        series_instance_uid=stamp.uid("key series", digest.hexdigest()),
        sop_instance_uid=stamp.uid("key", digest.hexdigest()),
        **stamp.series("key", first, f"{stamp.algorithm.name} key images"),
    )
    made.copy_patient_and_study_information(first)
    stamp.finish(made, first)
    return made
