"""Reading back from an archive what it was sent: C-GET or else C-MOVE, and WADO-RS from a DICOMweb server."""

import email
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scanside.runtime.appliance.config import (
    Config,
    Destination,
    DicomDestination,
    FolderDestination,
    WebDestination,
)
from scanside.runtime.appliance.deliver.association import Context, associate, our_title
from scanside.runtime.appliance.deliver.classes import NAMES
from scanside.runtime.appliance.deliver.status_codes import status_words
from scanside.runtime.appliance.deliver.stow import ask_web, http_words
from scanside.runtime.errors import InputError, OutputError, ScansideError

STUDY_GET, STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.3", "1.2.840.10008.5.1.4.1.2.2.2"
_MOST_BYTES = 256 << 20
_OUR_CLASSES = tuple(uid for uid in NAMES if ".5.1.4.1.1." in uid)
"""Every storage class that we send."""


class NotAnsweredError(InputError):
    """The archive offers no way to read back."""


def fetch(
    destination: Destination,
    config: Config,
    study_uid: str,
    uids: Sequence[str],
    folder: Path,
    seconds: float,
) -> tuple[str, dict[str, Path]]:
    """Read a study's objects back.

    Args:
        uids: SOP Instance UIDs of what was sent.
        config: Says who we are, and where we listen; our service must not run.
        folder: Where they are put; it is made.
        seconds: For each answer of the archive.

    Returns:
        By which service, and the file of each SOP Instance UID.

    Raises:
        NotAnsweredError: If it offers neither service.
        ScansideError: If it cannot be reached, or fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(destination, WebDestination):
        return "WADO-RS", _wado(destination, study_uid, folder, seconds)
    if isinstance(destination, FolderDestination):
        return "the file system", {
            path.stem: path for uid in uids for path in destination.path.glob(f"*/{uid}.dcm")
        }
    problems = []
    for name, way in (("C-GET", _get), ("C-MOVE", _move)):
        try:
            return name, way(destination, config, study_uid, folder, seconds)
        except ScansideError as error:
            problems.append(f"{name}: {str(error).rstrip('.')}")
    raise NotAnsweredError(f"{destination.name} gives nothing back ({'; '.join(problems)}).")


def _get(
    destination: DicomDestination, config: Config, study_uid: str, folder: Path, seconds: float
) -> dict[str, Path]:
    found: dict[str, Path] = {}
    contexts = [Context(STUDY_GET), *(Context(uid) for uid in _OUR_CLASSES)]
    with associate(
        destination, config, contexts, seconds=seconds, stored=_keep(found, folder)
    ) as association:
        if not association.accepts(STUDY_GET):
            raise NotAnsweredError(f"{destination.name} does not offer it")
        with association.within(extra=seconds) as open_:
            _follow(destination, open_.send_c_get(_query(study_uid), STUDY_GET))
    return found


def _move(
    destination: DicomDestination, config: Config, study_uid: str, folder: Path, seconds: float
) -> dict[str, Path]:
    found: dict[str, Path] = {}
    with (
        _listening(config, destination, _keep(found, folder)),
        associate(destination, config, [Context(STUDY_MOVE)], seconds=seconds) as association,
        association.within(extra=seconds) as open_,
    ):
        _follow(destination, open_.send_c_move(_query(study_uid), our_title(config), STUDY_MOVE))
    return found


def _query(study_uid: str) -> Any:
    from pydicom.dataset import Dataset

    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", study_uid
    return query


def _follow(destination: DicomDestination, answers: Iterator[tuple[Any, Any]]) -> None:
    """Read the answers to the end.

    Raises:
        OutputError: If the last one is no success.
    """
    status = None
    for answer, _ in answers:
        status = getattr(answer, "Status", None)
    if status != 0:
        said = "no answer" if status is None else status_words(int(status))
        raise OutputError(f"{destination.name} fails at it ({said})")


def _keep(found: dict[str, Path], folder: Path) -> Callable[[Any], int]:
    def keep(event: Any) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        path = folder / f"{len(found):03d}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        found[str(dataset.SOPInstanceUID)] = path
        return 0

    return keep


@contextmanager
def _listening(config: Config, destination: DicomDestination, keep: Callable[[Any], int]) -> Iterator[None]:
    """Where answers about commitment are awaited: the one address of ours that the archive knows."""
    from pynetdicom import AE, evt

    from scanside.runtime.appliance.tls import server_context

    entity = AE(our_title(config))
    entity.require_called_aet = True
    entity.require_calling_aet = [destination.ae_title]
    for uid in _OUR_CLASSES:
        entity.add_supported_context(uid)
    tls = config.listener_tls
    host, port = config.send.commitment_host, config.send.commitment_port
    try:
        server = entity.start_server(
            (host, port),
            block=False,
            evt_handlers=[(evt.EVT_C_STORE, keep)],
            ssl_context=server_context(tls) if tls else None,
        )
    except OSError as error:
        raise OutputError(f"{host}:{port} cannot be listened on ({error.strerror})") from error
    try:
        yield
    finally:
        server.shutdown()


def _wado(destination: WebDestination, study_uid: str, folder: Path, seconds: float) -> dict[str, Path]:
    """Retrieve a study (PS3.18 10.4)."""
    kind = 'multipart/related; type="application/dicom"; transfer-syntax=*'
    answer = ask_web(
        destination, "GET", f"studies/{study_uid}", seconds, headers={"Accept": kind}, most=_MOST_BYTES
    )
    if answer.status in (405, 501):
        raise NotAnsweredError(f"{destination.name} offers no WADO-RS")
    if answer.status != 200:
        raise OutputError(f"{destination.name} answers WADO-RS with {http_words(answer.status)}")
    found = {}
    for number, part in enumerate(_parts(answer.kind, answer.body)):
        path = folder / f"{number:03d}.dcm"
        path.write_bytes(part)
        found[_sop_uid(path)] = path
    return found


def _parts(kind: str, body: bytes) -> list[bytes]:
    """The bodies of a multipart message (RFC 2046 5.1)."""
    boundary = email.message_from_string(f"Content-Type: {kind}\n\n").get_boundary()
    if boundary is None:
        raise OutputError("The archive answers WADO-RS with something that is not multipart")
    pieces = (b"\r\n" + body).split(f"\r\n--{boundary}".encode())[1:-1]
    return [piece.partition(b"\r\n\r\n")[2] for piece in pieces]


def _sop_uid(path: Path) -> str:
    import pydicom

    return str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)
