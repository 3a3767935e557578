"""A store that months of work have filled, and the service's signs of life beside it, for measuring the terminal."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scanside.benchmarks.processes import meanwhile
from scanside.benchmarks.studies import phantom_studies
from scanside.runtime.appliance.config import load_config
from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.store import jobs
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.states import State
from scanside.runtime.appliance.watch.heartbeat import beat

IMAGES = 100
"""Of each study."""
OPENED = "00000-OPENED"
"""The case that is opened: a phantom study, the latest arrival."""


def prepare(folder: Path, studies: int) -> Path:
    """A configuration, and a store that months of work have filled."""
    config = folder / "scanside.toml"
    data = folder / "data"
    config.write_text(
        f"[service]\ndata = {json.dumps(str(data))}\nbundle = {json.dumps(str(folder / 'none.bundle'))}\n"
        "research_use_only = true\n[receive]\nreserve_gb = 0\n"
        '[[destinations]]\nkind = "dicom"\nname = "PACS"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
    )
    with (
        Database(data / "scanside.db", create=True, durable=False) as database,
        database.transaction() as write,
    ):
        now = time.time()
        for number in range(studies):
            _study(write, number, now - 300.0 * number)
        _opened(write, folder, data, now + 60)
        write.execute("UPDATE meta SET value = ? WHERE key = 'tick'", (str(studies),))
    return config


def _opened(write: Any, folder: Path, data: Path, at: float) -> None:
    """A study with images, whose result is gone: it is opened, and its series are chosen by the rules."""
    import pydicom

    (study,) = phantom_studies(folder / "phantom", ("typical",), 8)
    uid = "1.2.826.0.999999"
    _insert(
        write, "studies", study_uid=uid, case_id=OPENED, calling="MR0", patient_id="", patient_name="", arrived=at,
        last_received=at, last_active=at,
    )  # fmt: skip
    for number, file in enumerate(sorted(study.path.rglob("*.dcm"))):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        place = Path(OPENED) / f"{number}.dcm"
        (data / "spool" / place).parent.mkdir(parents=True, exist_ok=True)
        file.rename(data / "spool" / place)
        _insert(
            write, "instances", sop_uid=str(header.SOPInstanceUID), study_uid=uid, path=str(place),
            series_uid=str(header.SeriesInstanceUID), sha256="0" * 64, size=0, received=at,
        )  # fmt: skip
    _insert(
        write, "jobs", study_uid=uid, state=State.CANCELLED, created=at, changed=at, tick=0, attempts=1,
    )  # fmt: skip


def _study(write: Any, number: int, at: float) -> None:
    """One study: the second one is running, a few are in trouble, most are done and delivered."""
    uid, case_id = f"1.2.826.0.{number}", f"{number:05}-BENCH"
    state = State.RUNNING if number == 1 else State.QUARANTINED if number % 97 == 5 else State.DONE
    done = state is State.DONE
    _insert(
        write, "studies", study_uid=uid, case_id=case_id, calling=f"MR{number % 3}", patient_id="", patient_name="",
        arrived=at, last_received=at, last_active=at,
    )  # fmt: skip
    for image in range(IMAGES):
        _insert(
            write, "instances", sop_uid=f"{uid}.{image}", study_uid=uid, series_uid=f"{uid}.9{image % 3}", path="x",
            sha256="0" * 64, size=100_000, received=at,
        )  # fmt: skip
    status = ("ok", "ok", "ok", "indeterminate", "no lesion segmented")[number % 5] if done else None
    chance = (number * 37 % 100) / 100 if status == "ok" else None
    job = number + 1
    _insert(
        write, "jobs", job=job, study_uid=uid, state=state, created=at, changed=at, tick=number, attempts=1, started=at,
        stage="t2w: network" if number == 1 else None, done=1, total=1000, finished=at + 60 if done else None,
        status=status, probability=chance, low=chance, high=chance, result="x" if done else None,
        reason=None if done else "The network ran out of memory; free some.",
    )  # fmt: skip
    if done:
        for stage, ms in (("read", 2000), ("t2w: network", 30_000), ("radiomics", 8000), ("total", 41_000)):
            _insert(write, "timings", job=job, stage=stage, ms=ms, at=at + 60)
        for kind in ("seg", "sr", "sc"):
            _insert(
                write, "outbox", job=job, destination="PACS", kind=kind, sop_class="1.2", sop_uid=f"{uid}.{kind}",
                path="x", state="committed", changed=at,
            )  # fmt: skip


def _insert(write: Any, table: str, **values: Any) -> None:
    marks = ", ".join("?" * len(values))
    write.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


@contextmanager
def events(config: Path, often: float) -> Iterator[Callable[[], int]]:
    """Progress of a running case, so often a second, from another process's connection; yields how many so far."""
    loaded, count = load_config(config), [0]

    def send(ended: threading.Event) -> None:
        with Database(loaded.database, durable=False) as database:
            job = jobs.running(database)[0].job
            begin = time.monotonic()
            while not ended.wait(max(0.0, begin + (count[0] + 1) / often - time.monotonic())):
                count[0] += 1
                jobs.progress(database, job, "t2w: network", count[0] % 1000, 1000, time.time() + 3600)

    with meanwhile(send):
        yield lambda: count[0]


def beat_every_second(config: Path, ended: threading.Event) -> None:
    """Signs of life, as a service that runs gives them."""
    loaded, begun = load_config(config), False
    while not (begun and ended.wait(1.0)):
        begun = True
        for name in NAMES:
            beat(loaded, name)
