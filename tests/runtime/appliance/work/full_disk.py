"""A worker whose data folder lies on a full disk. Prints one JSON line with what became of a study.

`python -m tests.runtime.appliance.work.full_disk scanside.toml STUDY`, where the data folder is a small disk.
"""

import json
import shutil
import sys
import threading
from pathlib import Path

from scanside.runtime.appliance.store import outbox
from scanside.runtime.appliance.work.main import Worker
from tests.runtime.appliance.work.filled import opened, received, shown

STORE_ALONE = 400_000
"""Bytes: enough for the store's own writing, not for a result."""


def main(path: Path, study: Path) -> None:
    config, database = opened(path)
    case_id = received(config, database, sorted(study.rglob("*.dcm")))
    worker = Worker(config, database, threading.Event())
    told = []

    def look(taken: bool) -> None:
        case = shown(database, case_id)
        files = [file.name for file in config.results.rglob("*") if file.is_file()]
        told.append([taken, case.state, case.failure, case.reason, case.status, case.attempts, files])

    ballast = config.service.data / "ballast"
    with ballast.open("wb") as file:
        file.write(b"0" * (shutil.disk_usage(config.service.data).free - STORE_ALONE))
    for _ in range(2):
        look(worker.step())
    with ballast.open("ab", buffering=0) as file:
        while _grows(file.fileno()):
            pass
    look(worker.step())
    ballast.unlink()
    look(worker.step())
    kinds = [item.kind for item in outbox.of_job(database, 1)]
    print(json.dumps({"told": told, "sends": kinds}))


def _grows(descriptor: int) -> bool:
    import os

    try:
        return os.write(descriptor, b"0" * 4096) > 0
    except OSError:
        return False


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
