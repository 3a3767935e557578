"""The whole way of a study under the recorder: a scanner sends, the appliance computes, a PACS takes the objects.

    python -m tests.runtime.appliance.power.way FOLDER STUDY BUNDLE

Receiver, worker and sender are the appliance's own, each in its thread. What is promised to somebody is marked in the
log at the instant when it is: an instance whose C-STORE was answered with success, a transaction that has returned, an
object that the PACS was shown.
"""

import ctypes
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    KeyObjectSelectionDocumentStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
)

from scanside.runtime.appliance.config import Config, load_config
from scanside.runtime.appliance.deliver import main as deliver
from scanside.runtime.appliance.receive import main as receive
from scanside.runtime.appliance.serve import make_folders
from scanside.runtime.appliance.store import worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.states import State
from scanside.runtime.appliance.work import main as work
from tests.runtime.appliance.deliver.scripted import STORAGE, Peer, peer
from tests.support.appliance import allowed, free_port, toml, until

TAKES = (*STORAGE, KeyObjectSelectionDocumentStorage, MultiFrameTrueColorSecondaryCaptureImageStorage)


def mark(**what: Any) -> None:
    """Write into the recorder's log; nothing where there is no recorder."""
    try:
        ctypes.CDLL(None).record_mark(json.dumps(what).encode())
    except AttributeError:
        return


def mark_transactions() -> None:
    """Have every transaction that is to survive a power cut say how far the audit log is when it has returned."""
    begun, opened = Database.transaction, Database.__init__

    def init(self: Database, path: Path, *, create: bool = False, durable: bool = True) -> None:
        self.promises = False  # type: ignore[attr-defined]
        opened(self, path, create=create, durable=durable)
        self.promises = durable  # type: ignore[attr-defined]

    @contextmanager
    def transaction(self: Database) -> Iterator[Any]:
        with begun(self) as write:
            yield write
            head = write.execute("SELECT max(number) FROM audit").fetchone()[0]
        if self.promises:  # type: ignore[attr-defined]
            mark(head=head or 0)

    Database.__init__, Database.transaction = init, transaction  # type: ignore[method-assign]


def configuration(folder: Path, bundle: Path, pacs: Peer) -> Config:
    destination = {
        "name": "PACS", "ae_title": "PEER", "host": "127.0.0.1", "port": pacs.port, "commitment": True,
    }  # fmt: skip
    path = folder.parent / f"{folder.name}.toml"
    path.write_text(
        toml(
            {
                "service": {"data": folder / "data", "bundle": bundle, "research_use_only": True},
                "trust": allowed(bundle),
                "receive": {"port": 0, "quiet_seconds": 1, "reserve_gb": 0.01},
                "work": {"device": "cpu", "threads": 1, "backoff_seconds": 0, "tries": 1000},
                "send": {"commitment_port": free_port(), "retry_seconds": 0.1, "retry_most_seconds": 1},
                "watch": {"port": 0},
                "destinations": [destination],
            }
        )
    )
    return load_config(path)


def go(folder: Path, study: Path, bundle: Path) -> dict[str, str]:
    """All of it, to the end.

    Returns:
        SOP instance UID → sha256 of what the PACS was sent.
    """
    with peer(takes=TAKES) as pacs:
        pacs.on_store = lambda: mark(got=pacs.got[-1])
        config = configuration(folder, bundle, pacs)
        make_folders(config)
        (config.service.data / receive.PORT_FILE).unlink(missing_ok=True)  # of the receiver before a cut
        stop = threading.Event()
        parts = [
            threading.Thread(target=part.run, args=(config, stop), daemon=True)
            for part in (receive, work, deliver)
        ]
        Database(config.database, create=True).close()
        for part in parts:
            part.start()
        try:
            _send(config, study)
            until(lambda: _done(config), 240, f"the study of {folder} is done")
        finally:
            stop.set()
            for part in parts:
                part.join(30)
        assert all(len({*copies}) == 1 for copies in pacs.held.values()), "one UID, two objects"
        return {uid: hashlib.sha256(copies[0]).hexdigest() for uid, copies in pacs.held.items()}


def _done(config: Config) -> bool:
    with Database(config.database) as database:
        found = worklist.cases(database)
    return bool(found) and all(case.state is State.DONE for case in found)


def _send(config: Config, study: Path) -> None:
    announced = config.service.data / receive.PORT_FILE
    until(announced.exists, 60, "the receiver")
    entity = AE("MR1")
    files = [dcmread(path) for path in sorted(study.rglob("*.dcm"))]
    syntaxes = {(str(file.SOPClassUID), str(file.file_meta.TransferSyntaxUID)) for file in files}
    for sop_class, syntax in sorted(syntaxes):
        entity.requested_contexts = [*entity.requested_contexts, build_context(sop_class, [syntax])]
    port = int(json.loads(announced.read_text())["port"])
    association = entity.associate("127.0.0.1", port, ae_title="SCANSIDE")
    assert association.is_established
    for file in files:
        status = association.send_c_store(file)
        assert status and status.Status == 0, status
        mark(acknowledged=str(file.SOPInstanceUID))
    association.release()


if __name__ == "__main__":
    mark_transactions()
    sent = go(*(Path(word) for word in sys.argv[1:4]))
    mark(done=sent)
