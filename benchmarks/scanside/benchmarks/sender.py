"""A sender for a process of its own: one association, instance after instance, straight from the files."""

import time
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import AE, _config
from pynetdicom.presentation import build_context

from scanside.runtime.errors import CaseError

_config.STORE_SEND_CHUNKED_DATASET = True  # files go out as they are: the sender's own work stays small


class Sender:
    """Looks at a folder, then sends it."""

    def __init__(self, port: int, title: str) -> None:
        self._port, self._title = port, title
        self._files: list[Path] = []

    def look(self, folder: Path) -> None:
        """What is sent next, and which SOP classes and transfer syntaxes it has."""
        self._files = sorted(path for path in folder.rglob("*") if path.is_file())
        self._kinds = sorted(
            {
                (str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID))
                for file in self._files
                for meta in [pydicom.dcmread(file, specific_tags=[], stop_before_pixels=True).file_meta]
            }
        )

    def send(self) -> dict[str, Any]:
        """Send it: `first` and `last`, when the first request went and the last acknowledgement came; `ms` of each.

        Raises:
            CaseError: If the appliance does not take an instance.
        """
        entity = AE(ae_title="BENCH")
        entity.requested_contexts = [build_context(kind, syntax) for kind, syntax in self._kinds]
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
