"""`scanside serve --check`: everything that can be known before a study comes. It starts and changes nothing."""

import fcntl
import os
import shutil
import socket
import ssl
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scanside.runtime.appliance.config import (
    Archive,
    Config,
    DicomArchive,
    DicomDestination,
    Tls,
    WebReceive,
    is_loopback,
)
from scanside.runtime.errors import ExitCode, ScansideError

SOON_DAYS = 30.0
"""A certificate that expires within so many days is remarked on."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: Its name, such as `destination pacs`.
        ok: Whether the service can work with it.
        sentence: What was found and, where it is not ok, what to do.
    """

    what: str
    ok: bool
    sentence: str


def check(config: Config) -> tuple[Finding, ...]:
    """Examine data folder, store, audit log, TLS files, bundle, device, ports, destinations and archives.

    To be run as the user of the service: what only that user may read cannot be judged by another one.
    """
    found = list(_data(config))
    if config.database.exists() and all(finding.ok for finding in found):
        found += _store(config)
    found += _tls(config)
    found += _bundle(config)
    found += [_device(config)]
    found += [_completion(config)]
    found += _ports(config)
    found += [_callback(config, destination) for destination in config.unanswerable]
    found += [_destination(config, number) for number in range(len(config.destinations))]
    found += [_archive(config, archive) for archive in config.fetch.archives]
    return tuple(found)


def print_findings(findings: Sequence[Finding]) -> ExitCode:
    """Print a line for each on stdout; returns the exit code of the command."""
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        print(f"{'ok' if finding.ok else 'NO':3} {finding.what:{width}}  {finding.sentence}")
    return ExitCode.OK if all(finding.ok for finding in findings) else ExitCode.CASE_FAILED


def _data(config: Config) -> Iterator[Finding]:
    folder = config.service.data
    if not folder.exists():
        parent = next(path for path in folder.parents if path.exists())
        able = os.access(parent, os.W_OK | os.X_OK)
        words = "will be made" if able else f"is not there, and cannot be made in {parent}; make it"
        yield Finding("data folder", able, f"{folder} {words}.")
        return
    status = folder.stat()
    if status.st_uid != os.geteuid():
        yield Finding(
            "data folder", False, f"{folder} belongs to user {_user(status.st_uid)}; run this as that user."
        )
        return
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield Finding(
            "data folder", False, f"{folder} cannot be written ({error.strerror}); check its permissions."
        )
        return
    if stat.S_IMODE(status.st_mode) & 0o077:
        yield Finding("data folder", False, f"{folder} is open to other users; run: chmod 700 {folder}.")
    else:
        yield Finding("data folder", True, f"{folder} is writable and private.")
    free = shutil.disk_usage(folder).free / 1e9
    reserve = config.receive.reserve_gb
    lacking = f", less than the reserve of {reserve:g} GB; free some, or lower receive.reserve_gb"
    yield Finding("disk", free > reserve, f"{free:.1f} GB are free{'' if free > reserve else lacking}.")


def _user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _store(config: Config) -> Iterator[Finding]:
    """Read-only until its version is known: opening an older store would bring it up to date."""
    from scanside.runtime.appliance.store import anchor, audit
    from scanside.runtime.appliance.store.database import Database, condition
    from scanside.runtime.appliance.store.schema import VERSION

    try:
        found = condition(config.database)
        anchor.refuse_rolled_back(config.anchor, config.database)
    except ScansideError as error:
        yield Finding("store", False, str(error))
        return
    if found.fault is not None:
        words = f"{config.database} is damaged ({found.fault}); restore it from a backup."
        yield Finding("store", False, words)
        return
    if found.version < VERSION:
        yield Finding(
            "store",
            True,
            f"Version {found.version} is brought up to {VERSION} at the start; back it up before.",
        )
        return
    try:
        with Database(config.database) as database:
            yield Finding("store", True, f"{config.database} opens.")
            yield Finding("audit log", True, f"{audit.verify(database)} entries, unbroken.")
    except ScansideError as error:
        what = "audit log" if "audit" in str(error) else "store"
        yield Finding(what, False, str(error))


def _tls(config: Config) -> Iterator[Finding]:
    if config.receive.tls is not None:
        yield _certificate("receive.tls", config.receive.tls, as_server=True)
    elif not is_loopback(config.receive.host):
        yield Finding("receive.tls", True, "Plaintext off this machine: the network is trusted.")
    if config.receive.web is not None:
        yield from _web(config.receive.web)
    if config.send.tls is not None:
        yield _certificate("send.tls", config.send.tls, as_server=True)
    for peer in (*config.dicom_peers, *config.fetch.dicom_archives):
        if peer.tls is not None:
            yield _certificate(f"tls of {peer.name}", peer.tls, as_server=False)


def _web(web: WebReceive) -> Iterator[Finding]:
    from scanside.runtime.appliance.receive.web import token_of

    if web.tls is not None:
        yield _certificate("receive.web.tls", web.tls, as_server=True)
    elif not is_loopback(web.host):
        yield Finding("receive.web.tls", True, "Plaintext off this machine: the network is trusted.")
    try:
        token = token_of(web)
    except ScansideError as error:
        yield Finding("receive.web.token", False, str(error))
        return
    if token is not None and web.token is not None:
        private = not stat.S_IMODE(web.token.stat().st_mode) & 0o007
        advice = f"{web.token} can be read by every user; run: chmod o= {web.token}."
        yield Finding("receive.web.token", private, "It is there and private." if private else advice)


def _certificate(what: str, tls: Tls, *, as_server: bool) -> Finding:
    """Show the certificate to somebody who trusts the authority, as a real handshake in memory."""
    try:
        days = _days_left(tls, as_server=as_server)
    except ScansideError as error:
        return Finding(what, False, str(error))
    except ssl.SSLCertVerificationError as error:
        return Finding(
            what,
            False,
            f"{tls.certificate} is not accepted by {tls.authority} ({error.verify_message}); renew it.",
        )
    except ssl.SSLError as error:
        reason = (error.reason or "handshake").lower().replace("_", " ")
        return Finding(
            what, False, f"{tls.certificate} cannot be used ({reason}); use a key of 2048 bits or P-256."
        )
    if stat.S_IMODE(tls.key.stat().st_mode) & 0o007:
        return Finding(what, False, f"{tls.key} can be read by every user; run: chmod o= {tls.key}.")
    remark = "; renew it" if days < SOON_DAYS else ""
    return Finding(what, True, f"{tls.certificate} fits its key and is valid for {days:.0f} days{remark}.")


def _days_left(tls: Tls, *, as_server: bool) -> float:
    until = shown_certificate(tls, as_server=as_server)["notAfter"]
    return (ssl.cert_time_to_seconds(str(until)) - time.time()) / 86400


def shown_certificate(tls: Tls, *, as_server: bool) -> Mapping[str, Any]:
    """What a peer that trusts the authority is shown, as `ssl.SSLSocket.getpeercert` gives it.

    Raises:
        UsageError: If a file is missing or is not what it should be.
        ssl.SSLCertVerificationError: If the authority did not sign it, it has expired, or is not for this use.
        ssl.SSLError: If TLS does not work with it.
    """
    from scanside.runtime.appliance.tls import client_context, server_context

    server, client = server_context(tls), client_context(tls, check_host=False)
    (client if not as_server else server).verify_mode = ssl.CERT_NONE
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(to_server, to_client, server_side=True)
    there = client.wrap_bio(to_client, to_server)
    waiting = [there, here]
    while waiting:
        before = len(waiting), to_client.pending, to_server.pending
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
        if before == (len(waiting), to_client.pending, to_server.pending):
            raise ssl.SSLError("the handshake does not end")
    shown = (there if as_server else here).getpeercert()
    assert shown is not None
    return shown


def _bundle(config: Config) -> Iterator[Finding]:
    from scanside.runtime.bundle import open_bundle, verify
    from scanside.runtime.study.pipeline import read_recipe
    from scanside.runtime.trust import judge

    try:
        opened = open_bundle(config.service.bundle)
        standing = judge(opened, config.trust)
        verify(opened)
        read_recipe(opened)
    except ScansideError as error:
        yield Finding("bundle", False, str(error))
        return
    name, version, sha256 = opened.summary().values()
    yield Finding(
        "bundle", True, f"{name} {version}, sha256 {sha256[:12]}…, every file as exported; {standing.words}."
    )


def _device(config: Config) -> Finding:
    from scanside.runtime.doctor import examine

    if config.work.engine is not None:
        return _engine(config)
    backends = [found for found in examine() if found.kind == "backend"]
    usable = [found for found in backends if found.available]
    asked, precision = config.work.device, config.work.precision
    if asked == "auto":
        names = ", ".join(found.name for found in usable)
        if not usable:
            return Finding("device", False, "No device works; run scanside doctor.")
        return Finding("device", True, f"auto can choose from {names}.")
    named = next((found for found in backends if found.name == asked), None)
    if named is None:
        names = ", ".join(found.name for found in backends)
        return Finding("device", False, f"There is no device '{asked}'; choose auto or one of {names}.")
    if not named.available:
        mend = f"; run: {named.fix}" if named.fix else ""
        return Finding("device", False, f"{asked}: {named.reason}{mend}.")
    if precision != "auto" and precision not in named.precisions:
        can = ", ".join(named.precisions)
        return Finding("device", False, f"{asked} cannot compute in '{precision}'; choose one of {can}.")
    return Finding("device", True, f"{asked} ({named.reason}) in {precision}.")


def _engine(config: Config) -> Finding:
    """Ask the server as the first study would: identity, and golden cases through the connection."""
    from scanside.runtime.bundle import open_bundle
    from scanside.runtime.choose import open_segmenters
    from scanside.runtime.study.pipeline import read_recipe

    try:
        bundle = open_bundle(config.service.bundle)
        device, _ = open_segmenters(bundle, config.work.options(), tuple(read_recipe(bundle).channels))
    except ScansideError as error:
        return Finding("device", False, str(error))
    return Finding("device", True, f"{device.words} in {device.precision}: {device.why}.")


def _completion(config: Config) -> Finding:
    receive = config.receive
    series = "" if receive.complete_series is None else f", with its series number {receive.complete_series}"
    words = (
        f"A study is complete after {receive.quiet_seconds:g} s of silence{series}, or at once when its scanner says "
        f"so (MPPS); a step in progress keeps it open for {receive.step_seconds:g} s at most."
    )
    short = receive.step_seconds < receive.quiet_seconds
    advice = (
        " receive.step_seconds is shorter than receive.quiet_seconds and keeps nothing open; make it longer."
    )
    return Finding("completion", not short, f"{words}{advice if short else ''}")


def _ports(config: Config) -> Iterator[Finding]:
    if runs(config):
        yield Finding("service", True, "It runs; its ports were not tried.")
        return
    wanted = {"receive.port": (config.receive.host, config.receive.port)}
    if config.receive.web is not None:
        wanted["receive.web.port"] = (config.receive.web.host, config.receive.web.port)
    if config.committing:
        wanted["send.commitment_port"] = (config.send.commitment_host, config.send.commitment_port)
    wanted["mrd.port"] = (config.mrd.host, config.mrd.port)
    wanted["watch.port"] = (config.watch.host, config.watch.port)
    for what, (host, port) in wanted.items():
        if port:
            yield _port(what, host, port)


def runs(config: Config) -> bool:
    """Whether a service works on the data folder: it holds a lock as long as it lives."""
    try:
        with (config.service.data / "serve.lock").open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _port(what: str, host: str, port: int) -> Finding:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        why = (error.strerror or "unknown host").lower()
        return Finding(what, False, f"{host}:{port} cannot be used ({why}); free it, or choose another.")
    return Finding(what, True, f"{host}:{port} is free.")


def _callback(config: Config, destination: DicomDestination) -> Finding:
    from scanside.runtime.appliance.deliver.retry import cannot_answer

    words = cannot_answer(config, destination)
    return Finding(
        "send.commitment_host", False, f"{words}; or set commitment = false for {destination.name}."
    )


def _destination(config: Config, number: int) -> Finding:
    from scanside.runtime.appliance.deliver.echo import echo, refused_classes

    destination = config.destinations[number]
    seconds = min(config.send.timeout_seconds, 10.0)
    problem = echo(destination, config, seconds) or refused_classes(destination, config, seconds)
    taken = "It answers, and refuses nothing that it is to be sent."
    return Finding(f"destination {destination.name}", problem is None, problem or taken)


def _archive(config: Config, archive: Archive) -> Finding:
    from scanside.runtime.appliance.fetch.sources import source_of

    problem = source_of(archive, config).fault(min(config.send.timeout_seconds, 10.0))
    known = " and knows our receiver" if isinstance(archive, DicomArchive) else ""
    gives = ", and lets reports be searched" if archive.priors else ""
    return Finding(f"archive {archive.name}", problem is None, problem or f"It answers{known}{gives}.")
