"""The whole acceptance against real archives: Orthanc over DIMSE and over DICOMweb."""

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from scanside.runtime.acceptance.files import earlier_reports, read_report
from scanside.runtime.acceptance.record import TITLES, Check, Report
from scanside.runtime.acceptance.run import FOLDER, Request, accept
from scanside.runtime.appliance.config import Config
from scanside.runtime.cli.main import run
from scanside.runtime.errors import UsageError
from tests.runtime.acceptance.site import configure, pacs_of
from tests.support import peers
from tests.support.appliance import free_port
from tests.support.tls_files import make_tls

FAMILIES = set(TITLES) - {"constancy"}


def by_name(report: Report) -> dict[str, Check]:
    return {check.key: check for check in report.checks}


def told(report: Report) -> str:
    return "\n".join(f"{check.result.outcome}: {check.key}: {check.sentence}" for check in report.checks)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, proven: Path) -> Iterator[Config]:
    """Receiver and PACS over TLS with listed callers, and an archive that speaks DICOMweb."""
    folder = tmp_path_factory.mktemp("secure")
    tls = make_tls(folder / "tls")
    tls.client.key.chmod(0o600)
    own = {name: getattr(tls.client, name) for name in ("certificate", "key", "authority")}
    commitment = free_port()
    with (
        peers.Orthanc(
            folder / "pacs", modalities={"SCANSIDE": (peers.LOOPBACK, commitment)}, tls=tls.server
        ) as pacs,
        peers.Orthanc(folder / "archive", ae_title="ARCHIVE", dicom_web=True) as archive,
    ):
        yield configure(
            folder,
            proven,
            [
                pacs_of(pacs, tls=own),
                {
                    "kind": "stow",
                    "name": "archive",
                    "url": archive.dicom_web,
                    "rule": {"objects": ["seg", "sr"]},
                },
            ],
            receive={"tls": own},
            **{"receive.callers": [{"ae_title": "MR1", "address": "10.1.2.3"}]},
            send={"commitment_port": commitment},
        )


@pytest.fixture(scope="module")
def passed(secure: Config) -> Report:
    return accept(secure, Request(by="A. Physicist", site="MR 2", studies=2, patience=120))


def test_a_sound_site_passes(passed: Report, secure: Config) -> None:
    assert passed.passed, told(passed)
    assert {check.family for check in passed.checks} == FAMILIES
    found = by_name(passed)
    for key in (
        "association: a calling AE title that is not listed",
        "association: a sender without TLS",
        "geometry: t2w: volumes and places",
        "geometry: nothing leaves before it is accepted",
        "archive: pacs: storage commitment",
        "archive: pacs: Segmentations lie where the bodies are",
        "archive: pacs: volumes of the report",
        "archive: archive: Segmentations lie where the bodies are",
        "refusal: no b-values",
        "load: one study, one result",
        "power: a result after the cut",
    ):
        assert found[key].result.outcome == "passed", told(passed)
    assert "C-GET" in found["archive: pacs: every object comes back"].sentence
    assert "WADO-RS" in found["archive: archive: every object comes back"].sentence
    assert (passed.by, passed.site) == ("A. Physicist", "MR 2")
    assert list((secure.service.data / FOLDER).iterdir()) == [], "nothing of the rehearsal is left"
    assert not secure.database.exists(), "the store of the site was not touched"


def test_it_is_not_run_beside_the_service(secure: Config) -> None:
    from scanside.runtime.appliance.process import only_one

    with only_one(secure, "serve"), pytest.raises(UsageError, match="stop it during the acceptance"):
        accept(secure, Request())


def test_faults_that_only_a_running_site_shows(
    tmp_path: Path, proven: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One site with four faults: each is found by its name, and the others pass."""
    with peers.Orthanc(
        tmp_path / "pacs",
        modalities={"SCANSIDE": (peers.LOOPBACK, free_port())},  # it answers about commitment elsewhere
    ) as pacs:
        configure(
            tmp_path,
            proven,
            [pacs_of(pacs, commitment_seconds=60)],
            accept={"not_body_parts": []},
            work={"tries": 1},
            send={"timeout_seconds": 2},
        )
        words = [
            "accept",
            "-c",
            str(tmp_path / "scanside.toml"),
            "-o",
            str(tmp_path / "out"),
            "--studies",
            "2",
        ]
        code = run([*words, "--limit-seconds", "0.1", "--json"])
    report = Report.model_validate_json(capsys.readouterr().out)
    assert code == 1 and not report.passed
    assert {check.key for check in report.of("failed")} == {
        "archive: pacs: storage commitment",
        "refusal: another body part",
        "load: latency",
        "power: a result after the cut",
    }, told(report)
    for check in report.of("failed"):
        assert check.result.outcome == "failed" and check.result.to_do.endswith(".")
    assert read_report(next((tmp_path / "out").glob("*.json"))) == report
    assert earlier_reports(tmp_path / "out") == (report,)
    page = next((tmp_path / "out").glob("*.html")).read_text()
    assert (
        "What failed, and what to do" in page
        and "http" not in page.replace("https://", "http").split("<body>")[0]
    )
    assert (
        "work.tries" in page and json.loads(report.model_dump_json(by_alias=True))["schema"] == report.schema_
    )


@pytest.mark.slow
def test_the_demonstration_passes(tmp_path: Path) -> None:
    """The bundle that comes with the program, with all its folds, on a real Orthanc."""
    bundle = Path(str(files("scanside.training").joinpath("data", "pancreas-phantom.bundle")))
    commitment = free_port()
    with peers.Orthanc(tmp_path / "pacs", modalities={"SCANSIDE": (peers.LOOPBACK, commitment)}) as pacs:
        config = configure(tmp_path, bundle, [pacs_of(pacs)], send={"commitment_port": commitment})
        report = accept(config, Request(studies=3))
    assert report.passed, told(report)
    assert {check.key for check in report.of("not done")} <= {
        "machine: clock is synchronised",
        "association: a calling AE title that is not listed",
        "association: a sender without TLS",
        "model: signature",
        "record: signature",
    }
