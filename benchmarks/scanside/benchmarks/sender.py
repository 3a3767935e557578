"""A sender in a process of its own: one association, instance after instance, straight from the files.

`python -m scanside.benchmarks.sender SETUP.json`, driven by `appliance.py`.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pynetdicom import AE, _config
from pynetdicom.presentation import build_context

from scanside.benchmarks.child import answering, told
from scanside.runtime.errors import CaseError, ScansideError

_config.STORE_SEND_CHUNKED_DATASET = True  # files go out as they are: the sender's own work stays small


def main(setup: Path) -> None:
    """Answer requests: `{"folder": …}` is looked at, then `{}` sends it and is answered with when and how."""
    answer, requests = answering()
    asked = json.loads(setup.read_text())
    answer({})
    for request in requests:
        files = sorted(path for path in Path(request["folder"]).rglob("*") if path.is_file())
        kinds = sorted(_kinds(files))
        answer({})
        next(requests)
        try:
            answer(_send(files, kinds, asked["port"], asked["title"]))
        except ScansideError as error:
            answer(told(error))


def _send(files: Sequence[Path], kinds: Sequence[tuple[str, str]], port: int, title: str) -> dict[str, Any]:
    """Send files over one association.

    Raises:
        CaseError: If the appliance does not take one.
    """
    entity = AE(ae_title="BENCH")
    entity.requested_contexts = [build_context(kind, syntax) for kind, syntax in kinds]
    association = entity.associate("127.0.0.1", port, ae_title=title)
    if not association.is_established:
        raise CaseError(f"The appliance on port {port} refuses the association of the benchmark.")
    took: list[float] = []
    first = time.time()
    try:
        for file in files:
            start = time.perf_counter()
            status = association.send_c_store(file)
            took.append(1000 * (time.perf_counter() - start))
            if status.get("Status") != 0x0000:
                raise CaseError(
                    f"The appliance answers {status.get('Status', 'nothing')} to instance {len(took)} of {len(files)}."
                )
        last = time.time()
    finally:
        association.release()
    return {"first": first, "last": last, "released": time.time(), "ms": took}


def _kinds(files: Sequence[Path]) -> set[tuple[str, str]]:
    """SOP classes with transfer syntaxes."""
    found = set()
    for file in files:
        meta = pydicom.dcmread(file, specific_tags=["SOPClassUID"], stop_before_pixels=True).file_meta
        found.add((str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]))
