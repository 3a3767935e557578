"""`bench receivers`: the receivers that are here, once each; whether it is fast is nobody's business here."""

from pathlib import Path

from scanside.benchmarks.environment import environment
from scanside.benchmarks.receivers import ReceiversReport, receivers_table, run_receivers
from scanside.benchmarks.results import write
from tests.support.peers import need


def test_every_receiver_that_is_here_gets_every_instance(tmp_path: Path) -> None:
    for program in ("storescu", "storescp", "Orthanc"):
        need(program)
    report = run_receivers(5, 32, 1, environment(["bench", "receivers"]))
    assert [one.name for one in report.receivers] == ["scanside", "dcmtk storescp", "Orthanc"]
    assert all(one.instances_per_s > 0 and one.version != "unknown" for one in report.receivers)
    assert report.absent == [] and len(report.floor.file_ms.samples) == 100
    write(report, tmp_path / "receivers.json")
    assert ReceiversReport.model_validate_json((tmp_path / "receivers.json").read_text()) == report
    table = receivers_table(report)
    assert "dcmtk storescp" in table and "at most" in table
