"""Echo: None from who answers, a sentence from everybody else."""

import socket
from pathlib import Path

from scanside.runtime.appliance.config import DicomDestination
from scanside.runtime.appliance.deliver.echo import echo
from tests.runtime.appliance.deliver.desk import Desk
from tests.runtime.appliance.deliver.scripted import peer
from tests.support.appliance import free_port
from tests.support.tls_files import make_tls


def test_echo(tmp_path: Path) -> None:
    files = make_tls(tmp_path / "tls")
    with peer() as plain, peer(tls=files.server) as secure, peer(title="OTHER", strict=True) as strict:
        desk = Desk(tmp_path)
        without_key = files.client.model_copy(update={"key": tmp_path / "none"})
        expected = [
            (plain.destination(), None),
            (secure.destination(tls=files.client), None),
            (secure.destination(tls=files.stranger), "its certificate is not accepted"),
            (strict.destination(), "refused the association"),
            (plain.destination().model_copy(update={"port": free_port()}), "connection refused"),
            (plain.destination(tls=without_key), "cannot be read"),
        ]
        for destination, words in expected:
            found = echo(destination, desk.config, 3)
            assert (found is None) if words is None else (found is not None and words in found), found


def test_echo_gives_up_in_time(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        found = echo(DicomDestination(name="a", ae_title="A", host="127.0.0.1", port=port), desk.config, 0.5)
    assert found is not None and "did not answer" in found
