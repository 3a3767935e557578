"""What is kept of a failure: a kind, a sentence, nothing of the patient."""

import errno
from pathlib import Path

import numpy as np
import pytest

from scanside.runtime.appliance.store.records import Instance, Patient
from scanside.runtime.appliance.work.failure import Words, fault_of
from scanside.runtime.appliance.work.inputs import SpoolError, snapshot
from scanside.runtime.errors import (
    BackendError,
    BundleError,
    CaseError,
    OutputError,
    UsageError,
)
from scanside.runtime.images.files import writing_failed

RESULTS = Path("/data/results")
WORDS = Words((RESULTS / "C" / "1", RESULTS / "C", RESULTS, Path("/data/spool")), Patient("4711", "Doe^Ann"))


def _raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "kind", "blameless"),
    [
        (CaseError("a"), "case", False),
        (BackendError("a"), "backend", False),
        (BundleError("a"), "bundle", True),
        (UsageError("a"), "configuration", True),
        (SpoolError("a"), "spool", False),
        (MemoryError(), "memory", False),
        (np.exceptions.AxisError("a"), "crash", False),
        (writing_failed(Path("a"), OSError(errno.ENOSPC, "full")), "output", False),
    ],
)
def test_kinds(error: BaseException, kind: str, blameless: bool, tmp_path: Path) -> None:
    fault = fault_of(_raised(error), WORDS, tmp_path, own=False)
    assert (fault.kind, fault.blameless) == (kind, blameless)


def test_the_system_says_that_the_disk_is_full(tmp_path: Path) -> None:
    cause = OSError(errno.ENOSPC, "full")
    error = _raised(writing_failed(RESULTS / "C" / ".1.ab_9" / "x.png", cause), cause)
    fault = fault_of(error, WORDS, tmp_path, own=True)
    assert (fault.kind, fault.blameless) == ("disk", True)
    assert fault.reason.startswith("x.png cannot be written: the disk is full")


def test_what_a_person_chose_for_a_job_is_the_jobs_own(tmp_path: Path) -> None:
    assert not fault_of(_raised(BundleError("a")), WORDS, tmp_path, own=True).blameless


def test_nothing_of_the_patient_nor_of_this_machine(tmp_path: Path) -> None:
    text = (
        "/data/results/C/.input-a_3x/C/0a1b/2c.dcm of DOE, Ann (4711) in 1.2.840.113619.2.55.3 cannot be decoded; "
        "see /data/results/C/1/result.json and /data/spool/C/0a1b, Annex 14711."
    )
    fault = fault_of(_raised(CaseError(text)), WORDS, tmp_path, own=False)
    assert fault.reason == (
        "C/0a1b/2c.dcm of …, … (…) in [uid] cannot be decoded; see result.json and C/0a1b, Annex 14711."
    )
    crash = fault_of(_raised(ValueError("Doe^Ann 4711")), WORDS, tmp_path, own=False)
    assert "ValueError" in crash.reason and f"{__name__}:" in crash.reason and "Doe" not in crash.reason
    nobody = Words((), Patient("", ""))
    assert nobody.clean("a b") == "a b"


def test_a_document_keeps_its_numbers_and_names() -> None:
    document = {"a": ["/data/results/C/1/x", 3, None], "b": {"c": "Doe /data/spool/y"}}
    assert WORDS.relative_all(document) == {"a": ["x", 3, None], "b": {"c": "Doe y"}}


def test_files_are_copied_where_they_cannot_be_linked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    (tmp_path / "spool" / "C" / "s").mkdir(parents=True)
    file = tmp_path / "spool" / "C" / "s" / "i.dcm"
    file.write_bytes(b"pixels")
    one = Instance("1.1", "1", "1.0", "C/s/i.dcm", hashlib.sha256(b"pixels").hexdigest(), 6)

    def refuse(target: Path, link: Path) -> None:
        raise OSError(errno.EXDEV, "another file system")

    case = tmp_path / "results" / "C"
    for linked in (True, False):
        if not linked:
            monkeypatch.setattr(Path, "hardlink_to", refuse)
        with snapshot([one], tmp_path / "spool", case, lambda: None) as study:
            taken = study / "s" / "i.dcm"
            assert study.name == "C" and taken.read_bytes() == b"pixels"
            assert taken.samefile(file) is linked
        assert list(case.iterdir()) == []


def test_a_disk_that_refuses_is_no_damaged_spool(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file in the way")
    with (
        pytest.raises(OutputError, match="cannot be written"),
        snapshot([], tmp_path, tmp_path / "results" / "C", lambda: None),
    ):
        pass
