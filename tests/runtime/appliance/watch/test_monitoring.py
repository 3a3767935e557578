"""Months against commissioning: what is counted, what limits are, which shifts are found, how rare false alarms are."""

import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from scanside.runtime.appliance.config import Config, Service, Watch, load_config
from scanside.runtime.appliance.store import intake, jobs, retention, trends, verdicts
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Instance, Outcome, Patient
from scanside.runtime.appliance.store.trends import Finished
from scanside.runtime.appliance.watch.drift import last_month, read_monitoring
from scanside.runtime.appliance.watch.metrics import collector
from scanside.runtime.appliance.watch.monitoring import Monitoring, as_text, monitor
from scanside.runtime.cli.main import run

SINCE, COMMISSIONED = date(2026, 4, 1), (date(2026, 1, 1), date(2026, 3, 31))
VOLUME = "t2w lesion: volume"


def at(day: date, hour: int = 12) -> float:
    return datetime(day.year, day.month, day.day, hour).timestamp()


def finished(day: date, status: str = "ok", scanner: str = "MR1", **more: Any) -> Finished:
    fields: dict[str, Any] = {"reason_code": None, "reason": None, "verdict": None, "figures": {}}
    return Finished(scanner, at(day), status, **{**fields, **more})


def results(seed: int, number: int, day: date, mean: float = 5.0, bad: float = 0.2) -> list[Finished]:
    random = np.random.default_rng(seed)
    return [
        finished(
            day,
            "indeterminate" if random.random() < bad else "ok",
            figures={VOLUME: float(random.normal(mean, 1.0))},
        )
        for _ in range(number)
    ]


def test_months_scanners_refusals_and_verdicts_are_counted() -> None:
    april, may = date(2026, 4, 30), date(2026, 5, 1)
    found = monitor(
        [
            finished(april, figures={VOLUME: 4.0}),
            finished(april, figures={VOLUME: 6.0}, verdict="accepted"),
            finished(april, "unsuitable input", reason_code="input-refused", reason="A slice is missing."),
            finished(april, "unsuitable input", reason="An older sentence."),
            finished(may, verdict="false lesion"),
            finished(april, scanner="MR2"),
        ],
        SINCE,
        None,
    )
    assert [(one.month, one.scanner, one.results) for one in found.months] == [
        ("2026-04", "MR1", 4),
        ("2026-04", "MR2", 1),
        ("2026-05", "MR1", 1),
    ]
    first = found.months[0]
    assert first.statuses == {"ok": 2, "unsuitable input": 2}
    assert first.refusals == {"input-refused": 1, "An older sentence.": 1}
    assert first.verdicts == {"accepted": 1} and found.months[2].verdicts == {"false lesion": 1}
    trend = {one.name: one for one in first.trends}
    assert trend[f"mean {VOLUME}"].value == 5.0 and trend[f"mean {VOLUME}"].results == 2
    assert trend["share of unsuitable input"].value == 0.5
    assert trend["share of results that readers rejected"].value == 0.0
    assert found.alarms == () and all(one.limit is None for one in first.trends)
    assert "No limits" in as_text(found) and Monitoring.model_validate_json(found.text()) == found


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"mean": 7.0}, f"mean {VOLUME}"),
        ({"mean": 3.0}, f"mean {VOLUME}"),
        ({"bad": 0.8}, "share of indeterminate"),
    ],
)
def test_a_shift_is_an_alarm(change: dict[str, float], name: str) -> None:
    baseline = results(1, 60, date(2026, 2, 1))
    assert monitor(results(2, 30, date(2026, 4, 2)), SINCE, COMMISSIONED, baseline).alarms == ()
    (alarm,) = monitor(results(2, 30, date(2026, 4, 2), **change), SINCE, COMMISSIONED, baseline).alarms
    assert alarm.startswith(f"MR1, 2026-04: {name} is ") and "30 results" in alarm


def test_few_results_are_not_judged() -> None:
    wrong = results(2, 4, date(2026, 4, 2), mean=50.0)
    assert monitor(wrong, SINCE, COMMISSIONED, results(1, 60, date(2026, 2, 1))).alarms == ()
    wrong = results(2, 40, date(2026, 4, 2), mean=50.0)
    assert monitor(wrong, SINCE, COMMISSIONED, results(1, 19, date(2026, 2, 1))).alarms == ()
    other = [finished(date(2026, 2, 1), scanner="MR2", figures={VOLUME: 5.0}) for _ in range(60)]
    assert monitor(wrong, SINCE, COMMISSIONED, other).alarms == (), "limits are of the scanner itself"


def test_false_alarms_are_as_rare_as_three_standard_errors() -> None:
    months = 400
    alarms = sum(
        len(
            monitor(
                results(2 * n, 20, date(2026, 4, 2)),
                SINCE,
                COMMISSIONED,
                results(2 * n + 1, 40, date(2026, 2, 1)),
            ).alarms
        )
        for n in range(months)
    )
    assert alarms <= 0.02 * months, "a mean and five shares a month"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config(
        service=Service(data=tmp_path / "data", bundle=tmp_path, research_use_only=True),
        watch=Watch(commissioned=COMMISSIONED),
    )
    Database(made.database, create=True).close()
    return made


def _put(config: Config, number: int, day: date, volume: float, **more: Any) -> str:
    """A study that was received, computed and finished that day."""
    with Database(config.database) as db:
        one = Instance(f"1.2.{number}.9", f"1.2.{number}", f"1.2.{number}.3", "x", "a" * 64, 1)
        intake.add_instance(
            db, one, association="a", calling="MR1", patient=Patient("1", "A"), most=9, now=at(day, 1)
        )
        intake.close_association(db, "a", at(day, 1))
        (case_id,) = intake.complete_studies(db, quiet_seconds=0, series=None, now=at(day, 2))
        job = jobs.claim(db, "w", at(day, 3))
        assert job is not None
        done = Outcome("ok", None, None, None, None, "c/1", {}, (), figures={VOLUME: volume}, **more)
        jobs.succeed(db, job.job, done, hold=False, now=at(day))
    return case_id


def test_the_store_keeps_what_a_result_measured(config: Config) -> None:
    case_id = _put(config, 1, date(2026, 4, 2), 5.0)
    _put(config, 2, date(2026, 3, 31), 6.0)
    with Database(config.database) as db:
        verdicts.mark(db, 1, "false lesion", None, "user ann")
        (found,) = trends.finished(db, at(date(2026, 4, 1), 0))
        assert (found.scanner, found.status, found.verdict) == ("MR1", "ok", "false lesion")
        assert found.figures == {VOLUME: 5.0}
        assert len(trends.finished(db, 0.0)) == 2
        assert len(trends.finished(db, 0.0, at(date(2026, 4, 1), 0))) == 1
        retention.forget_now(db, case_id, "user ann")
        assert db.rows("SELECT count(*) FROM measures")[0][0] == 1, "what a person has forgotten is gone"
    assert read_monitoring(config, SINCE).months[0].results == 1


def test_report_and_metrics_tell_of_drift(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(24):
        _put(config, number, date(2026, 2, 3), 5.0 + 0.1 * (number % 3))
    for number in range(6):
        _put(config, 100 + number, date(2026, 4, 2), 9.0)
    path = tmp_path / "scanside.toml"
    path.write_text(
        f'[service]\ndata = "{config.service.data}"\nbundle = "b"\nresearch_use_only = true\n'
        "[watch]\ncommissioned = [2026-01-01, 2026-03-31]\n"
    )
    assert load_config(path).watch.commissioned == COMMISSIONED
    assert run(["report", "-c", str(path), "--since", "2026-04-01"]) == 1
    told = capsys.readouterr().out
    assert told.startswith(f"! MR1, 2026-04: mean {VOLUME} is 9, outside")
    assert run(["report", "-c", str(path), "--since", "2026-05-01", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["months"] == []
    assert run(["report", "-c", str(path), "--since", "yesterday"]) == 2

    monkeypatch.setattr("scanside.runtime.appliance.watch.drift.last_month", lambda _: SINCE)
    assert _metric(config) == 1.0
    unwatched = config.model_copy(update={"watch": Watch()})
    assert _metric(unwatched) is None, "absent, not zero, where nothing is watched"


def _metric(config: Config) -> float | None:
    registry = CollectorRegistry()
    registry.register(collector(config))
    text = generate_latest(registry).decode()
    lines = [line for line in text.splitlines() if line.startswith("scanside_drift_alarms ")]
    return float(lines[0].split()[1]) if lines else None


@pytest.mark.parametrize(
    ("today", "first"), [(date(2026, 1, 31), date(2025, 12, 1)), (date(2026, 3, 1), date(2026, 2, 1))]
)
def test_the_month_before(today: date, first: date) -> None:
    assert last_month(today) == first


def test_days_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="ends before it begins"):
        Watch(commissioned=(date(2026, 2, 1), date(2026, 1, 1)))
