"""`scanside audit` over a real store, and what happens to it after forgeries."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from scanside.runtime.appliance.store import audit
from scanside.runtime.appliance.store.database import Database
from tests.runtime.cli.conftest import Command
from tests.support.sentences import assert_one_sentence

pytestmark = pytest.mark.requirement("audit")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "scanside.db"
    with Database(path, create=True) as database, database.transaction() as write:
        for number in range(20):
            audit.append(
                write, "worker", "claim", case_id=f"CASE{number % 3}-ABCDE", job=number,
                detail={"attempt": 1, "who": "Zoë"}, now=1_700_000_000 + number * 3600.5,
            )  # fmt: skip
    return path


def forge(store: Path, sql: str) -> None:
    with closing(sqlite3.connect(store, isolation_level=None)) as opened:
        for trigger in ("changed", "deleted"):
            opened.execute(f"DROP TRIGGER audit_is_not_{trigger}")
        opened.execute(sql)


def test_an_unbroken_log_is_verified_and_gives_its_anchor(scanside: Command, store: Path) -> None:
    found = scanside("audit", "verify", "--store", store)
    assert found.code == 0 and "20 entries, unbroken" in found.err
    anchor = found.out.strip()
    assert scanside("audit", "verify", "--store", store.parent, "--anchor", anchor).code == 0


def test_a_configuration_names_the_store(scanside: Command, store: Path, tmp_path: Path) -> None:
    config = tmp_path / "scanside.toml"
    config.write_text('[service]\ndata = "data"\nbundle = "b"\nresearch_use_only = true\n')
    assert "20 entries" in scanside("audit", "verify", "-c", config).err


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("UPDATE audit SET detail = '{}' WHERE number = 7", "Entry 7"),
        ("UPDATE audit SET at = at + 1 WHERE number = 20", "Entry 20"),
        ("DELETE FROM audit WHERE number = 7", "entry 7"),
        ("DELETE FROM audit WHERE number = 1", "entry 1"),
    ],
)
def test_a_forged_log_ends_with_code_5(scanside: Command, store: Path, sql: str, word: str) -> None:
    forge(store, sql)
    found = scanside("audit", "verify", "--store", store)
    assert found.code == 5 and word in found.err and found.out == ""


def test_cutting_the_end_off_needs_an_anchor_to_be_seen(scanside: Command, store: Path) -> None:
    anchor = scanside("audit", "verify", "--store", store).out.strip()
    forge(store, "DELETE FROM audit WHERE number > 15")
    assert scanside("audit", "verify", "--store", store).code == 0
    found = scanside("audit", "verify", "--store", store, "--anchor", anchor)
    assert found.code == 5 and "it was cut" in found.err


def test_an_exported_log_is_verified_without_the_store(
    scanside: Command, store: Path, tmp_path: Path
) -> None:
    out = tmp_path / "log.jsonl"
    exported = scanside("audit", "export", "--store", store, "-o", out)
    assert exported.code == 0
    store.unlink()
    found = scanside("audit", "verify", out, "--anchor", exported.out.strip())
    assert (found.code, found.out) == (0, exported.out)
    assert scanside("audit", "export", "--store", store, "-o", out).code == 1, "it is not replaced"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda lines: lines[:5] + lines[6:], "entry 6"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "lacks entry 1 in its place"),
        (lambda lines: [*lines[:3], lines[3].replace("worker", "nobody"), *lines[4:]], "Entry 4"),
        (lambda lines: [*lines[:3], lines[3][:-5], *lines[4:]], "Line 4"),
        (lambda lines: [*lines[:3], "{}", *lines[4:]], "Line 4"),
    ],
)
def test_an_exported_log_that_was_changed_ends_with_code_5(
    scanside: Command, store: Path, tmp_path: Path, change: object, word: str
) -> None:
    assert callable(change)
    out = tmp_path / "log.jsonl"
    scanside("audit", "export", "--store", store, "-o", out)
    out.write_text("\n".join(change(out.read_text().splitlines())) + "\n")
    found = scanside("audit", "verify", out)
    assert found.code == 5 and word in found.err


def test_show_filters_by_case_and_time(scanside: Command, store: Path) -> None:
    lines = scanside("audit", "show", "--store", store).out.splitlines()
    assert len(lines) == 20 and "2023-11-14T22:13:20Z" in lines[0] and "attempt 1, who Zoë" in lines[0]
    case = scanside("audit", "show", "--store", store, "--case", "CASE1-ABCDE").out.splitlines()
    assert len(case) == 7 and all("CASE1-ABCDE" in line for line in case)
    late = scanside("audit", "show", "--store", store, "--since", "2023-11-15T12:00", "--json").json
    assert late["schema"] == "scanside.audit/1" and len(late["entries"]) == 6
    assert late["entries"][0]["detail"] == {"attempt": 1, "who": "Zoë"}
    assert scanside("audit", "show", "--store", store, "--since", "7d").out == ""


@pytest.mark.parametrize(
    "arguments",
    [("verify", "--anchor", "12"), ("show", "--since", "yesterday"), ("verify", "--anchor", "1:xyz")],
)
def test_nonsense_is_refused(scanside: Command, store: Path, arguments: tuple[str, ...]) -> None:
    found = scanside("audit", *arguments, "--store", store)
    assert found.code == 2
    assert_one_sentence(found.err.strip())


def test_a_missing_store_or_file_is_refused(scanside: Command, tmp_path: Path) -> None:
    assert scanside("audit", "verify", "--store", tmp_path / "none.db").code == 5
    assert not (tmp_path / "none.db").exists()
    found = scanside("audit", "verify", tmp_path / "none.jsonl")
    assert found.code == 5 and "none.jsonl" in found.err
    assert json.dumps(found.out) == '""'
