"""The receiver as a process: killed at any instant, and fed with what is no DICOM."""

import hashlib
import json
import random
import re
import signal
import struct
import threading
import time
import zlib
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID

from scanside.runtime.appliance.receive.classes import DEFLATED, transfer_syntaxes
from scanside.runtime.appliance.receive.quarantine import MOST_FILES
from scanside.runtime.appliance.store.states import State
from tests.runtime.appliance.receive.receiving import (
    MR,
    Child,
    associate,
    child,
    data_set_of,
    mr_slice,
    receiver,
    send,
    send_bytes,
)
from tests.support.appliance import until
from tests.support.dicom_factory import ROOT, save
from tests.support.mutate import mutations
from tests.support.peers import echoscu, storescu
from tests.support.soak_results import write_soak_results

pytestmark = pytest.mark.requirement("acknowledged", "limits")

NAMES = {
    0: "stored",
    0x0111: "conflict",
    0xA700: "no room",
    0xA900: "not announced",
    0xC000: "not understood",
}
GROWTH_MIB = 100


def feed(port: int, files: dict[int, Path], acknowledged: set[int]) -> None:
    """Send instances with dcmtk until the other side is gone; what it acknowledged is in the log of the sender."""
    sent = storescu(port, [path for number, path in files.items() if number not in acknowledged])
    parts = re.split(r"I: Sending file: .*/(\d+)\.dcm", sent.stdout)
    for number, answer in zip(parts[1::2], parts[2::2], strict=True):
        if "Received Store Response (Success)" in answer:
            acknowledged.add(int(number))


def more_than(made: Child, count: int) -> bool:
    return len(made.spooled()) >= count


def check(made: Child, acknowledged: dict[str, set[int]]) -> None:
    """Everything acknowledged is in the store and on disk, and nothing in the store is not on disk."""
    for study, numbers in acknowledged.items():
        rows = {row.sop_uid: row for row in made.instances(f"{ROOT}.{study}")}
        for number in numbers:
            row = rows[f"{ROOT}.{study}.3.{number}"]
            path = made.data / "spool" / row.path
            assert pydicom.dcmread(path).SOPInstanceUID == row.sop_uid
        for row in rows.values():
            content = (made.data / "spool" / row.path).read_bytes()
            assert hashlib.sha256(content).hexdigest() == row.sha256


def test_what_was_acknowledged_survives_kills(tmp_path: Path) -> None:
    wanted, kills, dice = 60, 4, random.Random(4)
    acknowledged: dict[str, set[int]] = {"1": set(), "2": set()}
    files: dict[str, dict[int, Path]] = {study: {} for study in acknowledged}
    for study, found in files.items():
        (tmp_path / study).mkdir()
        for number in range(wanted):
            dataset = mr_slice(number, study=study)
            found[number] = save(dataset, tmp_path / study / f"{number}.dcm")
    with child(tmp_path / "node", quiet_seconds=3600) as made:
        for _ in range(kills):
            enough = len(made.spooled()) + dice.randrange(2, 10)
            senders = [
                threading.Thread(target=feed, args=(made.port, files[study], done))
                for study, done in acknowledged.items()
            ]
            for sender in senders:
                sender.start()
            until(partial(more_than, made, enough), 20, "some instances")
            made.end(signal.SIGKILL)
            for sender in senders:
                sender.join(30)
                assert not sender.is_alive(), "a sender hangs"
            check(made, acknowledged)
            made.start()
            assert made.open_associations == 0 and made.incoming() == []
        assert all(0 < len(done) < wanted for done in acknowledged.values()), "it was killed in the middle"
        for study, done in acknowledged.items():
            feed(made.port, files[study], done)
            assert len(done) == wanted
        check(made, acknowledged)
        assert len(made.spooled()) == 2 * wanted
        assert made.end() == 0, "it ends in order when told to"
        assert ROOT not in made.log() and "Phantom" not in made.log()


def seeds(folder: Path, count: int) -> dict[str, Path]:
    """Good files, each another instance, in several encodings."""
    folder.mkdir()
    found = {}
    for number in range(count):
        dataset = mr_slice(number)
        syntax = transfer_syntaxes()[number % 4]
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.set_original_encoding(syntax == transfer_syntaxes()[1], syntax != transfer_syntaxes()[2])
        path = save(dataset, folder / f"{number:04d}.dcm")
        found[path.name] = path
    return found


def feed_mutations(folder: Path, count: int) -> dict[str, Any]:
    """Send mutated instances to a receiver, each of which it has to answer; returns what it said to them."""
    files = seeds(folder / "seeds", 300)
    answers: Counter[int] = Counter()
    reasons: Counter[str] = Counter()
    accepted: set[str] = set()
    started = time.monotonic()
    with child(folder / "node", max_instance_mb=4) as made:
        association = associate(made.port, classes=(MR,), syntaxes=transfer_syntaxes())
        assert send(association, mr_slice(9999)) == 0
        before = made.memory_mib()
        for name, content in mutations(list(files.values()), count, seed=4):
            original = files[name.split("-", 2)[2]]
            good = pydicom.dcmread(original, stop_before_pixels=True)
            start = original.stat().st_size - len(data_set_of(original))
            syntax = good.file_meta.TransferSyntaxUID
            status, why = send_bytes(
                association, content[start:] or bytes(2), MR, good.SOPInstanceUID, syntax
            )
            assert status in NAMES, f"{name}: {status:#x}"  # -1: no answer, by a crash or a hang
            answers[status] += 1
            if status:
                reasons[why] += 1
            else:
                accepted.add(good.SOPInstanceUID)
        association.release()
        assert made.process is not None and made.process.poll() is None
        peak = made.memory_mib(peak=True)
        assert peak < before + GROWTH_MIB
        assert echoscu(made.port).returncode == 0
        case = made.wait_for(State.QUEUED)
        assert sum(one.instances for one in made.cases) == len(accepted) + 1 == len(made.spooled())
        assert case.patient is not None
        kept = list((made.data / "quarantine").rglob("*.reason"))
        assert len(kept) == min(answers[0xC000], MOST_FILES) > 10
        assert answers[0] > 10 and all(json.loads(one.read_text())["reason"] for one in kept)
        assert "" not in reasons and made.incoming() == []
        assert ROOT not in made.log() and "Phantom" not in made.log()
    return {
        "mutated_instances": answers.total(),
        "answers": {NAMES[status]: number for status, number in answers.most_common()},
        "refused_by_reason": dict(reasons.most_common()),
        "crashed": 0,
        "hung": 0,
        "receiver_memory_mib": {"before": round(before, 1), "peak": round(peak, 1)},
        "seconds": round(time.monotonic() - started, 1),
    }


def test_mutated_instances_are_stored_or_refused_and_do_no_harm(tmp_path: Path) -> None:
    assert feed_mutations(tmp_path, 200)["mutated_instances"] == 200


@pytest.mark.slow
def test_five_thousand_mutated_instances(tmp_path: Path) -> None:
    """Writes endure.json."""
    found = feed_mutations(tmp_path, 5000)
    command = "python -m pytest -m slow tests/runtime/appliance/receive/test_endure.py"
    write_soak_results("endure", command, ("pynetdicom", "pydicom"), found)


def test_memory_stays_bounded_whatever_is_sent(tmp_path: Path) -> None:
    def huge(dataset: Dataset) -> None:
        dataset.Rows = dataset.Columns = 4096
        dataset.PixelData = bytes(64 << 20)

    def bomb() -> bytes:
        packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        head = struct.pack("<HH2s2xL", 0x0008, 0x0005, b"UN", 400 << 20)
        return (
            packer.compress(head)
            + b"".join(packer.compress(bytes(1 << 20)) for _ in range(400))
            + packer.flush()
        )

    with child(tmp_path, max_instance_mb=16) as made:
        association = associate(made.port, syntaxes=transfer_syntaxes()[:4])
        assert send(association, mr_slice(1)) == 0
        before = made.memory_mib()
        assert send(association, mr_slice(2, huge)) == 0xA700
        status, comment = send_bytes(association, bomb(), MR, "1.2.3", DEFLATED)
        assert (status, comment) == (0xC000, "inflated, the data set is larger than an instance may be")
        assert made.memory_mib(peak=True) < before + 40
        association.release()
        assert made.wait_for(State.QUEUED).instances == 1


def test_noise_is_refused_in_every_encoding(tmp_path: Path) -> None:
    dice = random.Random(7)
    with receiver(tmp_path / "data") as desk:
        association = associate(desk.port, syntaxes=transfer_syntaxes()[:4])
        for syntax in transfer_syntaxes()[:4]:
            for _ in range(20):
                noise = dice.randbytes(dice.randrange(1, 3000))
                assert send_bytes(association, noise, MR, "1.2.3", syntax)[0] == 0xC000
        association.release()
        assert desk.spooled() == [] and desk.incoming() == []
