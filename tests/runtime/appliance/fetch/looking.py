"""An appliance of ours that looks for earlier results in archives, and reports that were changed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom

from scanside.runtime.appliance.fetch.prior_reports import PriorFetcher
from scanside.runtime.appliance.receive.ledger import Ledger
from scanside.runtime.appliance.store import prior_lookups, priors
from scanside.runtime.appliance.store.records import Measured
from scanside.runtime.dicom.patient import day_of, person_of
from scanside.runtime.remark import Remark
from scanside.runtime.study.prior import Prior
from tests.runtime.appliance.work.clinic import SECOND, Clinic
from tests.runtime.appliance.work.filled import shown


@contextmanager
def clinic(
    folder: Path, study: Path, bundle: Path, *archives: dict[str, Any], visits: int = 0, **more: Any
) -> Iterator[Clinic]:
    """Ours, whose store is empty."""
    fetch = {
        "archives": [{"priors": True, **one} for one in archives],
        "tries": 1,
        "retry_seconds": 0,
        **more,
    }
    made = Clinic(folder / "here", study, bundle, visits, fetch=fetch, send={"timeout_seconds": 10})
    yield made
    made.close()


def seek(here: Clinic, times: int = 1) -> Callable[[], None]:
    """The archives are looked through."""

    def look() -> None:
        ledger = Ledger(here.config.database)
        prior_fetcher = PriorFetcher(here.config, ledger, here.config.spool)
        try:
            assert [prior_fetcher.step() for _ in range(times + 1)] == [*[True] * times, False]
        finally:
            ledger.close()

    return look


def told(here: Clinic, case_id: str) -> Any:
    result = here.config.results / str(shown(here.database, case_id).result) / "result.json"
    return json.loads(result.read_text())


def looked(
    here: Clinic, day: str = SECOND, patient: str = "P1", times: int = 1, **who: str
) -> tuple[Prior | None, Remark | None]:
    """Of a study that arrives: the earlier result that its report would state, and what it would say of archives."""
    case = shown(here.database, here.arrive(day, patient, most=1, **who))
    seek(here, times)()
    (row,) = here.database.rows("SELECT path FROM instances WHERE study_uid = ?", (case.study_uid,))
    headers = [pydicom.dcmread(here.config.spool / row["path"])]
    person, examined = person_of(headers), day_of(headers)
    assert person is not None and examined is not None
    measured = Measured(priors.pseudonym_of(here.database, person), examined, "", "", ())
    names = [one.name for one in here.config.fetch.prior_archives]
    prior = priors.prior_of(here.database, case.study_uid, measured, names)
    return prior, prior_lookups.remark_of(here.database, case.job)


def changed(report: Path, **attributes: Any) -> Any:
    """The report with other attributes and, unless they say so, another UID."""
    made = pydicom.dcmread(report)
    for keyword, value in {"SOPInstanceUID": f"{made.SOPInstanceUID}1"[:64], **attributes}.items():
        setattr(made, keyword, value)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made


def file_of(made: Any) -> bytes:
    file = BytesIO()
    made.save_as(file)
    return file.getvalue()


def walked(item: Any) -> Iterator[Any]:
    for below in item.get("ContentSequence", ()):
        yield below
        yield from walked(below)


def concept(item: Any) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue) if "ConceptNameCodeSequence" in item else ""


def measured_lesions(made: Any) -> list[Any]:
    """Items that state a volume."""
    return [item for item in walked(made) if concept(item) == "118565006"]
