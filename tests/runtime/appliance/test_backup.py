"""Backup, restore, and stores that are older than they should be: over files that are as quick to make as rows."""

import fcntl
import hashlib
import json
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from scanside.runtime.appliance.config import Config, Service
from scanside.runtime.appliance.serve import serve
from scanside.runtime.appliance.store import anchor, audit, backup, intake, jobs, outbox, retention, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Instance, Made, Outcome, Patient
from scanside.runtime.appliance.store.restore import restore, verify_live
from scanside.runtime.appliance.store.schema import VERSION
from scanside.runtime.appliance.store.states import State
from scanside.runtime.errors import InputError, OutputError
from tests.runtime.cli.conftest import Command, scanside  # noqa: F401 - a fixture
from tests.support.sentences import assert_one_sentence

pytestmark = pytest.mark.requirement("backup", "rollback")

IMAGES = 3


def image(data: Path, database: Database, study: int, number: int) -> None:
    """An instance as the receiver leaves it: first the file, then the row."""
    content = f"image {study}.{number}".encode() * 50
    path = f"CASE{study}/series/{number}.dcm"
    (data / "spool" / path).parent.mkdir(parents=True, exist_ok=True)
    (data / "spool" / path).write_bytes(content)
    one = Instance(
        f"1.2.{study}.{number}",
        f"1.2.{study}",
        "1.2.3",
        path,
        hashlib.sha256(content).hexdigest(),
        len(content),
    )
    intake.add_instance(
        database, one, association="a", calling="MR1", patient=Patient("4711", "Doe^Jane"), most=1000
    )


def computed(data: Path, database: Database, study: int) -> str:
    """A study that was received and computed, its objects waiting to be sent; returns its case id."""
    for number in range(IMAGES):
        image(data, database, study, number)
    intake.close_association(database, "a")
    intake.complete_studies(database, quiet_seconds=0, series=None)
    job = jobs.claim(database, "worker", seconds=60)
    assert job is not None
    folder = f"{job.case_id}/{job.job}"
    (data / "results" / folder).mkdir(parents=True)
    for name in ("seg.dcm", "result.json"):
        (data / "results" / folder / name).write_text(f"{name} of {folder}")
    made = Made("seg", "1.2.840.10008.5.1.4.1.1.66.4", f"2.25.{study}", f"{folder}/seg.dcm", "2.25.9")
    jobs.succeed(
        database, job.job, Outcome("ok", None, 0.5, 0.4, 0.6, folder, {}, (("PACS", made),)), hold=False
    )
    return job.case_id


@pytest.fixture
def config(tmp_path: Path) -> Config:
    data = tmp_path / "data"
    with Database(data / "scanside.db", create=True) as database:
        for study in range(2):
            computed(data, database, study)
        anchor.keep(data / "anchor.json", database)
    return Config(service=Service(data=data, bundle=tmp_path / "none", research_use_only=True))


def everything(data: Path) -> dict[str, bytes]:
    return {
        path.relative_to(data).as_posix(): path.read_bytes()
        for folder in ("spool", "results")
        for path in (data / folder).rglob("*")
        if path.is_file()
    }


def refused(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert_one_sentence(str(caught.value), *words)


def test_what_is_backed_up_comes_back_on_a_new_disk(config: Config, tmp_path: Path) -> None:
    data, before = config.service.data, everything(config.service.data)
    made = backup.make(data, tmp_path / "backup")
    assert made.lacking == () and set(made.files) == {*before, "scanside.db"}
    assert backup.verify(tmp_path / "backup") == made
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "backup").rglob("*"))
    shutil.rmtree(data)
    restored, aside = restore(tmp_path / "backup", data, config.anchor, "user ann")
    assert restored == made and aside is None and everything(data) == before
    with Database(config.database) as database:
        assert [case.state for case in worklist.cases(database)] == [State.SENDING] * 2
        assert len(outbox.due(database, "PACS")) == 2
        last = list(audit.entries(database))[-1]
        assert (last.actor, last.action) == ("user ann", "store restored")
        assert audit.verify(database, (made.number, made.hash)) == made.number + 1
    assert verify_live(data, config.anchor) == (2 * IMAGES, ())


def test_the_service_goes_on_while_it_is_backed_up(config: Config, tmp_path: Path) -> None:
    """Studies come and are forgotten without a pause; each backup is whole, and lacks nothing."""
    data, stop = config.service.data, threading.Event()

    def busy() -> None:
        with Database(config.database, durable=False) as database:
            for study in range(10, 10_000):
                case_id = computed(data, database, study)
                (item,) = outbox.of_job(database, jobs_of(database))
                outbox.stored(database, [item], commitment=False)
                if study % 3 == 0:
                    assert retention.forget(database, f"1.2.{study}", case_id)
                    shutil.rmtree(data / "spool" / f"CASE{study}")
                    shutil.rmtree(data / "results" / case_id)
                if stop.is_set():
                    return

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for number in range(2):
            made = backup.make(data, tmp_path / f"backup-{number}")
            assert made.lacking == ()
            assert backup.verify(tmp_path / f"backup-{number}") == made
    finally:
        stop.set()
        thread.join()


def jobs_of(database: Database) -> int:
    return int(database.rows("SELECT max(job) FROM jobs")[0][0])


def test_a_file_that_is_lost_is_named_and_the_rest_is_saved(config: Config, tmp_path: Path) -> None:
    spool = config.spool / "CASE0" / "series"
    (spool / "0.dcm").unlink()
    (spool / "1.dcm").write_bytes(b"something else")
    made = backup.make(config.service.data, tmp_path / "backup")
    assert made.lacking == ("spool/CASE0/series/0.dcm", "spool/CASE0/series/1.dcm")
    assert backup.verify(tmp_path / "backup") == made
    assert verify_live(config.service.data, config.anchor)[1] == ("CASE0/series/0.dcm", "CASE0/series/1.dcm")


@pytest.mark.parametrize(
    "name", ["scanside.db", "backup.json", "spool/CASE1/series/2.dcm", "results", "extra"]
)
def test_an_altered_backup_is_refused(config: Config, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "backup"
    backup.make(config.service.data, folder)
    if name == "extra":
        (folder / "extra").write_text("?")
    elif name == "results":
        shutil.rmtree(folder / name)
    else:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(bytes(content))
    before = everything(config.service.data)
    with pytest.raises(InputError):
        backup.verify(folder)
    with pytest.raises(InputError):
        restore(folder, config.service.data, config.anchor, "user ann", older=True)
    assert everything(config.service.data) == before


def test_a_forged_audit_log_is_found_although_all_hashes_were_made_anew(
    config: Config, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    backup.make(config.service.data, folder)
    with closing(sqlite3.connect(folder / "scanside.db", isolation_level=None)) as store:
        store.execute("DROP TRIGGER audit_is_not_changed")
        store.execute("UPDATE audit SET actor = 'nobody' WHERE number = 2")
    content = json.loads((folder / "backup.json").read_text())
    data = (folder / "scanside.db").read_bytes()
    content["files"]["scanside.db"] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    (folder / "backup.json").write_text(json.dumps(content))
    refused(lambda: backup.verify(folder), "Entry 2 of the audit log")


def test_a_backup_of_a_newer_program_is_refused(config: Config, tmp_path: Path) -> None:
    with closing(sqlite3.connect(config.database)) as store:
        store.execute(f"PRAGMA user_version = {VERSION + 1}")
    backup.make(config.service.data, tmp_path / "backup")
    refused(lambda: backup.verify(tmp_path / "backup"), "newer scanside", f"store version {VERSION + 1}")


def test_an_older_backup_comes_back_only_when_somebody_says_so(config: Config, tmp_path: Path) -> None:
    data = config.service.data
    backup.make(data, tmp_path / "old")
    with Database(config.database) as database:
        computed(data, database, 7)
        seen = anchor.keep(config.anchor, database)
    call = lambda: restore(tmp_path / "old", data, config.anchor, "user ann")  # noqa: E731
    refused(call, f"entry {seen.number}", "--older")
    _, aside = restore(tmp_path / "old", data, config.anchor, "user ann", older=True)
    assert aside is not None and (aside / "scanside.db").exists() and (aside / "spool" / "CASE7").exists()
    with Database(config.database) as database:
        assert len(worklist.cases(database)) == 2
        detail = json.loads(list(audit.entries(database))[-1].detail)
        assert detail["forgotten"] == f"{seen.number}:{seen.hash}"
    anchor.refuse_rolled_back(config.anchor, config.database)


def test_a_store_that_was_rolled_back_is_refused(config: Config, tmp_path: Path) -> None:
    """A snapshot of the disk, or a copy of the file: sound in itself, and older than what was done since."""
    before = tmp_path / "before.db"
    with closing(sqlite3.connect(config.database)) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copyfile(config.database, before)
    with Database(config.database) as database:
        computed(config.service.data, database, 7)
        anchor.keep(config.anchor, database)
    anchor.refuse_rolled_back(config.anchor, config.database)
    for suffix in ("", "-wal", "-shm"):
        config.database.with_name(f"scanside.db{suffix}").unlink(missing_ok=True)
    shutil.copyfile(before, config.database)
    served = lambda: serve(config, tmp_path / "scanside.toml", threading.Event())  # noqa: E731
    refused(served, "older than what this appliance has come to", "restore")
    refused(lambda: verify_live(config.service.data, config.anchor), "older than")
    config.database.unlink()
    refused(served, "is gone", "restore")
    assert not config.database.exists(), "no empty store took its place"


def test_another_store_of_the_same_length_is_refused(config: Config, tmp_path: Path) -> None:
    with Database(tmp_path / "other" / "scanside.db", create=True) as database:
        for study in range(4):
            computed(tmp_path / "other", database, study)
    shutil.copyfile(tmp_path / "other" / "scanside.db", config.database)
    refused(lambda: anchor.refuse_rolled_back(config.anchor, config.database), "older than")


def test_a_damaged_anchor_is_not_taken_for_none(config: Config) -> None:
    config.anchor.write_text("{")
    refused(lambda: anchor.refuse_rolled_back(config.anchor, config.database), "anchor")


def test_nothing_is_overwritten_and_nothing_half_made_is_left(config: Config, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(OutputError, match="exists already"):
        backup.make(config.service.data, tmp_path / "there")
    config.database.write_bytes(b"no database" * 1000)
    with pytest.raises(InputError):
        backup.make(config.service.data, tmp_path / "backup")
    assert not [path for path in tmp_path.iterdir() if "backup" in path.name]


def test_the_commands(scanside: Command, config: Config, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "scanside.toml"
    file.write_text('[service]\ndata = "data"\nbundle = "none"\nresearch_use_only = true\n')
    folder = tmp_path / "backup"
    made = scanside("store", "backup", "-c", file, "-o", folder, "--json")
    assert made.code == 0 and json.loads(made.out)["lacking"] == []
    assert scanside("store", "verify", folder).code == 0
    assert f"{2 * IMAGES} images are whole" in scanside("store", "verify", "-c", file).err
    done = scanside("store", "restore", folder, "-c", file)
    assert done.code == 0 and "before-restore-" in done.err
    (config.spool / "CASE1" / "series" / "0.dcm").unlink()
    assert scanside("store", "verify", "-c", file).code == 5
    assert scanside("store", "backup", "-c", file, "-o", tmp_path / "two").code == 1
    (config.service.data / "serve.lock").touch()

    with (config.service.data / "serve.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        busy = scanside("store", "restore", folder, "-c", file, "--older")
        assert busy.code == 2 and "stop it first" in busy.err
