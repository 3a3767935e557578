"""The receivers that are here, once each; whether one is fast is nobody's business here."""

import json
from pathlib import Path

from benchmarks.scripts.receivers import main
from tests.support.peers import need


def test_every_receiver_that_is_here_gets_every_instance(tmp_path: Path) -> None:
    for program in ("storescu", "storescp", "Orthanc"):
        need(program)
    main(tmp_path / "receivers.json", repeats=1, instances=5, matrix=32)
    found = json.loads((tmp_path / "receivers.json").read_text())
    assert [one["name"] for one in found["receivers"]] == ["scanside", "dcmtk storescp", "Orthanc"]
    assert all(one["instances_per_s"] > 0 and one["version"] != "unknown" for one in found["receivers"])
    assert found["absent"] == [] and len(found["floor"]["file_ms"]["samples"]) == 100
    table = (tmp_path / "receivers.md").read_text()
    assert "dcmtk storescp" in table and "at most" in table
