"""Steps in processes of their own, and their progress in words and on disk."""

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scanside.runtime.errors import CaseError
from scanside.training.segmentation.process import Steps, environment, run_step
from scanside.training.segmentation.progress import Progress, minutes
from tests.training.segmentation.small import T2W


def test_planning_gets_a_worker_and_training_may_have_none(tmp_path: Path) -> None:
    train = environment(tmp_path, replace(T2W, threads=2), "train")
    assert train["nnUNet_n_proc_DA"] == "0" and train["OMP_NUM_THREADS"] == "2"
    assert environment(tmp_path, T2W, "prepare")["nnUNet_n_proc_DA"] == "1"
    assert Path(train["nnUNet_raw"]) == tmp_path.resolve() / "raw"


def test_a_step_that_fails_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="does not hold the settings") as caught:
        run_step(tmp_path, T2W, "prepare", lambda message: None)
    log = tmp_path / "log" / "prepare.txt"
    assert str(log) in str(caught.value) and "Traceback" in log.read_text()


def test_a_worker_that_has_ended_is_started_again_for_the_next_step(tmp_path: Path) -> None:
    with Steps(tmp_path, T2W) as steps:
        for step in ("prepare", "postprocess"):
            with pytest.raises(CaseError, match="does not hold the settings"):
                steps.run(step, lambda message: None)
            assert "Traceback" in (tmp_path / "log" / f"{step}.txt").read_text()


def test_a_step_ends_when_its_parent_stops_listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for nnU-Net tells its process id and then would sleep for a minute."""
    (tmp_path / "sitecustomize.py").write_text(
        "import json, os, sys, time\n"
        "if os.environ.get('SLEEPER'):\n"
        "    print(json.dumps({'pid': os.getpid()}), flush=True)\n"
        "    time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("SLEEPER", "1")
    children: list[int] = []

    def interrupt(message: dict[str, Any]) -> None:
        children.append(message["pid"])
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_step(tmp_path, T2W, "prepare", interrupt)
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(children[0], 0)


def test_words_with_the_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("dwi", 3, tmp_path / "progress.jsonl")
    progress.start_fold("1", after=1)
    progress({"event": "network", "parameters": 306800, "begun": False})
    epoch = {"event": "epoch", "epochs": 11, "loss": -0.25, "dice": 0.5, "seconds": 12.0}
    progress({**epoch, "epoch": 1})
    words = capsys.readouterr().err.splitlines()
    assert progress.parameters == 306800 and "306,800" in words[0]
    assert "epoch 1 of 11: loss -0.250, pseudo Dice 0.500; 2.0 min left in this fold, 4.2 min" in words[1]
    assert minutes(89) == "89 s" and minutes(90) == "1.5 min"


def test_progress_outlives_an_interruption(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    first = Progress("dwi", 3, file)
    first.start_fold("1", after=1)
    first({"event": "network", "parameters": 306800, "begun": False})
    epoch = {"event": "epoch", "epochs": 2, "loss": -0.25, "dice": 0.5, "seconds": 12.0}
    first({**epoch, "epoch": 1})
    first({**epoch, "epoch": 2})
    with first.measure("fold 1"):
        pass
    with pytest.raises(KeyboardInterrupt), first.measure("fold 2"):
        raise KeyboardInterrupt
    with file.open("a") as stream:
        stream.write('{"event": "epo')
    second = Progress("dwi", 3, file)
    assert second.parameters == 306800 and second.seconds == [12.0, 12.0] and set(second.steps) == {"fold 1"}
    second.start_fold("1", after=1)
    second({**epoch, "epoch": 2, "dice": 0.75})
    points = [{"epoch": 1, "loss": -0.25, "dice": 0.5}, {"epoch": 2, "loss": -0.25, "dice": 0.75}]
    assert second.curves == {"1": points} and Progress("dwi", 3, file).curves == {"1": points}
