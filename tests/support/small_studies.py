"""Many small studies that differ in their UIDs: one is made, the others are copies under other names."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pydicom
from pydicom.dataset import Dataset

from scanside.runtime.volume import Geometry
from tests.runtime.study.tiny_study import CENTRE, TinyStudy, write_dicom
from tests.support.dicom_factory import ROOT

_ROOT = "1.2.826.0.1.3680043.8.498.7"
_T2W = Geometry((8, 32, 32), (9.0, 4.5, 4.5), (-72.0, -70.0, -26.0))
_DWI = Geometry((8, 28, 28), (9.0, 5.0, 5.0), (-70.0, -69.0, -26.0))


@cache
def _template() -> tuple[tuple[Dataset, str, str], ...]:
    """Instances, each with the ends of its UIDs."""
    small = TinyStudy(t2w_grid=_T2W, dwi_grid=_DWI, t2w=((CENTRE, 20.0),), dwi=((CENTRE, 20.0),))
    with TemporaryDirectory() as folder:
        write_dicom(Path(folder), small)
        files = sorted(Path(folder).rglob("*.dcm"))
        found = [pydicom.dcmread(file) for file in files]
    return tuple(
        (one, _end(one.SeriesInstanceUID), _end(one.SOPInstanceUID))
        for one in found
        if one.SeriesDescription != "localizer"
    )


def _end(uid: str) -> str:
    return str(uid).removeprefix(f"{ROOT}.")


def small_study(number: int) -> Iterator[Dataset]:
    """The instances of study `number`, each with its file meta.

    The objects are those of the study before, changed: save or send them before the next one is made.
    """
    for one, series, sop in _template():
        one.StudyInstanceUID = f"{_ROOT}.{number}"
        one.SeriesInstanceUID = f"{_ROOT}.{number}.{series}"
        one.SOPInstanceUID = f"{_ROOT}.{number}.{sop}"
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.PatientID, one.PatientName = f"P{number:05d}", f"Small^Patient{number}"
        yield one


def small_study_uids(number: int) -> Iterator[str]:
    """UID of study `number`, and then those of its instances; changes no object."""
    yield f"{_ROOT}.{number}"
    for _, _, sop in _template():
        yield f"{_ROOT}.{number}.{sop}"


def write_study(number: int, folder: Path) -> Path:
    """The study as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, one in enumerate(small_study(number)):
        one.save_as(folder / f"{place:03d}.dcm", enforce_file_format=True)
    return folder
