"""What changed since another run: outcomes, exact figures, durations beyond noise; charts; records that are refused."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from scanside.runtime.acceptance.charts import chart, charts
from scanside.runtime.acceptance.compare import Series, constancy, limits, times_over
from scanside.runtime.acceptance.files import earlier_reports, last_report, read_report, write_report
from scanside.runtime.acceptance.record import Check, Report, count, failed, not_done, passed, seconds
from scanside.runtime.cli.main import run
from scanside.runtime.errors import InputError
from scanside.runtime.signing import SignatureError, SigningKey
from scanside.runtime.trust import Trust, TrustedKey
from tests.runtime.acceptance.site import configure


def report(day: int, time: float = 2.0, voxels: int = 100, **other: object) -> Report:
    """A run; `time` is the middle of its durations."""
    random = np.random.default_rng(day)
    values = (time + random.normal(0, 0.05, 6)).tolist()
    made = Report(
        started=f"2026-{1 + day // 28:02d}-{1 + day % 28:02d}T03:00:00+00:00",
        finished=f"2026-{1 + day // 28:02d}-{1 + day % 28:02d}T03:10:00+00:00",
        by="A. Physicist",
        machine={"host": "mr2", "processor": "P", "cores": "8"},
        versions={"scanside": "1", "numpy": "2.0"},
        licences={},
        bundle={"name": "b", "version": "1", "sha256": "0" * 64},
        settings={"device": "cpu"},
        synthetic=True,
        notice="Research use only.",
        checks=(
            passed("geometry", "t2w", "As meant.", count("ball: voxels", voxels)),
            passed("load", "latency", "Fast.", seconds("computing", *values)),
            not_done("record", "signature", "No key was given."),
        ),
    )
    return made.model_copy(update=other)


def outcomes(checks: tuple[Check, ...]) -> dict[str, str]:
    return {check.name: check.result.outcome for check in checks}


def test_nothing_changed() -> None:
    found = outcomes(constancy(report(0), report(28)))
    assert found == dict.fromkeys(("setup", "outcomes", "voxels, volumes and features", "times"), "passed")


def test_a_voxel_less_and_nothing_to_explain_it() -> None:
    found = {check.name: check for check in constancy(report(0), report(28, voxels=99))}
    wrong = found["voxels, volumes and features"]
    assert (
        wrong.result.outcome == "failed" and "100 → 99" in wrong.sentence and "stop using" in wrong.sentence
    )
    newer = report(28, voxels=99, versions={"scanside": "2", "numpy": "2.0"})
    found = {check.name: check for check in constancy(report(0), newer)}
    assert found["voxels, volumes and features"].result.outcome == "failed"
    assert "commission the installation anew" in found["voxels, volumes and features"].sentence
    assert "scanside: 1 before, 2 now" in found["setup"].sentence


def test_what_passed_before_and_fails_now() -> None:
    now = report(28)
    worse = now.model_copy(
        update={"checks": (failed("geometry", "t2w", "It moved.", "Stop."), *now.checks[1:])}
    )
    assert outcomes(constancy(report(0), worse))["outcomes"] == "failed"
    gone = now.model_copy(update={"checks": now.checks[1:]})
    assert outcomes(constancy(report(0), gone))["outcomes"] == "failed"


def test_times_beyond_noise_by_ranks_and_by_the_chart() -> None:
    assert outcomes(constancy(report(0), report(1, 2.05)))["times"] == "passed"
    assert outcomes(constancy(report(0), report(1, 3.0)))["times"] == "failed"
    assert outcomes(constancy(report(0), report(1, 1.0)))["times"] == "passed", "faster is no fault"
    elsewhere = report(1, 3.0, settings={"device": "openvino"})
    assert outcomes(constancy(report(0), elsewhere))["times"] == "not done", "another device has other times"
    earlier = tuple(report(day) for day in range(8))
    assert outcomes(constancy(earlier[-1], report(9), earlier))["times"] == "passed"
    slow = {check.name: check for check in constancy(earlier[-1], report(9, 2.4), earlier)}["times"]
    assert slow.result.outcome == "failed" and "limit" in slow.sentence


def test_limits_are_those_of_the_textbook() -> None:
    """Montgomery, Introduction to Statistical Quality Control, 6.4: mean ± 3 MR/1.128."""
    values = [5.0, 7.0, 4.0, 6.0, 5.0, 8.0]
    found = limits(values)
    ranges = float(np.abs(np.diff(values)).mean())
    assert found is not None and found.middle == pytest.approx(np.mean(values))
    assert found.high - found.middle == pytest.approx(3 * ranges / 1.128, rel=1e-3)
    assert limits(values[:4]) is None


def test_false_alarms_are_rare() -> None:
    """On runs that differ by noise alone."""
    alarms = sum(
        outcomes(constancy(report(start), report(start + 1)))["times"] == "failed" for start in range(200)
    )
    assert alarms <= 4


def test_charts_are_drawn_from_all_runs() -> None:
    runs = [report(day) for day in range(6)] + [report(7, 9.0)]
    section = charts(runs)
    pictures = [part.split("</svg>")[0] + "</svg>" for part in section.split("<figure>")[1:]]
    trees = [ElementTree.fromstring("<svg" + picture.split("<svg", 1)[1]) for picture in pictures]
    assert len(trees) == 2 and all(len(tree.findall("circle")) == 7 for tree in trees)
    assert "#b3261e" in pictures[1] and "#b3261e" not in pictures[0], "the slow run stands out"
    assert charts(runs[:1]) == ""
    (series,) = times_over(runs)
    assert [day for day, _ in series.points] == [run.started for run in runs]
    assert "NaN" not in chart(Series("flat", "1", (("2026-01-01", 0.0), ("2026-02-01", 0.0))))


def test_records_are_kept_signed_and_found(tmp_path: Path) -> None:
    key, other = SigningKey.new(), SigningKey.new()
    for day in (3, 1, 2):
        page = write_report(report(day), tmp_path, key)
    assert [run.started for run in earlier_reports(tmp_path)] == [report(day).started for day in (1, 2, 3)]
    path = last_report(tmp_path)
    trust = Trust(keys=(TrustedKey(name="physics", key=key.public),))
    assert read_report(path, trust) == report(3)
    with pytest.raises(InputError, match=r"no key that \[trust\] names"):
        read_report(path, Trust(keys=(TrustedKey(name="physics", key=other.public),)))
    record = json.loads(path.read_text())
    record["checks"][0]["result"]["found"] = "Perfect."
    path.write_text(json.dumps(record))
    with pytest.raises(SignatureError, match="not what was signed"):
        read_report(path)
    assert len(earlier_reports(tmp_path)) == 2 and page.with_name(f"{page.name}.sig").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "scanside.acceptance/2"}'])
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "acceptance-1.json"
    path.write_text(text)
    with pytest.raises(InputError, match="not the record of an acceptance"):
        read_report(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_report(tmp_path / "nothing.json")


def test_the_command_signs_compares_and_refuses(
    tmp_path: Path, proven: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of the command but the checks of the site, which test_accept.py has."""
    configure(tmp_path, proven)
    SigningKey.new().write(tmp_path / "physics.key")
    runs = iter([report(1), report(2), report(3, voxels=99)])
    monkeypatch.setattr("scanside.runtime.acceptance.run.accept", lambda *_: next(runs))
    words = ["accept", "-c", str(tmp_path / "scanside.toml"), "-o", str(tmp_path / "out")]
    assert run([*words, "--compare", "last"]) == 5, "nothing to compare with yet"
    assert run([*words, "--key", str(tmp_path / "physics.key")]) == 0
    assert len(list((tmp_path / "out").glob("*.sig"))) == 2, "record and page"
    assert run([*words, "--compare", "last"]) == 0
    capsys.readouterr()
    assert run([*words, "--compare", str(next((tmp_path / "out").glob("*.json")))]) == 1
    told = capsys.readouterr().out
    assert "FAILED constancy: voxels, volumes and features" in told and "100 → 99" in told
    page = max((tmp_path / "out").glob("*.html")).read_text()
    assert "Over all 3 runs" in page and "Against an earlier run" in page
