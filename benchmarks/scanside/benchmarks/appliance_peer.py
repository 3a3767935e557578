"""The peer of the appliance under measurement: a storage SCP that writes what it gets and notes when."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

TITLE = "PACS"


@dataclass(frozen=True)
class Stored:
    """An object that has come.

    Attributes:
        modality: SEG, SR, OT, KO.
        at: When it was on disk, seconds since 1970.
    """

    study_uid: str
    sop_uid: str
    modality: str
    at: float


class Peer:
    """Answers C-ECHO and C-STORE on a free loopback port. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        """Not yet answering.

        Args:
            folder: For the objects; made.
        """
        self._folder = folder
        self._stored: dict[str, list[Stored]] = {}
        self._news = threading.Condition()
        self.port = 0

    def __enter__(self) -> Self:
        from pynetdicom import AE, AllStoragePresentationContexts, evt
        from pynetdicom.sop_class import Verification

        self._folder.mkdir(parents=True, exist_ok=True)
        entity = AE(ae_title=TITLE)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax)
        entity.add_supported_context(Verification)
        self._server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)]
        )
        self.port = int(self._server.socket.getsockname()[1])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()

    def _store(self, event: Any) -> int:
        """Write an object, as a PACS does before it answers."""
        dataset = event.dataset
        uid = str(dataset.SOPInstanceUID)
        (self._folder / f"{uid}.dcm").write_bytes(event.encoded_dataset())
        found = Stored(str(dataset.StudyInstanceUID), uid, str(dataset.Modality), time.time())
        with self._news:
            self._stored.setdefault(found.study_uid, []).append(found)
            self._news.notify_all()
        return 0x0000

    def wait(self, study_uid: str, objects: int, seconds: float) -> list[Stored]:
        """Objects of a study, as soon as there are so many, or what there is when the time is over."""
        deadline = time.monotonic() + seconds
        with self._news:
            while len(self._stored.get(study_uid, ())) < objects:
                if not self._news.wait(max(0.0, deadline - time.monotonic())):
                    break
            return list(self._stored.get(study_uid, ()))
