"""The two ends of an appliance under measurement: what is sent and who sends it, and the peer that gets the results."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from scanside.runtime.dicom.phantom_study import StudyNames, write_phantom_study
from scanside.runtime.errors import CaseError, InputError
from scanside.runtime.volume import Geometry, Volume

PEER = "PACS"
_config.STORE_SEND_CHUNKED_DATASET = True  # files go out as they are: the sender's own work stays small


def write_slices(folder: Path, count: int, size: int, name: str) -> int:
    """Write a series of MR images of noise, which is as hard to store as any image.

    Args:
        count: Number of slices, a file each.
        size: Rows and columns, 16 bit.
        name: Makes the UIDs; another name, other UIDs.

    Returns:
        Bytes of all files.
    """
    plane = np.random.default_rng(0).integers(0, 4096, (size, size)).astype(np.float32)
    slices = np.stack([np.roll(plane, number, axis=0) for number in range(count)])
    noise = Volume(slices[None], Geometry(slices.shape, (3.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    made = write_phantom_study({"t2w": noise}, {}, StudyNames((name,), datetime(2026, 1, 1, 12)), folder)
    return sum(path.stat().st_size for path in made)


def renamed_study(source: Path, out: Path, name: str) -> tuple[str, int, int]:
    """Copy the images of a study with other UIDs of study, series and instances; everything else stays.

    Args:
        source: A folder with DICOM files, in any nesting.
        out: Made.
        name: Makes the UIDs.

    Returns:
        The Study Instance UID, number of instances, bytes of all files.

    Raises:
        InputError: If there is no DICOM image.
    """
    out.mkdir(parents=True)
    study, count, size = "", 0, 0
    for path in sorted(file for file in source.rglob("*") if file.is_file()):
        try:
            image = pydicom.dcmread(path)
        except InvalidDicomError:
            continue
        if "PixelData" not in image:
            continue
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(image, keyword, generate_uid(entropy_srcs=[name, str(image.get(keyword))]))
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        study, target = str(image.StudyInstanceUID), out / f"{count:05d}.dcm"
        image.save_as(target)
        count, size = count + 1, size + target.stat().st_size
    if not count:
        raise InputError(f"{source} holds no DICOM images; the appliance takes nothing else.")
    return study, count, size


class Sender:
    """Looks at a folder, then sends it over one association, instance after instance; for a process of its own."""

    def __init__(self, port: int, title: str) -> None:
        self._port, self._title = port, title
        self._files: list[Path] = []

    def look(self, folder: Path) -> None:
        """What is sent next, and which SOP classes and transfer syntaxes it has."""
        self._files = sorted(path for path in folder.rglob("*") if path.is_file())
        heads = (
            pydicom.dcmread(file, specific_tags=[], stop_before_pixels=True).file_meta for file in self._files
        )
        self._kinds = {(str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)) for meta in heads}

    def send(self) -> dict[str, Any]:
        """Send it: `first` and `last`, when the first request went and the last acknowledgement came; `ms` of each.

        Raises:
            CaseError: If the appliance does not take an instance.
        """
        entity = AE(ae_title="BENCH")
        entity.requested_contexts = [build_context(kind, syntax) for kind, syntax in sorted(self._kinds)]
        association = entity.associate("127.0.0.1", self._port, ae_title=self._title)
        if not association.is_established:
            raise CaseError(f"The appliance on port {self._port} refuses the association of the benchmark.")
        took: list[float] = []
        first = time.time()
        try:
            for file in self._files:
                start = time.perf_counter()
                status = association.send_c_store(file).get("Status", "nothing")
                took.append(1000 * (time.perf_counter() - start))
                if status != 0x0000:
                    raise CaseError(
                        f"The appliance answers {status} to instance {len(took)} of {len(self._files)}."
                    )
            last = time.time()
        finally:
            association.release()
        return {"first": first, "last": last, "ms": took}


@dataclass(frozen=True)
class Stored:
    """An object that has come.

    Attributes:
        modality: SEG, SR, OT, KO.
        at: When it was on disk, seconds since 1970.
    """

    modality: str
    at: float


@dataclass
class Peer:
    """A storage SCP that writes what it gets and notes when.

    Attributes:
        folder: For the objects; made.
        port: Where it listens, on this machine.
    """

    folder: Path
    port: int = 0
    _stored: dict[str, list[Stored]] = field(default_factory=dict)
    _news: threading.Condition = field(default_factory=threading.Condition)

    @classmethod
    @contextmanager
    def listening(cls, folder: Path) -> Iterator[Self]:
        """Answer C-ECHO and C-STORE on a free loopback port inside the block."""
        folder.mkdir(parents=True, exist_ok=True)
        peer, entity = cls(folder), AE(ae_title=PEER)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax)
        entity.add_supported_context(Verification)
        server = entity.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, peer._store)]
        )
        try:
            peer.port = int(server.socket.getsockname()[1])
            yield peer
        finally:
            server.shutdown()

    def _store(self, event: Any) -> int:
        """Write an object, as a PACS does before it answers."""
        dataset = event.dataset
        (self.folder / f"{dataset.SOPInstanceUID}.dcm").write_bytes(event.encoded_dataset())
        with self._news:
            found = Stored(str(dataset.Modality), time.time())
            self._stored.setdefault(str(dataset.StudyInstanceUID), []).append(found)
            self._news.notify_all()
        return 0x0000

    def wait(self, study_uid: str, objects: int, seconds: float) -> list[Stored]:
        """Objects of a study, as soon as there are so many, or what there is when the time is over."""
        with self._news:
            self._news.wait_for(lambda: len(self._stored.get(study_uid, ())) >= objects, seconds)
            return list(self._stored.get(study_uid, ()))
