"""The demonstration: the first synthetic patient is on the screen as soon as it can be."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scanside.tui.demo.service import Demo, complete, demo_bundle


class Child:
    """A process that goes on."""

    def __init__(self, ended: threading.Event | None = None) -> None:
        self._ended = ended

    def poll(self) -> int | None:
        return 0 if self._ended is not None and self._ended.is_set() else None

    def wait(self, seconds: float | None = None) -> int:
        return 0

    def terminate(self) -> None:
        pass


def test_a_patient_is_sent_when_its_images_are_complete_not_when_the_next_one_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for the second patient, which cost seven of the first fifteen seconds."""
    started: list[tuple[str, ...]] = []
    lasting: list[str] = []
    sent, making = threading.Event(), threading.Event()

    def run(self: Demo, log: str, module: str, *arguments: str) -> Child:
        started.append((module, *arguments))
        if threading.current_thread() is threading.main_thread():
            lasting.append(log)
        if arguments[:1] == ("send",):
            sent.set()
        return Child(making)

    monkeypatch.setattr(Demo, "_run", run)
    demo = Demo(tmp_path, demo_bundle())
    demo.start()
    try:
        assert started[0][1] == "phantom", "nothing comes before the first patient"
        images = tmp_path / "patients" / "phantom-0001"
        (images / "t2w").mkdir(parents=True)
        assert not sent.wait(0.3), "its images are not complete"
        for role in ("t2w", "dwi"):
            (images / f"{role}_mask.nii.gz").touch()
        assert sent.wait(20)
        assert str(images) in started[-1]
        assert lasting == ["phantom.log", "serve.log", "archive.log"], (
            "children end with the thread that made them"
        )
    finally:
        making.set()
        demo.stop()


@pytest.mark.slow
def test_the_masks_of_a_patient_are_written_last(tmp_path: Path) -> None:
    """What `complete` rests upon, with the real command."""
    cohort = tmp_path / "patients"
    command = [
        "phantom",
        str(cohort),
        "--patients",
        "1",
        "--train",
        "0",
        "--seed",
        "5",
        "--dicom",
        "--jobs",
        "1",
    ]
    child = subprocess.Popen([sys.executable, "-m", "scanside.runtime.cli.main", *command])
    patient = cohort / "phantom-0001"
    while not complete(patient):
        assert child.poll() in (None, 0)
        time.sleep(0.05)
    assert {path.name for path in patient.iterdir() if path.is_dir()} == {"t2w", "dwi", "b0", "adc"}
    assert child.wait(60) == 0


def test_the_terminal_does_not_wait_for_a_service_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()
    ended.set()
    monkeypatch.setattr(Demo, "_run", lambda self, *arguments: Child(ended))
    demo = Demo(tmp_path, demo_bundle())
    demo.start()
    (tmp_path / "serve.log").write_text("scanside: the bundle is not there.\n")
    from scanside.runtime.appliance.config import load_config
    from scanside.runtime.errors import UsageError

    with pytest.raises(UsageError, match="the bundle is not there"):
        demo.wait_until_ready(load_config(demo.config))
    demo.stop()
