"""A folder of studies: in parts, interrupted, again, joined; every study once."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from scanside.runtime.ledger import NAMES
from scanside.runtime.lines import CaseLine, PlanLine
from scanside.runtime.merge import Merged
from scanside.runtime.record import json_schema
from tests.runtime.cli.conftest import Command
from tests.runtime.study.tiny_study import TinyStudy, write_nifti

REPORT = f"{NAMES['run']}.jsonl"
TEMPLATES = Path(__file__).parents[3] / "docs" / "templates"
CPU = ("--device", "cpu", "--studies")


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three with a lesion, one without, one without an ADC map."""
    root = tmp_path_factory.mktemp("many") / "studies"
    for index in range(3):
        write_nifti(root / f"P{index}", TinyStudy(seed=index))
    write_nifti(root / "P3", TinyStudy(t2w=(), dwi=()))
    write_nifti(root / "P4", names=("t2w", "dwi"))
    return root


def lines(out: Path) -> list[dict[str, Any]]:
    text = [
        json.loads(line)
        for file in out.glob("*.jsonl")
        for line in file.read_text().splitlines()
        if line.endswith("}")
    ]
    for line in text:
        jsonschema.validate(line, json_schema(PlanLine if "planned" in line else CaseLine))
    return [line for line in text if "name" in line]


def stamps(out: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("*/result.json")}


def test_every_study_has_its_folder_its_line_and_its_row(
    scanside: Command, bundle: Path, studies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    codes = [
        scanside("run", bundle, studies, "-o", out, *CPU, "--part", f"{i}/2", "--json-lines") for i in (1, 2)
    ]
    assert sorted(done.code for done in codes) == [0, 1] or sorted(done.code for done in codes) == [0, 5]
    told = [json.loads(line) for done in codes for line in done.out.splitlines()]
    assert sorted(line["name"] for line in told) == [f"P{i}" for i in range(5)]
    assert {line["name"]: line["study"]["status"] for line in told} == {
        "P0": "ok", "P1": "ok", "P2": "ok", "P3": "no lesion segmented", "P4": "unsuitable input"
    }  # fmt: skip
    for line in lines(out):
        assert {Path(one["path"]).name for one in line["outputs"]} == {
            p.name for p in (out / line["name"]).iterdir()
        }
        assert line["recipe"]["command"] == "run" and all(one["sha256"] for one in line["outputs"])
    merged = scanside("merge", out, "--json", "--csv", tmp_path / "t.csv")
    jsonschema.validate(merged.json, json_schema(Merged))
    assert merged.code == 1 and [case["name"] for case in merged.json["cases"] if case["status"] != "ok"] == [
        "P4"
    ]
    rows = {row["case"]: row for row in csv.DictReader((tmp_path / "t.csv").open())}
    assert rows["P0"]["synthetic"] == "yes" and told[0]["study"]["synthetic"] is True
    assert rows["P0"]["result"] == "ok" and 0 < float(rows["P0"]["low"]) <= float(rows["P0"]["probability"])
    assert rows["P3"]["probability"] == rows["P4"]["t2w lesion (ml)"] == ""  # absent, never zero
    assert float(rows["P3"]["t2w lesion (ml)"]) == 0


def test_what_is_finished_and_unchanged_is_left_alone(
    scanside: Command, bundle: Path, studies: Path, tmp_path: Path
) -> None:
    own, out = tmp_path / "own", tmp_path / "out"
    for name in ("P0", "P1"):
        shutil.copytree(studies / name, own / name)
    run = ("run", bundle, own, "-o", out, *CPU)
    assert scanside(*run).code == 0
    before = stamps(out)
    again = scanside(*run)
    assert again.code == 1 and "already; go on with --resume" in again.err
    done = scanside(*run, "--resume")
    assert done.code == 0 and stamps(out) == before and "0 case(s) to do, 2 finished" in done.err
    write_nifti(own / "P1", TinyStudy(seed=9))  # other images
    assert scanside(*run, "--resume").code == 0
    assert stamps(out)["P0"] == before["P0"] and stamps(out)["P1"] != before["P1"]
    (out / "P0" / "dwi_overlay.png").unlink()
    assert scanside(*run, "--resume").code == 0 and (out / "P0" / "dwi_overlay.png").exists()
    mask = out / "P0" / "t2w_mask.nii.gz"
    mask.write_bytes(mask.read_bytes() + b"corrected")
    refused = scanside(*run, "--resume")
    assert refused.code == 1 and "t2w_mask.nii.gz was changed after" in refused.err
    assert mask.read_bytes().endswith(b"corrected")


@pytest.mark.slow
def test_a_folder_of_studies_that_is_killed_goes_on(bundle: Path, tmp_path: Path) -> None:
    """SIGKILL in the middle, with a torn last line: each study is there once."""
    for index in range(4):
        write_nifti(tmp_path / "in" / f"P{index}", TinyStudy(seed=index))
    out = tmp_path / "out"
    program = [sys.executable, "-m", "scanside.runtime.cli.main", "run", str(bundle), str(tmp_path / "in"),
               "-o", str(out), *CPU, "--resume"]  # fmt: skip
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(program, stderr=quiet, stdout=quiet)
    deadline = time.monotonic() + 120
    while len(stamps(out)) < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {line["name"] for line in lines(out)}
    assert len(finished) < 4
    kept = {name: at for name, at in stamps(out).items() if name in finished}
    with (out / REPORT).open("a") as report:
        report.write('{"schema": "scanside.case/1", "name": "P3", "sta')
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    now = stamps(out)
    assert {name: now[name] for name in kept} == kept and len(now) == 4
    whole = [json.loads(line) for line in (out / REPORT).read_text().splitlines() if line.endswith("}")]
    assert Counter(line["name"] for line in whole if "name" in line) == Counter(
        {f"P{i}": 1 for i in range(4)}
    )
    assert {path.name for path in out.iterdir()} == {
        REPORT,
        *(f"P{i}" for i in range(4)),
    }  # nothing half-written


@pytest.mark.slow
def test_the_template_for_slurm_does_every_study(
    scanside: Command, bundle: Path, studies: Path, tmp_path: Path
) -> None:
    program = tmp_path / "bin" / "scanside"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m scanside.runtime.cli.main "$@" --device cpu\n')
    program.chmod(0o755)
    out = tmp_path / "out"
    for index in ("1", "2"):
        facts = {"SLURM_ARRAY_TASK_ID": index, "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1",
                 "PATH": f"{program.parent}:{os.environ['PATH']}"}  # fmt: skip
        subprocess.run(
            ["bash", str(TEMPLATES / "slurm.sbatch"), str(bundle), str(studies), str(out), "run", "--studies"],
            env=os.environ | facts, check=False,
        )  # fmt: skip
    assert {line["name"] for line in lines(out)} == {f"P{index}" for index in range(5)}
    assert not scanside("merge", out, "--json").json["parts_missing"]


def test_wrong_options_are_refused_before_anything_is_opened(
    scanside: Command, bundle: Path, studies: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    one = scanside("run", bundle, studies / "P0", "-o", out, "--resume")
    assert one.code == 2 and "add --studies" in one.err
    assert scanside("run", bundle, studies, "-o", out, *CPU, "--json").code == 2
    assert scanside("run", bundle, studies, "-o", studies, *CPU).code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    none = scanside("run", bundle, empty, "-o", out, *CPU)
    assert none.code == 5 and "holds no folder, so no study" in none.err
    assert not out.exists()
