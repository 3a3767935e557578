"""A site: an appliance's configuration, a PACS with DICOM, an archive with DICOMweb."""

from pathlib import Path
from typing import Any

from scanside.runtime.appliance.config import Config, load_config
from tests.support import peers
from tests.support.appliance import allowed, free_port, toml


def configure(
    folder: Path, bundle: Path, destinations: list[dict[str, Any]] | None = None, **tables: Any
) -> Config:
    """The configuration of a site, as it is read from its file."""
    document: dict[str, Any] = {
        "service": {"data": folder / "data", "bundle": bundle, "research_use_only": True},
        "trust": allowed(bundle),
        "receive": {"port": free_port(), "reserve_gb": 0.05},
        "work": {"device": "cpu", "threads": 1, "backoff_seconds": 0.2},
        "send": {
            "commitment_port": free_port(),
            "retry_seconds": 0.2,
            "retry_most_seconds": 1,
            "timeout_seconds": 10,
        },
        "watch": {"port": 0, "log_level": "WARNING"},
    }
    for name, table in tables.items():
        document[name] = {**document.get(name, {}), **table} if isinstance(table, dict) else table
    if destinations:
        document["destinations"] = destinations
    path = folder / "scanside.toml"
    path.write_text(toml(document))
    return load_config(path)


def pacs_of(pacs: peers.Orthanc, **more: Any) -> dict[str, Any]:
    """A DICOM destination."""
    there = {
        "kind": "dicom",
        "name": "pacs",
        "ae_title": pacs.ae_title,
        "host": peers.LOOPBACK,
        "port": pacs.port,
    }
    return {**there, **more}
