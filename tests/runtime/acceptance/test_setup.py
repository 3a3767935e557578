"""Faults of a configuration and an installation: each is found by the name of its check."""

import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from scanside.runtime.acceptance import setup
from scanside.runtime.appliance.check import check
from scanside.runtime.appliance.config import Config, DicomDestination, Tls
from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.database import Database
from tests.runtime.acceptance.faults import failed
from tests.support.appliance import free_port
from tests.support.tls_files import make_tls


def _open_to_all(config: Config, _: Path) -> Config:
    config.service.data.chmod(0o755)
    return config


def _no_tls_file(config: Config, folder: Path) -> Config:
    missing = Tls(certificate=folder / "no.pem", key=folder / "no.key", authority=folder / "no.ca")
    return config.model_copy(update={"receive": config.receive.model_copy(update={"tls": missing})})


def _expired(config: Config, folder: Path) -> Config:
    tls = make_tls(folder / "tls").expired
    tls.key.chmod(0o600)
    return config.model_copy(update={"receive": config.receive.model_copy(update={"tls": tls})})


def _no_device(config: Config, _: Path) -> Config:
    return config.model_copy(update={"work": config.work.model_copy(update={"device": "quantum"})})


def _no_bundle(config: Config, folder: Path) -> Config:
    return config.model_copy(update={"service": config.service.model_copy(update={"bundle": folder})})


def _no_pacs(config: Config, _: Path) -> Config:
    there = DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=free_port())
    return config.model_copy(update={"destinations": (there,)})


def _damaged_store(config: Config, _: Path) -> Config:
    config.database.write_bytes(b"this is no store" * 500)
    return config


def _altered_audit(config: Config, _: Path) -> Config:
    with Database(config.database, create=True) as database:
        audit.record(database, "somebody", "did something", detail={})
    with sqlite3.connect(config.database) as forger:
        forger.execute("DROP TRIGGER audit_is_not_changed")
        forger.execute("UPDATE audit SET actor = 'nobody'")
    return config


SETUP: dict[str, Callable[[Config, Path], Config]] = {
    "setup: data folder": _open_to_all,
    "setup: receive.tls": _expired,
    "setup: device": _no_device,
    "setup: bundle": _no_bundle,
    "setup: destination pacs": _no_pacs,
    "setup: store": _damaged_store,
    "setup: audit log": _altered_audit,
}


def test_a_sound_configuration(site: Config) -> None:
    assert failed(setup.configured(check(site))) == set()


@pytest.mark.parametrize("name", SETUP)
def test_faults_of_the_configuration(site: Config, tmp_path: Path, name: str) -> None:
    assert failed(setup.configured(check(SETUP[name](site, tmp_path)))) == {name}


def test_a_missing_tls_file(site: Config, tmp_path: Path) -> None:
    (found,) = [
        one for one in setup.configured(check(_no_tls_file(site, tmp_path))) if one.name == "receive.tls"
    ]
    assert failed([found]) == {"setup: receive.tls"} and "no.pem" in found.sentence


def test_a_port_that_is_taken(site: Config) -> None:
    with socket.create_server(("127.0.0.1", site.receive.port)):
        assert failed(setup.configured(check(site))) == {"setup: receive.port"}
