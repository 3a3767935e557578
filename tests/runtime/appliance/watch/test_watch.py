"""Metrics, health and heartbeats over a real store, and what they say when it is gone."""

import json
import re
import shutil
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scanside.runtime.appliance.config import Config, DicomDestination, Receive, Service, Watch
from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.store import database as database_module
from scanside.runtime.appliance.store import intake, jobs, orders, outbox
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Instance, Made, Outcome, Patient
from scanside.runtime.appliance.watch import metrics as metrics_module
from scanside.runtime.appliance.watch.counts import BUCKETS, MOST_LABELS, History, Stage, read_counts
from scanside.runtime.appliance.watch.health import examine
from scanside.runtime.appliance.watch.heartbeat import STALE_SECONDS, alive, beat
from scanside.runtime.appliance.watch.http import open_server, serve_watch
from tests.support.reports import no_lesion

PACS = DicomDestination(name="pacs", ae_title="PACS", host="127.0.0.1", port=104)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(metrics_module, "_KEEP_SECONDS", 0.0)
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.2)
    (tmp_path / "data").mkdir()
    service = Service(data=tmp_path / "data", bundle=tmp_path / "none.bundle", research_use_only=True)
    return Config(service=service, receive=Receive(reserve_gb=0), destinations=(PACS,))


@pytest.fixture
def db(config: Config) -> Iterator[Database]:
    with Database(config.database, create=True) as opened:
        yield opened


@pytest.fixture
def address(config: Config) -> Iterator[str]:
    server = open_server(config, ("127.0.0.1", 0))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    announced = json.loads((config.service.data / "watch.port").read_text())
    yield f"http://{announced['host']}:{announced['port']}"
    server.shutdown()
    server.server_close()


def get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(address: str) -> dict[tuple[str, ...], float]:
    code, text = get(address, "/metrics")
    assert code == 200
    return samples(text)


def study(db: Database, number: int, now: float) -> None:
    uid = f"1.2.840.99.{number}"
    instance = Instance(f"{uid}.1", uid, f"{uid}.2", "x", "a" * 64, 10)
    patient = Patient(f"PID-{number}", "Doe^Ann")
    intake.add_instance(db, instance, association="a", calling="MR1", patient=patient, most=9, now=now)
    intake.close_association(db, "a", now=now)
    intake.complete_studies(db, quiet_seconds=0, series=None, now=now)


def finish(config: Config, db: Database, status: str, ms: float) -> int:
    job = jobs.claim(db, "w")
    assert job is not None
    folder = f"{job.case_id}/{job.job}"
    (config.results / folder).mkdir(parents=True)
    (config.results / folder / "result.json").write_text(no_lesion().text())
    made = Made("sr", "1.2.840.10008.5.1.4.1.1.88.34", f"7.{job.job}", f"{folder}/sr.dcm")
    outcome = Outcome(status, None, None, None, None, folder, {"read": ms}, (("pacs", made),))
    jobs.succeed(db, job.job, outcome, hold=False)
    return job.job


def test_metrics_tell_what_is_in_the_store(config: Config, db: Database, address: str) -> None:
    for name in NAMES:
        beat(config, name)
    now = time.time()
    for number in range(4):
        study(db, number, now - 100)
    finish(config, db, "ok", 2500)
    finish(config, db, "indeterminate", 50)
    failing = jobs.claim(db, "w")
    assert failing is not None
    jobs.fail(db, failing.job, "timeout", "too long", tries=3, backoff=0)
    found = scrape(address)
    assert found[("scanside_store_up",)] == 1
    assert found[("scanside_jobs", "queued")] == 2 and found[("scanside_jobs", "sending")] == 2
    assert found[("scanside_jobs", "done")] == 0
    assert found[("scanside_outbox_objects", "pacs", "waiting")] == 2
    assert found[("scanside_outbox_objects", "pacs", "committed")] == 0
    assert found[("scanside_failures_total", "timeout")] == 1
    assert found[("scanside_results", "ok")] == found[("scanside_results", "indeterminate")] == 1
    assert found[("scanside_studies_received_total",)] == 4
    assert found[("scanside_stage_seconds_count", "read")] == 2
    assert found[("scanside_stage_seconds_sum", "read")] == pytest.approx(2.55)
    assert found[("scanside_stage_seconds_bucket", "0.1", "read")] == 1
    assert found[("scanside_stage_seconds_bucket", "3", "read")] == 2
    assert found[("scanside_device_info", "auto", "cpu")] == 1
    assert 100 <= found[("scanside_oldest_job_seconds",)] < 200
    assert found[("scanside_process_up", "work")] == 1
    assert 0 < found[("scanside_data_free_bytes",)] <= found[("scanside_data_size_bytes",)]
    assert found[("scanside_audit_entries_total",)] == db.rows("SELECT count(*) FROM audit")[0][0]


def test_counters_grow_by_what_is_new_alone(config: Config, db: Database, address: str) -> None:
    before = scrape(address)
    assert ("scanside_stage_seconds_count", "read") not in before
    for number in range(3):
        study(db, number, time.time())
        finish(config, db, "ok", 10)
        assert scrape(address)[("scanside_stage_seconds_count", "read")] == number + 1
    outbox.stored(db, outbox.due(db, "pacs"), commitment=False)
    found = scrape(address)
    assert found[("scanside_outbox_objects", "pacs", "delivered")] == 3
    assert found[("scanside_jobs", "done")] == 3 and found[("scanside_oldest_delivery_seconds",)] == 0


@pytest.mark.requirement("no-patient-data")
def test_no_patient_data_are_served(config: Config, db: Database, address: str) -> None:
    study(db, 1, time.time())
    finish(config, db, "ok", 1)
    text = get(address, "/metrics")[1] + get(address, "/health")[1]
    assert not [word for word in ("Doe", "PID-1", "1.2.840.99.1") if word in text]


def test_kinds_of_failure_stay_bounded(config: Config, db: Database) -> None:
    study(db, 1, time.time())
    for number in range(MOST_LABELS + 5):
        job = jobs.claim(db, "w", time.time() + 1e9)
        assert job is not None
        jobs.fail(db, job.job, f"kind{number}", "", tries=10**9, backoff=0)
    failures = read_counts(config, History()).failures
    assert len(failures) == MOST_LABELS + 1 and sum(failures.values()) == MOST_LABELS + 5


def test_a_restored_store_is_read_anew(config: Config, db: Database) -> None:
    history = History()
    study(db, 1, time.time())
    finish(config, db, "ok", 1)
    assert read_counts(config, history).stages["read"].seconds == pytest.approx(0.001)
    db.close()
    for file in config.service.data.glob("scanside.db*"):
        file.unlink()
    Database(config.database, create=True).close()
    assert read_counts(config, history).stages == {}


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.5, 1000.0, 1001.0])
def test_every_duration_falls_into_one_bucket(seconds: float) -> None:
    place = Stage().add(seconds).buckets.index(1)
    assert seconds <= (*BUCKETS, float("inf"))[place] and (place == 0 or seconds > BUCKETS[place - 1])


def damage(config: Config, how: str) -> Any:
    if how == "missing":
        config.database.unlink()
    elif how == "damaged":
        config.database.write_bytes(b"SQLite format 3\0" + bytes(5000))
    elif how == "no folder":
        shutil.rmtree(config.service.data)
    return None


@pytest.mark.parametrize("how", ["missing", "damaged", "no folder"])
def test_without_a_store_the_pages_stay_and_say_so(config: Config, address: str, how: str) -> None:
    Database(config.database, create=True).close()
    damage(config, how)
    assert scrape(address)[("scanside_store_up",)] == 0
    code, text = get(address, "/health")
    assert code == 503 and "the store cannot be read" in json.loads(text)["reasons"]
    assert not config.database.exists() or how == "damaged", "looking must not make a store"


def test_a_locked_store_is_unhealthy_and_still_read(
    config: Config, db: Database, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scanside.runtime.appliance.watch.health._WRITE_SECONDS", 0.05)
    with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        reasons = json.loads(get(address, "/health")[1])["reasons"]
        assert any("cannot be written" in reason for reason in reasons)
        assert scrape(address)[("scanside_store_up",)] == 1
    assert "cannot be written" not in get(address, "/health")[1]


def test_health_is_good_when_everything_is(config: Config, db: Database, bundle_folder: Path) -> None:
    service = config.service.model_copy(update={"bundle": bundle_folder})
    config = config.model_copy(update={"service": service})
    assert {reason.split()[-2] for reason in examine(config)["reasons"]} == {"not"}, "nobody has started"
    for name in NAMES:
        beat(config, name)
    found = examine(config)
    assert found["healthy"] and found["reasons"] == [] and len(found["bundle"]["sha256"]) == 64
    orders.pause_queue(db, True, "test")
    assert examine(config)["notes"] == ["the queue is paused"] and examine(config)["healthy"]


def test_health_names_a_silent_process_a_full_disk_and_a_missing_bundle(config: Config, db: Database) -> None:
    import os

    for name in NAMES:
        beat(config, name)
    old = time.time() - 100
    os.utime(config.service.data / "work.heartbeat", (old, old))
    config = config.model_copy(update={"receive": Receive(reserve_gb=1e9)})
    found = examine(config)
    words = " | ".join(found["reasons"])
    assert not found["healthy"] and len(found["reasons"]) == 3
    assert "process work has been silent" in words and "reserve" in words and "is not a bundle" in words
    assert found["processes"]["work"] > STALE_SECONDS > found["processes"]["receive"]


def test_a_heartbeat_is_young_after_a_beat_and_absent_before(config: Config) -> None:
    assert alive(config, "work") is None
    beat(config, "work")
    age = alive(config, "work")
    assert age is not None and age < STALE_SECONDS
    beat(config, "work")
    assert alive(config, "receive") is None


def test_only_two_pages_exist(address: str) -> None:
    assert get(address, "/")[0] == 404 and get(address, "/metrics/../../etc/passwd")[0] == 404
    request = urllib.request.Request(address + "/metrics", method="POST", data=b"x")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    assert caught.value.code == 501
    caught.value.close()


def test_the_service_goes_on_when_the_port_is_taken(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    taken = open_server(config, ("127.0.0.1", 0))
    stop = threading.Event()
    busy = config.model_copy(update={"watch": Watch(port=taken.server_address[1])})
    thread = threading.Thread(target=serve_watch, args=(busy, stop))
    thread.start()
    deadline = time.monotonic() + 10
    while "cannot be served" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    thread.join(10)
    taken.server_close()
    assert not thread.is_alive() and "cannot be served" in caplog.text


def test_it_serves_until_told_to_stop(config: Config) -> None:
    with open_server(config, ("127.0.0.1", 0)) as probe:
        port = probe.server_address[1]
    stop = threading.Event()
    served = config.model_copy(update={"watch": Watch(port=port)})
    (config.service.data / "watch.port").unlink()
    thread = threading.Thread(target=serve_watch, args=(served, stop))
    thread.start()
    deadline = time.monotonic() + 10
    while not (config.service.data / "watch.port").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert get(f"http://127.0.0.1:{port}", "/metrics")[0] == 200
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_every_metric_is_in_the_documents(config: Config, db: Database, address: str) -> None:
    study(db, 1, time.time())
    finish(config, db, "ok", 1)
    text = (Path(__file__).parents[4] / "docs" / "appliance.md").read_text()
    names = set(re.findall(r"^# TYPE (\S+)", get(address, "/metrics")[1], re.MULTILINE))
    assert len(names) > 15 and not [name for name in names if f"`{name}`" not in text]
