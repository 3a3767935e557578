"""The appliance, the acceptance and two clients on a Triton server that is killed again and again."""

import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from scanside.runtime.acceptance.models import bundle_checks
from scanside.runtime.appliance.store.states import State
from scanside.runtime.bundle import open_bundle
from scanside.runtime.cli.main import run
from scanside.runtime.options import Options
from scanside.runtime.triton.address import Engine
from scanside.runtime.trust import Trust
from scanside.training.demo import BUNDLE
from tests.runtime.appliance.work import filled
from tests.runtime.study.tiny_study import write_dicom
from tests.runtime.triton.serving import CASES, MODEL, Place, lines, masks, worked

pytestmark = [pytest.mark.slow, pytest.mark.requirement("server-proven")]


def test_the_appliance_computes_a_study_on_it(place: Place, tmp_path: Path) -> None:
    study, alone = write_dicom(tmp_path / "study"), tmp_path / "alone"
    assert run(["run", str(BUNDLE), str(study), "-o", str(alone), "--device", "cpu", "--threads", "1"]) in (
        0,
        5,
    )
    config, database = filled.opened(filled.configured(tmp_path, BUNDLE))
    case_id = filled.received(config, database, sorted(study.rglob("*.dcm")))
    done = worked(config, database, case_id, place.server.url)
    assert done.state == State.SENDING and done.result is not None
    out = config.results / done.result
    report, expected = (json.loads((one / "result.json").read_text()) for one in (out, alone))
    assert report["device"]["engine"] == report["device"]["asked"] == place.server.url
    assert report["device"]["obtained"] == "cpu" and not report["approximations"]
    assert report["status"] == expected["status"] and report["probability"] == expected["probability"]
    there = masks(out)
    assert there.keys() == masks(alone).keys() != set()
    assert all(int((mask != masks(alone)[name]).sum()) == 0 for name, mask in there.items())


def test_acceptance_replays_its_golden_cases_there(place: Place) -> None:
    options = Options(engine=Engine(place.server.url, seconds=60))
    rows = list(bundle_checks(open_bundle(BUNDLE), options, Trust(allow=("pancreas-phantom",))))
    golden = [row for row in rows if "synthetic" in row.name and "study" not in row.name]
    assert len(golden) == 4 and {row.result.outcome for row in golden} == {"passed"}


def test_two_clients_and_a_server_that_is_killed_again_and_again(place: Place, tmp_path: Path) -> None:
    """Every image of both once, with the labels of this machine, whatever the server was doing when it died."""
    count, kills = 12, 4
    (tmp_path / "images").mkdir()
    for index in range(count):
        source = place.images / f"c{index % CASES}_0000.nii.gz"
        shutil.copyfile(source, tmp_path / "images" / f"c{index}_0000.nii.gz")
    outs = [tmp_path / "first", tmp_path / "second"]
    program = [
        sys.executable,
        "-m",
        "scanside.runtime.cli.main",
        "segment",
        str(BUNDLE),
        str(tmp_path / "images"),
    ]
    clients = [
        subprocess.Popen([*program, "-o", str(out), "--role", "t2w", "--engine", place.server.url])
        for out in outs
    ]
    for _ in range(kills):
        before = sum(len(list(out.glob("*.nii.gz"))) for out in outs)
        while sum(len(list(out.glob("*.nii.gz"))) for out in outs) < before + 3:
            time.sleep(0.01)
        assert any(client.poll() is None for client in clients), "it dies while there is something to do"
        place.server.kill()
        place.server.start(MODEL)
    assert [client.wait(600) for client in clients] == [0, 0]
    for out in outs:
        assert Counter(line["name"] for line in lines(out)) == Counter({f"c{i}": 1 for i in range(count)})
        found = masks(out)
        assert len(found) == count
        for index in range(count):
            expected = place.alone[f"c{index % CASES}.nii.gz"]
            assert int((found[f"c{index}.nii.gz"] != expected).sum()) == 0
