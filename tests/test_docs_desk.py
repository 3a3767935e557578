"""docs/tutorials/appliance-on-my-desk.md: what its Orthanc takes, and from whom."""

import json
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import peers
from tests.support.small_studies import write_study

PAGE = Path(__file__).parents[1] / "docs" / "tutorials" / "appliance-on-my-desk.md"


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Orthanc]:
    """By the page's orthanc.json; folder and ports alone are others."""
    [text] = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    options = json.loads(text)
    for name in ("StorageDirectory", "DicomPort", "HttpPort"):
        del options[name]
    with peers.Orthanc(tmp_path_factory.mktemp("pacs"), ae_title="ORTHANC", options=options) as one:
        yield one


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next(write_study(1, tmp_path_factory.mktemp("study")).rglob("*.dcm"))


@pytest.fixture(scope="module")
def outside() -> str:
    """This machine's address in a network. Nothing is sent to the other one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("NOT TESTED: this machine is in no network")
        return str(one.getsockname()[0])


def stored(pacs: peers.Orthanc, image: Path, calling: str, host: str = peers.LOOPBACK) -> bool:
    before = len(pacs.instances())
    done = peers.storescu(pacs.port, [image], called="ORTHANC", calling=calling, host=host)
    assert (done.returncode == 0) is (len(pacs.instances()) > before), done.stdout
    return done.returncode == 0


def test_a_stranger_can_store_nothing(pacs: peers.Orthanc, image: Path) -> None:
    assert not stored(pacs, image, "STRANGER")


def test_nobody_can_store_or_look_from_the_network(pacs: peers.Orthanc, image: Path, outside: str) -> None:
    assert not stored(pacs, image, "SCANSIDE", outside)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://{outside}:{pacs.web_port}/instances", timeout=30)


def test_the_appliance_can_store(pacs: peers.Orthanc, image: Path) -> None:
    assert stored(pacs, image, "SCANSIDE")
