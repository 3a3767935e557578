"""A rehearsal keeps away from what is the site's."""

from pathlib import Path

from scanside.runtime.acceptance.rehearsal import as_toml, rehearsed
from scanside.runtime.appliance.config import DicomArchive, DicomDestination, Fetch, Rule, load_config
from tests.runtime.acceptance.site import configure


def test_a_rehearsal_keeps_away_from_what_is_the_sites(tmp_path: Path, proven: Path) -> None:
    site = configure(tmp_path, proven, service={"anchor": tmp_path / "anchor.json"})
    there = [
        DicomDestination(
            name="pacs", ae_title="PACS", host="127.0.0.1", port=104, rule=Rule(calling=("MR1",))
        )
    ]
    archive = DicomArchive(name="archive", ae_title="PACS", host="127.0.0.1", port=104)
    site = site.model_copy(update={"destinations": tuple(there), "fetch": Fetch(archives=(archive,))})
    made = rehearsed(site, tmp_path / "run", ["geometry-phantom"])
    (tmp_path / "run.toml").write_text(as_toml(made))
    read = load_config(tmp_path / "run.toml")
    assert read == made, "as it is written, it is read"
    folders = (read.database, read.spool, read.results, read.quarantine, read.anchor)
    assert all(path.is_relative_to(tmp_path / "run") for path in folders)
    assert read.service.require_review and read.watch.port == 0 and read.fetch.archives == ()
    assert read.destinations[0].rule.calling == ("MR1", "SCANSIDE_ACCEPT")
    assert read.receive.port == site.receive.port and read.work == site.work
