"""`scanside echo` against dcmtk's receiver, and nobody."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scanside.runtime.appliance.config import load_config
from scanside.runtime.cli.echo import own_receiver
from tests.runtime.cli.conftest import Command
from tests.runtime.cli.receivers import Receiver, storescp
from tests.support.peers import free_port
from tests.support.sentences import assert_one_sentence
from tests.support.tls_files import make_tls

SERVICE = '[service]\ndata = "data"\nbundle = "b"\nresearch_use_only = true\n'


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with storescp(tmp_path / "received") as running:
        yield running


def write(folder: Path, ports: dict[str, int], receive: int = 11112, more: str = "") -> Path:
    path = folder / "scanside.toml"
    peers = "".join(
        f'[[destinations]]\nname = "{name}"\nae_title = "STORESCP"\nhost = "127.0.0.1"\nport = {port}\n'
        for name, port in ports.items()
    )
    path.write_text(f"{SERVICE}[receive]\nport = {receive}\n{more}{peers}")
    return path


def test_who_answers_and_who_does_not(scanside: Command, tmp_path: Path, receiver: Receiver) -> None:
    config = write(tmp_path, {"pacs": receiver.port, "archive": free_port()})
    found = scanside("echo", "-c", config)
    assert found.code == 1
    assert found.out.splitlines()[0].split() == ["ok", "pacs", "It", "answers."]
    assert found.out.splitlines()[1].startswith("NO  archive")
    assert scanside("echo", "-c", config, "pacs").code == 0
    document = scanside("echo", "-c", config, "--json").json
    assert [(one["name"], one["ok"]) for one in document["destinations"]] == [
        ("pacs", True),
        ("archive", False),
    ]
    assert_one_sentence(document["destinations"][1]["reason"], "archive")


def test_our_own_receiver_is_asked_as_somebody_who_may(
    scanside: Command, tmp_path: Path, receiver: Receiver
) -> None:
    callers = '{ ae_title = "MR1", address = "10.0.0.1" }, { ae_title = "ME" }'
    more = f'ae_title = "STORESCP"\nhost = "127.0.0.1"\ncallers = [{callers}]\n'
    config = write(tmp_path, {}, receive=receiver.port, more=more)
    assert scanside("echo", "-c", config, "--self").out.split() == ["ok", "receiver", "It", "answers."]
    assert own_receiver(load_config(config))[1].send.ae_title == "ME"


def test_a_port_that_was_chosen_at_the_start_is_found(
    scanside: Command, tmp_path: Path, receiver: Receiver
) -> None:
    config = write(tmp_path, {}, receive=0, more='ae_title = "STORESCP"\n')
    assert_one_sentence(scanside("echo", "-c", config, "--self").err.strip(), "receive.port is 0")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "receive.port").write_text(f'{{"host": "127.0.0.1", "port": {receiver.port}}}')
    assert scanside("echo", "-c", config, "--self").code == 0


def test_our_own_certificate_says_under_which_name_we_are_called(tmp_path: Path) -> None:
    tls = make_tls(tmp_path / "tls").server
    files = f'certificate = "{tls.certificate}", key = "{tls.key}", authority = "{tls.authority}"'
    more = f'host = "0.0.0.0"\ncallers = [{{ ae_title = "MR1" }}]\ntls = {{ {files} }}\n'
    destination, _ = own_receiver(load_config(write(tmp_path, {}, more=more)))
    assert getattr(destination, "host", "") in ("localhost", "127.0.0.1")


@pytest.mark.parametrize(
    ("ports", "arguments", "word"),
    [({}, (), "no destinations"), ({"pacs": 104}, ("pax",), "'pax'")],
)
def test_nobody_to_ask_is_refused(
    scanside: Command, tmp_path: Path, ports: dict[str, int], arguments: tuple[str, ...], word: str
) -> None:
    found = scanside("echo", "-c", write(tmp_path, ports), *arguments)
    assert found.code == 2
    assert_one_sentence(found.err.strip(), word)
