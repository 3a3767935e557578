"""Studies of several series, and what is chosen from them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from scanside.runtime.dicom.select import RULES, Chosen, choose_volume
from scanside.runtime.dicom.study import DicomStudy, index_study
from tests.support.dicom_factory import ROOT, Grid, stored_values, write_series

CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
T2 = {"SeriesDescription": "T2 TSE tra", "ScanningSequence": "SE", "EchoTime": 90.0, "EchoTrainLength": 20}
DWI = {"SeriesDescription": "ep2d_diff", "ScanningSequence": "EP", "EchoTime": 60.0}
ADC = {
    "SeriesDescription": "ep2d_diff_ADC",
    "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"],
    "EchoTime": 60.0,
}
SHAPE = (16, 8, 6)


def add(
    study: Path,
    number: int,
    attributes: Mapping[str, Any],
    *,
    grid: Grid | None = None,
    slices: int = SHAPE[0],
    each: Callable[[int, Dataset], None] | None = None,
) -> Path:
    """One series of a study, in a folder of its own."""

    def change(z: int, dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = f"{ROOT}.2.{number}"
        dataset.SOPInstanceUID = f"{ROOT}.3.{number}.{z + 1}"
        dataset.SeriesNumber = number
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        if each:
            each(z, dataset)

    stored = stored_values((slices, *SHAPE[1:]), seed=number)
    return write_series(study / f"s{number}", stored, grid or Grid(step=6.0), change=change)


def add_b_values(study: Path, number: int, values: tuple[float, ...], **how: Any) -> None:
    """Several b-values in one series, as vendors deliver them."""
    for index, b in enumerate(values):
        add(study, number, {**DWI, "DiffusionBValue": b, **how})
        for file in (study / f"s{number}").glob("IM*.dcm"):
            file.rename(file.with_name(f"b{index}_{file.name}"))
    new_uids(study / f"s{number}", number)


def new_uids(folder: Path, number: int) -> None:
    import pydicom

    for index, file in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(file)
        dataset.SOPInstanceUID = f"{ROOT}.3.{number}.{index + 1}"
        dataset.save_as(file)


def select(study: DicomStudy, kind: Any, dwi: Chosen | None = None) -> Chosen | None:
    return choose_volume(kind, study.volumes, dwi.volume if dwi else None)[0]


def whole(path: Path) -> dict[str, Chosen | None]:
    study = index_study(path)
    dwi = select(study, "dwi")
    return {kind: dwi if kind == "dwi" else select(study, kind, dwi) for kind in RULES}


def named(chosen: Chosen | None) -> str | None:
    return None if chosen is None else chosen.volume.name
