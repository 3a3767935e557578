"""An appliance, and patients who come to it: what is computed of one is there when the next one comes."""

import threading
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import highdicom.sr as hd
import pydicom

from scanside.runtime.appliance.store import outbox, priors
from scanside.runtime.appliance.work.main import Worker
from scanside.runtime.study.prior import Prior
from tests.runtime.appliance.work.filled import configured, opened, received, shown
from tests.support.dciodvfy import errors_of

FIRST, SECOND = "20260101", "20260701"


class Clinic:
    """An appliance, and patients who come to it."""

    def __init__(self, folder: Path, study: Path, bundle: Path, visits: int = 0, **tables: Any) -> None:
        """Open it.

        Args:
            visits: Number of the first one, less one: the UIDs of a study are those of its number.
            tables: Of its configuration.
        """
        self.config, self.database = opened(configured(folder, bundle, **tables))
        self._folder, self._study = folder, study
        self.worker = Worker(self.config, self.database, threading.Event())
        self._visits = visits

    def arrive(
        self,
        day: str,
        patient: str = "P1",
        born: str = "19600102",
        *,
        study: Path | None = None,
        most: int | None = None,
        **attributes: str,
    ) -> str:
        """A study of that day has come, and waits for the worker; returns its case id.

        Args:
            most: Number of its images; all by default.
            attributes: Further ones of its images.
        """
        self._visits += 1
        files, source = [], study or self._study
        for file in sorted(source.rglob("*.dcm"))[:most]:
            image = pydicom.dcmread(file)
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
                setattr(image, keyword, f"{getattr(image, keyword)}.{self._visits}")
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            image.PatientID, image.PatientBirthDate, image.StudyDate = patient, born, day
            for keyword, value in attributes.items():
                setattr(image, keyword, value)
            target = self._folder / f"visit-{self._visits}" / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            image.save_as(target)
            files.append(target)
        return received(self.config, self.database, files)

    def visit(
        self,
        *who: str,
        deliver: bool = True,
        arrived: Callable[[], None] = lambda: None,
        **how: Any,
    ) -> str:
        """A study that arrives, is computed and, unless told otherwise, delivered; returns its case id.

        Args:
            who, how: See `arrive`.
            arrived: Called before it is computed.
        """
        case_id = self.arrive(*who, **how)
        arrived()
        assert self.worker.step()
        if deliver:
            job = shown(self.database, case_id).job
            outbox.stored(self.database, outbox.of_job(self.database, job), commitment=False)
        return case_id

    def report_file(self, case_id: str) -> Path:
        job = shown(self.database, case_id).job
        (item,) = [one for one in outbox.of_job(self.database, job) if one.kind == "sr"]
        return self.config.results / item.path

    def report(self, case_id: str) -> Any:
        file = self.report_file(case_id)
        assert errors_of(file) == []
        return pydicom.dcmread(file)

    def close(self) -> None:
        self.worker.close()
        self.database.close()

    def prior(self, case_id: str) -> Prior | None:
        """That the store would give the study of a case now."""
        case = shown(self.database, case_id)
        (row,) = self.database.rows("SELECT * FROM jobs WHERE job = ?", (case.job,))
        measured = priors.Measured(row["person"], date.fromisoformat(row["examined"]), "x", "y", ())
        return priors.prior_of(self.database, case.study_uid, measured)


def points(report: Any) -> list[tuple[str, int, float, float]]:
    """Date, order, volume and diameter of every group that states a point in time, by highdicom."""
    found = []
    for group in report_groups(report):
        texts = {item.ConceptNameCodeSequence[0].CodeValue: item for item in group[0].ContentSequence}
        if "C2348792" not in texts:
            continue
        numbers = {
            code: float(texts[code].MeasuredValueSequence[0].NumericValue)
            for code in ("126073", "118565006", "L0JK")
        }
        found.append(
            (texts["C2348792"].TextValue, int(numbers["126073"]), numbers["118565006"], numbers["L0JK"])
        )
    return found


def report_groups(report: Any) -> list[Any]:
    made = hd.Comprehensive3DSR.from_dataset(report)
    content = made.content
    assert isinstance(content, hd.MeasurementReport), "highdicom reads it by TID 1500"
    return [*content.get_planar_roi_measurement_groups(), *content.get_volumetric_roi_measurement_groups(),
            *content.get_image_measurement_groups()]  # fmt: skip


def comments(report: Any) -> str:
    return " ".join(
        str(item.get("TextValue", "")) for group in report_groups(report) for item in group[0].ContentSequence
    )
