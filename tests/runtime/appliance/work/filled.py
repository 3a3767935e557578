"""A data folder as the receiver leaves it: a store, and studies in the spool that wait for the worker."""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydicom

from scanside.runtime.appliance.config import Config, load_config
from scanside.runtime.appliance.receive.spool import short_hash
from scanside.runtime.appliance.store import intake, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.intake import Added
from scanside.runtime.appliance.store.records import Case, Instance, Patient
from tests.support.appliance import allowed, toml

PACS = {"kind": "dicom", "name": "PACS", "ae_title": "PACS", "host": "127.0.0.1", "port": 11112}
ASSOCIATION = "a1"


def configured(folder: Path, bundle: Path, **tables: Any) -> Path:
    """A scanside.toml."""
    document: dict[str, Any] = {
        "service": {"data": folder / "data", "bundle": bundle, "research_use_only": True},
        "trust": allowed(bundle),
        "work": {"device": "cpu", "threads": 1, "backoff_seconds": 0, "stage_seconds": 60},
        "destinations": [PACS],
    }
    for name, table in tables.items():
        document[name] = {**document.get(name, {}), **table} if isinstance(table, dict) else table
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scanside.toml"
    path.write_text(toml(document))
    return path


def opened(path: Path) -> tuple[Config, Database]:
    """The configuration, and its store."""
    config = load_config(path)
    for made in (config.spool, config.results):
        made.mkdir(parents=True, exist_ok=True)
    return config, Database(config.database, create=True)


def received(config: Config, database: Database, files: Iterable[Path], *, complete: bool = True) -> str:
    """Put files into spool and store, as an association does; returns the case id."""
    case_id = ""
    for file in files:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        study = str(header.StudyInstanceUID)
        case_id = intake.pseudonym(str(database.meta("site_key")), study)
        path = Path(
            case_id,
            short_hash(str(header.SeriesInstanceUID)),
            f"{short_hash(str(header.SOPInstanceUID))}.dcm",
        )
        target = config.spool / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        data = target.read_bytes()
        one = Instance(
            str(header.SOPInstanceUID), study, str(header.SeriesInstanceUID), str(path),
            hashlib.sha256(data).hexdigest(), len(data),
        )  # fmt: skip
        patient = Patient(str(header.PatientID), str(header.PatientName))
        added = intake.add_instance(
            database, one, association=ASSOCIATION, calling="MR1", patient=patient, most=10_000
        )
        assert added in (Added.NEW, Added.SAME)
    if complete:
        finished(database)
    return case_id


def finished(database: Database) -> None:
    """The association closes, and the study is complete."""
    intake.close_association(database, ASSOCIATION)
    intake.complete_studies(database, quiet_seconds=0, series=None)


def shown(database: Database, case_id: str) -> Case:
    """Its line of the worklist."""
    case = worklist.case(database, case_id)
    assert case is not None
    return case
