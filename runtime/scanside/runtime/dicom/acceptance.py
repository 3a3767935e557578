"""What the headers of a study say of body part and study: one image of each series is asked."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydicom.dataset import Dataset

from scanside.runtime.dicom.header import attribute, has_pixels, quiet, read_instance
from scanside.runtime.dicom.series import NOT_PICTURES
from scanside.runtime.errors import ImageReadError

Said = tuple[str, str, str]
"""Modality, body part, and descriptions of the study and of the requested procedure."""


def series_headers(study: Path) -> Iterator[Said]:
    """Of a folder with a folder a series. Objects that are no pictures, and files that cannot be read, say nothing."""
    for folder in sorted(path for path in study.iterdir() if path.is_dir()):
        for file in sorted(folder.iterdir()):
            with suppress(ImageReadError, OSError), quiet():
                header = read_instance(file).header
                if has_pixels(header) and str(attribute(header, "SOPClassUID")) not in NOT_PICTURES:
                    yield _said(header)
                    break


def _said(header: Dataset) -> Said:
    words = [
        str(attribute(header, name) or "") for name in ("StudyDescription", "RequestedProcedureDescription")
    ]
    modality, part = (str(attribute(header, name) or "").strip() for name in ("Modality", "BodyPartExamined"))
    return modality, part, " ".join(words)
