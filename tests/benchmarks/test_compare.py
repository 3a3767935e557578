"""`bench compare`: what counts as slower, and what makes runs hard to compare."""

import json
from pathlib import Path

import pytest

from scanside.benchmarks.compare import compare_runs, comparison_table, parse_percent
from scanside.benchmarks.results import write
from scanside.runtime.cli.main import run
from scanside.runtime.errors import InputError, UsageError
from tests.benchmarks.samples import RECORD, appliance, latency, study


def test_a_run_against_itself_is_the_same_within_the_noise() -> None:
    for report in (latency(), appliance()):
        found = compare_runs(report, report, 0.0)
        assert found.slower == [] and found.remarks == []
        assert {ratio.verdict for ratio in found.ratios} == {"the same within the noise"}
        assert {ratio.ratio for ratio in found.ratios} == {1.0}


def test_another_run_of_the_same_speed_passes_the_gate() -> None:
    found = compare_runs(latency(study(seed=0)), latency(study(seed=50)), 0.05)
    assert found.slower == [] and all(0.97 < ratio.ratio < 1.03 for ratio in found.ratios)


def test_a_fifth_slower_fails_the_gate() -> None:
    found = compare_runs(latency(study()), latency(study(slower=1.2, seed=50)), 0.10)
    assert found.slower == ["small, warm", "small, cold"]
    verdicts = {ratio.quantity: ratio.verdict for ratio in found.ratios}
    assert verdicts["warm"] == verdicts["t2w: slide"] == "slower"
    assert verdicts["read"] == "the same within the noise"
    assert "tick" not in verdicts, "shorter than a timer's noise"
    assert compare_runs(latency(study()), latency(study(slower=1.2, seed=50)), 0.25).slower == []
    faster = compare_runs(latency(study(slower=1.2, seed=50)), latency(study()), 0.0)
    assert faster.slower == [] and faster.ratios[0].verdict == "faster"


def test_the_appliance_is_compared_by_rates_and_ways() -> None:
    found = compare_runs(appliance(), appliance(slower=1.2, seed=50), 0.10)
    assert found.slower == [
        "3 sender(s), round",
        "phantom-typical, last instance to report",
        "phantom-typical, added",
    ]
    assert compare_runs(appliance(), appliance(quiet_seconds=30.0), None).remarks == [
        "quiet_seconds: 2 before, 30 after."
    ]


def test_what_differs_is_remarked() -> None:
    other = latency(
        study(probability=0.6, images={}),
        bundle={**RECORD["bundle"], "sha256": "f" * 64},
        device={**RECORD["device"], "obtained": "openvino"},
        machine={**RECORD["machine"], "processor": "Another"},
        versions={"scanside": "2", "numpy": "2"},
        conditions={"synthetic": True, "approximations": ["no mirroring"], "threads": 1},
        gpus=["A card"],
        remarks=["small: throttled: too hot."],
        headline=False,
    )
    words = compare_runs(latency(), other, None).remarks
    for expected in (
        "Machine: A processor before, Another after.",
        "GPUs: none before, A card after.",
        "Bundle: 000000000000 before, ffffffffffff after.",
        "Device: cpu fp32 before, openvino fp32 after.",
        "approximations: none before, no mirroring after.",
        "threads: none before, 1 after.",
        "scanside: 1 before, 2 after.",
        "small: images: t2w (shape 10 × 20 × 30, spacing_mm 3 × 1 × 1) before, none after.",
        "small: THE RESULT DIFFERS: probability: 0.7 before, 0.6 after.",
        "Not to be quoted, the run after: small: throttled: too hot.",
    ):
        assert expected in words


def test_runs_without_a_common_study_are_refused() -> None:
    with pytest.raises(InputError, match="no study in common"):
        compare_runs(latency(study()), latency(study(name="other")), None)
    with pytest.raises(InputError, match="no study in common"):
        compare_runs(latency(), appliance(), None)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = tmp_path / "a.json", tmp_path / "b.json"
    write(latency(study()), before)
    write(latency(study(slower=1.2, seed=50)), after)
    assert run(["bench", "compare", str(before), str(after)]) == 0
    assert "| small | warm " in capsys.readouterr().out
    assert run(["bench", "compare", str(before), str(after), "--fail-if-slower", "10%"]) == 1
    assert "Slower by more than 10%, beyond the noise: small, warm; small, cold." in capsys.readouterr().out
    assert run(["bench", "compare", str(before), str(before), "--fail-if-slower", "10%", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["slower"] == []
    assert run(["bench", "compare", str(before), str(after), "--fail-if-slower", "much"]) == 2


def test_percentages() -> None:
    assert parse_percent("10%") == parse_percent(" 10 ") == pytest.approx(0.1)
    for words in ("much", "-3%", "nan"):
        with pytest.raises(UsageError):
            parse_percent(words)


def test_the_table_tells_the_limit() -> None:
    words = comparison_table(compare_runs(latency(), latency(), 0.1))
    assert "Nothing is slower by more than 10%." in words and "the same within the noise" in words
