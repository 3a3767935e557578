"""The store's file: its audit chain, its versions, a full disk, and who may read it."""

import re
import sqlite3
from pathlib import Path

import pytest

from scanside.runtime.appliance.store import audit, jobs, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Warned
from scanside.runtime.appliance.store.schema import VERSION
from scanside.runtime.appliance.store.states import Action, State
from scanside.runtime.errors import InputError, OutputError
from tests.runtime.appliance.store.filling import add, claimed, instance, outcome, queued


def test_the_audit_log_is_a_chain(db: Database, tmp_path: Path) -> None:
    queued(db)
    jobs.act(db, 1, Action.PAUSE, "user ann")
    number, newest = audit.head(db)
    assert audit.verify(db, (number, newest)) == number > 3
    text = " ".join(entry.detail for entry in audit.entries(db))
    assert "Doe" not in text and "4711" not in text and "1.2.3" not in text
    raw = sqlite3.connect(db.path)
    for forbidden in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw.execute(forbidden)
    raw.execute("DROP TRIGGER audit_is_not_changed")
    raw.execute("DROP TRIGGER audit_is_not_deleted")
    raw.execute("DELETE FROM audit WHERE number = ?", (number,))
    raw.commit()
    assert audit.verify(db) == number - 1, "a cut end shows only against an anchor"
    with pytest.raises(InputError, match="it was cut"):
        audit.verify(db, (number, newest))
    raw.execute("UPDATE audit SET actor = 'user eve' WHERE number = 2")
    raw.commit()
    with pytest.raises(InputError, match="Entry 2 of the audit log is not"):
        audit.verify(db)
    raw.execute("DELETE FROM audit WHERE number = 2")
    raw.commit()
    with pytest.raises(InputError, match="lacks entry 2"):
        audit.verify(db)


@pytest.mark.requirement("rollback")
def test_a_store_of_a_newer_program_is_refused(db: Database) -> None:
    raw = sqlite3.connect(db.path)
    raw.execute("PRAGMA user_version = 99")
    raw.commit()
    with pytest.raises(InputError, match="newer scanside"):
        Database(db.path)


def test_no_store_and_no_sqlite_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scanside serve"):
        Database(tmp_path / "none.db")
    (tmp_path / "text.db").write_text("this is no database, but long enough to be looked at" * 20)
    with pytest.raises(InputError, match="cannot be opened"):
        Database(tmp_path / "text.db")


def test_a_store_that_is_full_says_so_and_loses_nothing(db: Database) -> None:
    case_id = queued(db)
    pages = db.rows("PRAGMA page_count")[0][0]
    db.rows(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputError, match="cannot be written"):
        for number in range(10_000):
            add(db, instance(number, "5.6.7"))
    db.rows("PRAGMA max_page_count = 1000000")
    assert case_id in {case.case_id for case in worklist.cases(db)}
    audit.verify(db)


def test_the_store_is_private(db: Database) -> None:
    assert db.path.stat().st_mode & 0o077 == 0 and db.path.parent.stat().st_mode & 0o077 == 0


RELEASED = sorted(Path(__file__).parent.glob("store_version_*.sql"))


@pytest.mark.requirement("upgrade")
@pytest.mark.parametrize("dump", RELEASED, ids=lambda path: path.stem)
def test_a_store_of_every_released_version_goes_on(dump: Path, tmp_path: Path) -> None:
    """It has one study that was sent and waits for commitment, and one in the queue."""
    path = tmp_path / "scanside.db"
    with sqlite3.connect(path) as old:
        old.executescript(dump.read_text())
    before = [row[0] for row in old.execute("SELECT hash FROM audit ORDER BY number")]
    old.close()
    with Database(path) as db:
        assert db.rows("PRAGMA user_version")[0][0] == VERSION
        sent, waiting = sorted(worklist.cases(db), key=lambda case: case.job)
        assert (sent.state, sent.status, sent.probability) == (State.SENDING, "ok", 0.7)
        if dump.stem.endswith("1"):
            assert sent.warnings is None and sent.positive is None, "unknown is not none"
        else:
            assert sent.warnings == (Warned("lesions-apart", "They lie apart."),) and sent.positive == "PDAC"
        with Database(tmp_path / "new.db", create=True) as new:
            assert _columns(db) == _columns(new), "an old store becomes what a new one is"
        assert audit.verify(db) == len(before)
        assert outbox.answered(db, _transaction(db), ["7.1"], {}) == 1
        assert worklist.case(db, sent.case_id) is not None
        jobs.succeed(db, claimed(db, 2000.0).job, outcome("PACS", uid="7.2"), hold=True)
        after = worklist.case(db, waiting.case_id)
        assert after is not None and after.state is State.REVIEW and after.warnings == ()


def test_every_released_version_of_the_schema_has_its_dump() -> None:
    """A version that went out in a release; 2 never did. Whoever raises VERSION in a release adds a dump."""
    assert {dump.stem for dump in RELEASED} >= {"store_version_1", "store_version_3"}


def _columns(db: Database) -> dict[str, list[tuple[object, ...]]]:
    tables = [str(row[0]) for row in db.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: [tuple(row) for row in db.rows(f"PRAGMA table_info({name})")] for name in sorted(tables)}


def _transaction(db: Database) -> str:
    items = outbox.uncommitted(db, "PACS")
    outbox.requested(db, items, "9.9")
    return "9.9"


def test_sql_stands_in_the_store_alone() -> None:
    """Who reads the tables elsewhere breaks with the next version of the schema, and nobody sees it."""
    root = Path(__file__).parents[4]
    sql = re.compile(r"\b(SELECT|UPDATE|INSERT INTO|DELETE FROM|PRAGMA)\s+[a-z(*_]")
    allowed = root / "runtime/scanside/runtime/appliance/store"
    found = [
        path.relative_to(root)
        for part in ("runtime", "tui")
        for path in (root / part / "scanside").rglob("*.py")
        if not path.is_relative_to(allowed) and sql.search(path.read_text())
    ]
    assert found == []
