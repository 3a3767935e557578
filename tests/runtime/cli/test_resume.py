"""Runs that go on, parts of a run, and their reports joined."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from scanside.runtime.errors import UsageError
from scanside.runtime.ledger import NAMES, Part, parse_part
from tests.runtime.cli.conftest import Command
from tests.runtime.cli.test_segment import files

Write = Callable[..., Path]
NAME = NAMES["segment"]
CPU = ("--device", "cpu", "--no-mirroring", "--folds", "0")


@pytest.fixture
def images(write_image: Write, tmp_path: Path) -> Path:
    for index, name in enumerate("abcd"):
        write_image(tmp_path / "in" / f"{name}_0000.nii.gz", seed=index)
    return tmp_path / "in"


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.nii.gz")}


def test_a_line_a_case_with_hashes_on_stdout_and_in_the_folder(
    scanside: Command, bundle: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = scanside("segment", bundle, images, "-o", out, *CPU, "--json-lines")
    assert done.code == 0
    told = lines(done.out)
    assert [line["name"] for line in told] == list("abcd")
    kept = [line for line in lines((out / f"{NAME}.jsonl").read_text()) if "name" in line]
    assert kept == told
    for line in told:
        for file in (*line["inputs"], *line["outputs"]):  # type: ignore[misc]
            assert file["sha256"] == hashlib.sha256(Path(file["path"]).read_bytes()).hexdigest()
    assert [words for words in done.err.splitlines() if words.startswith("c: ")]  # a sentence a case


def test_resume_does_what_is_missing_changed_or_made_otherwise(
    scanside: Command, bundle: Path, images: Path, write_image: Write, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = ("segment", bundle, images, "-o", out, *CPU)
    assert scanside(*run).code == 0
    assert scanside(*run).code == 1  # without --resume the masks are in the way
    before = times(out)
    done = scanside(*run, "--resume", "--json")
    assert done.code == 0 and times(out) == before and "4 finished before" in done.err
    assert [case["status"] for case in done.json["cases"]] == ["ok"] * 4
    assert all("Computed before" in case["remarks"][-1] for case in done.json["cases"])
    (out / "a.nii.gz").unlink()
    write_image(images / "b_0000.nii.gz", seed=17)
    assert scanside(*run, "--resume").code == 0
    assert {name for name, at in times(out).items() if before.get(name) != at} == {"a.nii.gz", "b.nii.gz"}
    before = times(out)
    assert scanside(*run, "--resume", "--step-size", "1").code == 0  # another recipe
    assert not set(times(out).values()) & set(before.values())


def test_resume_with_another_bundle_repeats_all(
    scanside: Command, bundle: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run = ("segment", bundle, images, "-o", out, *CPU, "--resume")
    assert scanside(*run).code == 0
    report = out / f"{NAME}.jsonl"
    line = json.loads(report.read_text().splitlines()[-1])
    report.write_text(report.read_text().replace(line["bundle"], "0" * 64))
    assert "0 finished" not in scanside(*run).err and len(lines_of_cases(report)) == 8


def lines_of_cases(report: Path) -> list[dict[str, object]]:
    return [line for line in lines(report.read_text().replace("\n\n", "\n").strip()) if "name" in line]


def test_a_mask_that_a_person_changed_or_made_is_not_replaced(
    scanside: Command, bundle: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = ("segment", bundle, images, "-o", out, *CPU, "--resume")
    assert scanside(*run).code == 0
    mask = sitk.ReadImage(str(out / "b.nii.gz"))
    sitk.WriteImage(mask * 0, str(out / "b.nii.gz"))  # corrected by hand
    done = scanside(*run)
    assert done.code == 1 and "b.nii.gz was changed after" in done.err
    assert not sitk.GetArrayFromImage(sitk.ReadImage(str(out / "b.nii.gz"))).any()
    other = tmp_path / "other"
    other.mkdir()
    (other / "c.nii.gz").write_text("a person's")
    done = scanside("segment", bundle, images, "-o", other, *CPU, "--resume")
    assert done.code == 1 and "c.nii.gz was not made here" in done.err
    assert (other / "c.nii.gz").read_text() == "a person's"


def _killed_while_it_wrote(mask: Path) -> None:
    code = (
        "import os, sys, pathlib; from scanside.runtime.images.files import atomic_write\n"
        "with atomic_write(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    before = set(mask.parent.iterdir())
    subprocess.run([sys.executable, "-c", code, mask], check=False)
    assert len(set(mask.parent.iterdir()) - before) == 1


def test_a_run_that_is_killed_goes_on(bundle: Path, write_image: Write, tmp_path: Path) -> None:
    """SIGKILL in the middle, with a torn last line: every case is there once, equal to a run in one go."""
    for index in range(8):
        write_image(tmp_path / "in" / f"c{index}_0000.nii.gz", shape=(20, 32, 32), seed=index % 3)
    program = [
        sys.executable,
        "-m",
        "scanside.runtime.cli.main",
        "segment",
        str(bundle),
        str(tmp_path / "in"),
    ]
    out, chosen = tmp_path / "out", ["--device", "cpu", "--resume"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*program, "-o", str(out), *chosen], stderr=quiet, stdout=quiet)
    deadline = time.monotonic() + 120
    while not (out / "c1.nii.gz").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {line["name"] for line in lines_of_cases(out / f"{NAME}.jsonl")}
    assert 0 < len(finished) < 8
    for name in ("c7", min(finished)):  # one that is still to do, and one that is done
        _killed_while_it_wrote(out / f"{name}.nii.gz")
    with (out / f"{NAME}.jsonl").open("a") as report:
        report.write('{"schema": "scanside.case/1", "name": "c7", "sta')
    kept = {name: at for name, at in times(out).items() if name.removesuffix(".nii.gz") in finished}
    assert (
        subprocess.run([*program, "-o", str(out), *chosen], capture_output=True, check=False).returncode == 0
    )
    now = times(out)
    assert {name: now[name] for name in kept} == kept and len(now) == 8
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    for index in range(3, 8):  # equal images have equal masks, whoever computed them
        pair = [sitk.GetArrayFromImage(sitk.ReadImage(str(out / f"c{i}.nii.gz"))) for i in (index % 3, index)]
        assert np.array_equal(*pair)


def test_parts_do_every_case_once_and_merge_says_what_is_missing(
    scanside: Command, bundle: Path, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (images / "d_0000.nii.gz").write_bytes(b"nothing")
    codes = []
    for index in (1, 3):
        codes.append(scanside("segment", bundle, images, "-o", out, *CPU, "--part", f"{index}/3").code)
    partly = scanside("merge", out, "--json")
    assert partly.code == 1 and partly.json["parts_missing"] == ["2 of 3"]
    codes.append(scanside("segment", bundle, images, "-o", out, *CPU, "--part", "2/3").code)
    assert sorted(set(codes)) in ([0, 1], [0, 5])
    merged = scanside("merge", out, "--json", "--csv", tmp_path / "sizes.csv")
    assert merged.code == 1 and not merged.json["parts_missing"] and not merged.json["missing"]
    assert [case["name"] for case in merged.json["cases"]] == list("abcd")
    assert [case["status"] for case in merged.json["cases"]] == ["ok", "ok", "ok", "refused"]
    assert "d: refused" in merged.err
    table = (tmp_path / "sizes.csv").read_text().splitlines()
    assert table[0] == "case,status,near (ml),far (ml)" and table[4] == "d,refused,,"
    assert files(out) == {"a.nii.gz", "b.nii.gz", "c.nii.gz"}


def test_reports_of_different_recipes_are_not_merged(
    scanside: Command, bundle: Path, images: Path, tmp_path: Path
) -> None:
    for index, step in ((1, "0.5"), (2, "1")):
        chosen = ("--part", f"{index}/2", "--step-size", step)
        scanside("segment", bundle, images, "-o", tmp_path / "out", *CPU, *chosen)
    done = scanside("merge", tmp_path / "out")
    assert done.code == 2 and "different bundles or recipes" in done.err
    assert scanside("merge", images).code == 5


def test_a_name_that_is_no_text_has_a_part() -> None:
    name = b"caf\xe9".decode(errors="surrogateescape")  # as the file system gives Latin-1
    assert sum(Part(index, 3).holds(name) for index in (1, 2, 3)) == 1


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), unique=True, max_size=60), st.integers(1, 9))
def test_every_case_is_in_one_part_and_new_cases_move_no_other(names: list[str], count: int) -> None:
    parts = [Part(index, count) for index in range(1, count + 1)]
    assert all(sum(part.holds(name) for part in parts) == 1 for name in names)


@pytest.mark.parametrize("words", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_what_is_no_part(words: str) -> None:
    with pytest.raises(UsageError, match="is no part"):
        parse_part(words)


def test_a_file_has_no_parts_and_stdout_one_form(
    scanside: Command, bundle: Path, images: Path, tmp_path: Path
) -> None:
    single = images / "a_0000.nii.gz"
    done = scanside("segment", bundle, single, "-o", tmp_path / "m.nii.gz", "--resume")
    assert done.code == 2 and "folder of masks" in done.err
    assert scanside("segment", bundle, single, "-o", tmp_path / "m", "--json", "--json-lines").code == 2
