"""`--engine` without a server: what it cannot heed, what is no address, and studies that wait for one."""

import re
from pathlib import Path

import pytest

from scanside.runtime.appliance.config import load_config
from scanside.runtime.appliance.store.states import State
from scanside.runtime.errors import UsageError
from scanside.runtime.triton.address import Engine
from scanside.training.demo import BUNDLE
from tests.runtime.appliance.work import filled
from tests.runtime.study.tiny_study import write_dicom
from tests.runtime.triton.serving import segmented, worked
from tests.support.peers import LOOPBACK, free_port

pytestmark = pytest.mark.requirement("server-proven")


@pytest.mark.parametrize(
    "options",
    [
        ["--device", "cpu"],
        ["--no-mirroring"],
        ["--threads", "2"],
        ["--folds", "0"],
        ["--step-size", "0.7"],
        ["--ray", "local"],
    ],
    ids=lambda words: words[0],
)
def test_what_an_engine_cannot_heed_is_refused(tmp_path: Path, options: list[str]) -> None:
    assert segmented(tmp_path, tmp_path / "out", "--engine", "triton://server:8000", *options) == 2


@pytest.mark.parametrize(
    "url",
    [
        "server:8000/x",
        "http://server:8000/x",
        "triton://server/x",
        "triton://server:8000/x/y",
        "triton://a@b:1/x",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no engine"):
        Engine(url)


def test_studies_wait_while_the_server_is_away(tmp_path: Path) -> None:
    config, database = filled.opened(filled.configured(tmp_path, BUNDLE))
    case_id = filled.received(config, database, sorted(write_dicom(tmp_path / "study").rglob("*.dcm")))
    away = worked(config, database, case_id, f"triton://{LOOPBACK}:{free_port()}")
    assert (away.state, away.attempts) == (State.QUEUED, 0), "the study has no part in it"
    assert "cannot be reached" in (away.reason or "")


@pytest.mark.parametrize(
    ("work", "words"),
    [
        ('engine = { url = "triton://10.0.0.1:8000" }', "is not this machine: use triton.https"),
        ('engine = { url = "http://server:8000" }', "is no engine"),
        ('engine = { url = "triton+https://server:443" }\ndevice = "cpu"', "leave out device"),
    ],
)
def test_a_configuration_that_would_surprise_is_refused(tmp_path: Path, work: str, words: str) -> None:
    path = filled.configured(tmp_path, BUNDLE)
    text = re.sub(r"(?ms)^\[work\].*?(?=^\[)", f"[work]\n{work}\n", path.read_text())
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        load_config(path)
