"""`scanside echo`: do the destinations answer?"""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from scanside.runtime.cli.arguments import AsJson, ConfigFile, find_config
from scanside.runtime.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from scanside.runtime.appliance.config import Config, Destination, Tls

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def echo(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Destinations; default all.")
    ] = None,
    config: ConfigFile = None,
    itself: Annotated[bool, typer.Option("--self", help="Ask our own receiver too.")] = False,
    seconds: Annotated[float, typer.Option(metavar="S", min=0.1, help="To wait for an answer.")] = 10.0,
    as_json: AsJson = False,
) -> int:
    """Ask destinations for an answer: C-ECHO, or a DICOMweb search. Exit code 1 when one does not give it.

    Example: scanside echo -c scanside.toml pacs
    """
    from scanside.runtime.appliance.config import load_config
    from scanside.runtime.appliance.deliver.echo import echo as ask

    loaded = load_config(find_config(config))
    asked = [(one, loaded) for one in _chosen(loaded, names or [], itself)]
    if itself:
        asked.insert(0, own_receiver(loaded))
    answers = [(one, ask(one, as_whom, seconds)) for one, as_whom in asked]
    if as_json:
        found = [{"name": one.name, "ok": problem is None, "reason": problem} for one, problem in answers]
        print(json.dumps({"schema": "scanside.echo/1", "destinations": found}, indent=1))
    else:
        width = max(len(one.name) for one, _ in answers)
        for one, problem in answers:
            print(f"{'NO' if problem else 'ok':3} {one.name:{width}}  {problem or 'It answers.'}")
    return ExitCode.CASE_FAILED if any(problem for _, problem in answers) else ExitCode.OK


def _chosen(config: "Config", names: list[str], itself: bool) -> list["Destination"]:
    known = {destination.name: destination for destination in config.destinations}
    unknown = [name for name in names if name not in known]
    if unknown:
        there = f"there are {', '.join(known)}" if known else "the configuration has none"
        raise UsageError(f"There is no destination '{unknown[0]}'; {there}.")
    if not known and not itself:
        raise UsageError("The configuration has no destinations; add [[destinations]], or ask with --self.")
    return [known[name] for name in names] if names else [] if itself else list(known.values())


def own_receiver(config: "Config") -> tuple["Destination", "Config"]:
    """Our own receiver as a destination, and the configuration to call it with: as somebody who may.

    Raises:
        UsageError: If its port is chosen at the start, and it does not run.
    """
    from scanside.runtime.appliance.config import DicomDestination, is_loopback

    receive = config.receive
    port = receive.port or _announced(config)
    if not port:
        raise UsageError("receive.port is 0 and the service does not run; start it, or give it a port.")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(receive.host, receive.host)
    if receive.tls is not None:
        host = _host_of(receive.tls, host)
    here = [one.ae_title for one in receive.callers if one.address is None or is_loopback(one.address)]
    any_title = [one.ae_title for one in receive.callers] or [config.send.ae_title or receive.ae_title]
    caller = config.send.model_copy(update={"ae_title": (here or any_title)[0]})
    destination = DicomDestination(
        name="receiver",
        ae_title=receive.ae_title,
        host=host,
        port=port,
        tls=receive.tls,
        plaintext=True,
    )
    return destination, config.model_copy(update={"send": caller})


def _announced(config: "Config") -> int:
    """The port that the running receiver says it listens on; 0 where none does."""
    try:
        return int(json.loads((config.service.data / "receive.port").read_text())["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _host_of(tls: "Tls", host: str) -> str:
    """A name for this machine that its own certificate is for; `host` where there is none."""
    import socket
    import ssl

    from scanside.runtime.appliance.check import shown_certificate
    from scanside.runtime.errors import ScansideError

    try:
        shown = shown_certificate(tls, as_server=True).get("subjectAltName", ())
    except (ScansideError, ssl.SSLError):
        return host  # asking it will say what is wrong
    names = [str(name) for _, name in shown]
    for name in [host, *names] if host in names else names:
        try:
            socket.getaddrinfo(name, None)
        except OSError:
            continue
        return name
    return host
