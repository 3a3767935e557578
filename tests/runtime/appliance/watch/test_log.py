"""The log in a process of its own: every line JSON, and nothing of a patient in any of them."""

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from scanside.runtime.appliance.watch.log import redact

pytestmark = pytest.mark.requirement("no-patient-data")

STUDY = "1.2.826.0.1.3680043.8.498.4711"
SECRETS = ("Doe", "Ann", "PID-0815", STUDY, "19630412")

START = """
import logging, sys, threading, warnings
from scanside.runtime.appliance.watch.log import start_log
from scanside.runtime.errors import InputError
start_log("INFO", "work")
log = logging.getLogger("scanside.work")
"""


def logged(code: str) -> list[dict[str, Any]]:
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", START + code], capture_output=True, text=True, env=environment
    )
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_line_has_time_level_process_logger_case_and_job() -> None:
    (line,) = logged('log.info("stage %s takes %d s", "read", 3, extra={"case": "ABCDE-FGHIJ", "job": 7})')
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "INFO", "process": "work", "logger": "scanside.work", "message": "stage read takes 3 s",
        "case": "ABCDE-FGHIJ", "job": 7,
    }  # fmt: skip


def test_nothing_of_a_patient_gets_through() -> None:
    code = f"""
from pydicom.dataset import Dataset
study = Dataset()
study.StudyInstanceUID, study.PatientName, study.PatientID = "{STUDY}", "Doe^Ann", "PID-0815"
log.warning("study %s refused", study.StudyInstanceUID, extra={{"case": "{STUDY}"}})
log.warning("derived 2.25.329800735698586629295641978511506172918")
try:
    raise ValueError(f"bad name {{study.PatientName}} {{study.PatientID}}")
except ValueError as error:
    log.exception("reading failed")
    log.error("reading failed: %s", error)
    try:
        raise InputError("the instance {STUDY}.1 is refused.") from error
    except InputError as ours:
        log.error("%s", ours, exc_info=True)
logging.getLogger("pynetdicom.acse").warning("association of %s", study.PatientName)
logging.getLogger("pynetdicom.acse").info("association of %s", study.PatientName)
logging.getLogger("pydicom").error(f"odd value {{study.PatientID}}")
warnings.warn(f"value 19630412 of {{study.PatientName}} is odd")
study.PatientBirthDate = "19630412 is no date of Ann"
thread = threading.Thread(target=lambda: int(str(study.PatientName)))
thread.start()
thread.join()
raise RuntimeError(f"{{study.PatientID}}")
"""
    lines = logged(code)
    text = json.dumps(lines)
    assert not [secret for secret in SECRETS if secret in text], text
    messages = [line["message"] for line in lines]
    assert messages[:2] == ["study [uid] refused", "derived [uid]"] and lines[0]["case"] == "[uid]"
    assert lines[2]["error"]["type"] == "ValueError" and "message" not in lines[2]["error"]
    assert messages[3] == "reading failed: ValueError"
    assert lines[4]["error"]["message"] == "the instance [uid] is refused."
    assert [m for m in messages if m.startswith("message withheld")]
    assert [line["error"]["type"] for line in lines if line["level"] == "CRITICAL"] == [
        "ValueError",
        "RuntimeError",
    ]
    assert not [line for line in lines if line["level"] == "INFO"], "libraries speak from WARNING on"


def test_an_exception_names_its_place_in_our_code() -> None:
    (line,) = logged(
        "from pathlib import Path\nfrom scanside.runtime.appliance.config import load_config\n"
        "try:\n    load_config(Path('/nowhere'))\nexcept InputError: pass\n"
        "except Exception:\n    log.exception('no configuration')"
    )
    assert line["error"]["type"] == "UsageError" and line["error"]["at"].startswith("document.py:")
    assert line["error"]["cause"] == "FileNotFoundError" and "/nowhere" in line["error"]["message"]


def test_the_level_is_obeyed() -> None:
    levels = [line["level"] for line in logged('log.debug("a"); log.info("b"); log.error("c")')]
    assert levels == ["INFO", "ERROR"]


@given(st.integers(0, 10**9))
def test_uids_are_replaced_wherever_they_stand(seed: int) -> None:
    uid = str(generate_uid(entropy_srcs=[str(seed)]))
    assert redact(f"'{uid}', ({uid}) {uid}/x_{uid}.dcm") == "'[uid]', ([uid]) [uid]/x_[uid].dcm"


@pytest.mark.parametrize(
    "text", ["from 10.20.30.41 port 11112", "version 2.3.4", "b=800.5 s/mm2", "0.5 1.25", "1.2.3"]
)
def test_addresses_and_numbers_stay(text: str) -> None:
    assert redact(text) == text
