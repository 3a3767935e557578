"""`scanside send`: DICOM files to a receiver, for people without dcmtk."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scanside.runtime.cli.arguments import AsJson, ConfigFile, find_config, host_and_port
from scanside.runtime.errors import ExitCode, InputError, ScansideError, UsageError

if TYPE_CHECKING:
    from scanside.runtime.appliance.config import Config, DicomDestination
    from scanside.runtime.appliance.deliver.association import Association, Context

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_MOST_CONTEXTS = 128
"""Of one association (PS3.8 9.3.2.2)."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
_SHOWN = 10


@dataclass(frozen=True)
class _Outgoing:
    """A file to send: `context` is what it needs."""

    path: Path
    context: "Context"


@dataclass(frozen=True)
class _Refused:
    path: Path
    reason: str


@app.command()
def send(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="DICOM files, or folders of them.")],
    config: ConfigFile = None,
    to: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Another receiver than that of the configuration.")
    ] = None,
    called: Annotated[str | None, typer.Option(metavar="AE", help="AE title of the receiver.")] = None,
    calling: Annotated[str | None, typer.Option(metavar="AE", help="Our AE title.")] = None,
    certificate: Annotated[Path | None, typer.Option(metavar="PEM", help="TLS: our certificate.")] = None,
    key: Annotated[Path | None, typer.Option(metavar="PEM", help="TLS: our key.")] = None,
    authority: Annotated[Path | None, typer.Option(metavar="PEM", help="TLS: whom we trust.")] = None,
    plaintext: Annotated[
        bool, typer.Option("--plaintext", help="Without TLS although the receiver is not this machine.")
    ] = False,
    seconds: Annotated[float, typer.Option(metavar="S", min=0.1, help="To wait for an answer.")] = 30.0,
    as_json: AsJson = False,
) -> int:
    """Send DICOM files to our own receiver, or to another. Exit code 1 when something was not taken.

    Examples:

      scanside send -c scanside.toml study_folder

      scanside send --to pacs:11112 --called PACS --plaintext result/report_sr.dcm
    """
    tls = (certificate, key, authority)
    if to is not None:
        destination, as_whom = _elsewhere(to, called, calling, tls, plaintext)
    else:
        destination, as_whom = _ourselves(config, called, calling, tls)
    outgoing, refused, passed_over = _find(paths)
    sent: list[Path] = []
    for batch in _batches(outgoing):
        for path, problem in _send(destination, as_whom, batch, seconds):
            if problem is None:
                sent.append(path)
            else:
                refused.append(_Refused(path, problem))
            _progress(len(sent) + len(refused), len(outgoing))
    _tell(destination, sent, refused, passed_over, as_json)
    return ExitCode.CASE_FAILED if refused else ExitCode.OK


Tls3 = tuple[Path | None, Path | None, Path | None]


def _elsewhere(
    to: str, called: str | None, calling: str | None, tls: Tls3, plaintext: bool
) -> tuple["DicomDestination", "Config"]:
    from pydantic import ValidationError

    from scanside.runtime.appliance.config import Config, DicomDestination, Send, Service, Tls

    host, port = host_and_port(to, 11112)
    if any(tls) and not all(tls):
        raise UsageError("TLS needs --certificate, --key and --authority; give all three.")
    files = {"certificate": tls[0], "key": tls[1], "authority": tls[2]}
    try:
        destination = DicomDestination(
            name=to, ae_title=called or "ANY-SCP", host=host, port=port, plaintext=plaintext,
            tls=Tls.model_validate(files) if all(tls) else None,
        )  # fmt: skip
        send_as = Send(ae_title=calling or "SCANSIDE")
    except ValidationError as error:
        why = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        why = why.replace("give its tls", "give --certificate, --key and --authority").replace(
            "plaintext = true", "--plaintext"
        )
        raise UsageError(f"It cannot be sent to {to}: {why}.") from error
    here = Service(data=Path.cwd(), bundle=Path.cwd(), research_use_only=True)  # only `send` matters here
    return destination, Config(service=here, send=send_as)


def _ourselves(
    config: Path | None, called: str | None, calling: str | None, tls: Tls3
) -> tuple["DicomDestination", "Config"]:
    from scanside.runtime.appliance.config import DicomDestination, Tls, load_config
    from scanside.runtime.cli.echo import own_receiver

    destination, as_whom = own_receiver(load_config(find_config(config)))
    assert isinstance(destination, DicomDestination)
    if all(tls):
        files = {"certificate": tls[0], "key": tls[1], "authority": tls[2]}
        destination = destination.model_copy(update={"tls": Tls.model_validate(files)})
    if called is not None:
        destination = destination.model_copy(update={"ae_title": called})
    if calling is not None:
        as_whom = as_whom.model_copy(update={"send": as_whom.send.model_copy(update={"ae_title": calling})})
    return destination, as_whom


def _find(paths: Sequence[Path]) -> tuple[list[_Outgoing], list[_Refused], int]:
    """Every DICOM object below the paths; what looks like one and cannot be read; how many other files there are."""
    from scanside.runtime.appliance.deliver.association import EXPLICIT, IMPLICIT, Context
    from scanside.runtime.dicom.header import read_instance
    from scanside.runtime.dicom.series import has_dicom_name
    from scanside.runtime.images.names import has_dicom_mark

    outgoing, refused, passed_over = [], [], 0
    for path in _files(paths):
        marked = has_dicom_mark(path)
        if path.name == "DICOMDIR" or not (marked or has_dicom_name(path)):
            passed_over += 1
            continue
        try:
            header = read_instance(path).header
            syntax = str(header.file_meta.TransferSyntaxUID)
            sop_class = str(header.SOPClassUID)
        except ScansideError as error:
            if marked or path in paths:
                refused.append(_Refused(path, str(error)))
            else:
                passed_over += 1
            continue
        syntaxes = (EXPLICIT, IMPLICIT) if syntax in (EXPLICIT, IMPLICIT, _DEFLATED) else (syntax,)
        outgoing.append(_Outgoing(path, Context(sop_class, syntaxes)))
    if not outgoing and not refused:
        raise InputError(f"{paths[0]} holds no DICOM files; check the path.")
    return outgoing, refused, passed_over


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.is_file())
        else:
            raise InputError(f"There is no file or folder {path}; check the path.")


def _batches(outgoing: Sequence[_Outgoing]) -> Iterator[list[_Outgoing]]:
    """As many files as one association has contexts for."""
    batch: list[_Outgoing] = []
    contexts: set[Context] = set()
    for one in outgoing:
        if len(contexts | {one.context}) > _MOST_CONTEXTS:
            yield batch
            batch, contexts = [], set()
        batch.append(one)
        contexts.add(one.context)
    if batch:
        yield batch


def _send(
    destination: "DicomDestination", config: "Config", batch: Sequence[_Outgoing], seconds: float
) -> Iterator[tuple[Path, str | None]]:
    """Send files over one association; None or the reason why not, for each."""
    from scanside.runtime.appliance.deliver.association import associate

    left = list(batch)
    try:
        contexts = list(dict.fromkeys(one.context for one in batch))
        with associate(destination, config, contexts, seconds=seconds) as association:
            while left and association.alive:
                one = left.pop(0)
                yield one.path, _store(association, one)
        problem = f"{destination.name} ended the association."
    except ScansideError as error:
        problem = str(error)
    yield from ((one.path, problem) for one in left)


def _store(association: "Association", one: _Outgoing) -> str | None:
    from pydicom.uid import UID

    from scanside.runtime.appliance.deliver.association import EXPLICIT
    from scanside.runtime.appliance.deliver.retry import SLOWEST
    from scanside.runtime.appliance.deliver.status_codes import status_words, took
    from scanside.runtime.dicom.header import quiet, read_dataset, with_transfer_syntax

    if not association.accepts(one.context.sop_class):
        return "The receiver does not take this kind of object; allow it there."
    try:
        with quiet(), association.within(extra=one.path.stat().st_size / SLOWEST) as open_:
            dataset = with_transfer_syntax(read_dataset(one.path))
            if dataset.file_meta.TransferSyntaxUID == _DEFLATED:  # it has been inflated
                dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT)
            answer: Any = open_.send_c_store(dataset)
    except ValueError:
        return "The receiver does not take its transfer syntax; allow it there, or convert the file."
    except Exception as error:  # whatever pydicom makes of a file that is damaged
        return f"It cannot be sent as it is ({type(error).__name__}); export it again."
    status = getattr(answer, "Status", None)
    if status is None:
        return "The receiver did not acknowledge it; look there."
    return None if took(status) else f"The receiver refuses it ({status_words(status)}); look there."


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)


def _tell(
    destination: "DicomDestination",
    sent: Sequence[Path],
    refused: Sequence[_Refused],
    passed_over: int,
    as_json: bool,
) -> None:
    for one in refused[:_SHOWN]:
        print(f"{one.path}: {one.reason}", file=sys.stderr)
    if len(refused) > _SHOWN:
        print(f"… and {len(refused) - _SHOWN} more.", file=sys.stderr)
    other = f"; {passed_over} files are no DICOM objects" if passed_over else ""
    where = f"{destination.ae_title} at {destination.host}:{destination.port}"
    print(f"{len(sent)} of {len(sent) + len(refused)} objects sent to {where}{other}.", file=sys.stderr)
    if as_json:
        document = {
            "schema": "scanside.send/1",
            "sent": [str(path) for path in sent],
            "refused": [{"path": str(one.path), "reason": one.reason} for one in refused],
            "passed_over": passed_over,
        }
        print(json.dumps(document, indent=1))
    else:
        for path in sent:
            print(path)
