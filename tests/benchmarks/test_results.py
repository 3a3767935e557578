import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scanside.benchmarks import environment
from scanside.benchmarks.agreement import BOUND, dice, margins
from scanside.benchmarks.distribution import Ratio
from scanside.benchmarks.progress import duration
from scanside.benchmarks.results import Measurements, measured, quantity, read_results
from scanside.benchmarks.tables import render, told
from scanside.benchmarks.tui import times
from scanside.runtime.errors import InputError
from tests.benchmarks import samples

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "benchmarks"
RECORD: dict[str, Any] = {
    "created": "2030-01-01T00:00:00+00:00",
    "command": ["scanside", "bench"],
    "machine": {
        "processor": "A processor",
        "cores": 2,
        "memory_gib": 8.0,
        "system": "Linux",
        "load_average": [0.0, 0.0, 0.0],
    },
    "versions": {"scanside": "1", "nnunetv2": "2"},
    "git": None,
    "remarks": ["Busy machine: beware."],
    "bundle": {"name": "tiny", "version": "1", "sha256": "0" * 64},
    "checkpoints": {"0": "1" * 64},
    "mirroring": False,
    "folds": ["0"],
}


def test_dice_of_labels_regions_and_absent_ones() -> None:
    mask, reference = np.array([[1, 1, 2, 0]]), np.array([[1, 2, 2, 0]])
    names: dict[str, int | tuple[int, ...]] = {"background": 0, "one": 1, "two": 2, "all": (1, 2), "none": 7}
    assert dice(mask, reference, names) == {"one": 2 / 3, "two": 2 / 3, "all": 1.0, "none": None}


def test_margins_tell_ties_from_errors() -> None:
    mask, reference = np.array([1, 1, 2, 0]), np.array([1, 2, 2, 1])
    margin = np.array([np.inf, 0.01, 3, np.inf], dtype=np.float16)
    found = margins(mask, reference, margin)
    assert found is not None and (found.explained, found.bound) == (1, BOUND)
    assert found.smallest == pytest.approx(0.01, rel=1e-3) and found.largest == 1e9
    assert margins(mask, mask, margin) is None


def peers(cases: int = 1) -> Measurements:
    rejected = {
        "voxels": 24, "differing": 1, "dice": {"lesion": 0.5, "other": None},
        "margins": {"largest": 0.2, "smallest": 0.2, "bound": 0.05, "explained": 0},
        "problem": "a differing voxel had a margin of 0.2, above 0.05",
    }  # fmt: skip
    found = []
    for number in range(cases):
        case = f"scan{number or ''}"
        found.append(measured(case, {"shape": [2, 3, 4], "tiles": 36}, []))
        for peer, walls in {
            "nnunetv2": (110e3, 100e3),
            "auto:fp32": (50e3, 40e3),
            "idle": (0.0, 1.0),
        }.items():
            labels = {"cold": rejected} if peer == "auto:fp32" else {}
            facts = {"case": case, "peer": peer, "labels": labels, "repeatable": peer == "nnunetv2"}
            found.append(measured(f"{case}, {peer}", facts, [quantity("cold", "ms", *walls)]))
    device = {"asked": "auto", "obtained": "cpu", "why": "passes", "precision": "fp32"}
    conditions = {
        "mirroring": False, "folds": ["0"], "repeats": 2, "memory_ceiling_mib": 1000.0, "ended": [],
        "absent": {"openvino:bf16": "it lacks bfloat16"},
        "peers": {
            "nnunetv2": {"device": None, "approximation": None},
            "auto:fp32": {"device": device, "approximation": None},
        },
    }  # fmt: skip
    return Measurements.model_validate(
        {
            **RECORD, "schema": "scanside.bench-peers/3", "gpus": [], "device": None, "golden": {}, "faults": [],
            "headline": True, "conditions": conditions, "measured": found,
        }
    )  # fmt: skip


def test_the_peers_table_tells_conditions_values_and_labels() -> None:
    text = render(peers())
    assert "Busy machine: beware." in text and "A processor, 2 core(s)" in text and "Mirroring off" in text
    assert "| scan | cold     | nnunetv2  | 105.00 s |" in text
    assert "| scan | cold     | auto:fp32 | 45.00 s  | 2.35 × (2.20 … 2.50) |" in text
    assert "| scan | cold     | idle      | 0.50 ms  |                      |" in text, "no ratio to nothing"
    assert "openvino:bf16 is not measured: it lacks bfloat16" in text
    assert "auto:fp32 ran on cpu." in text
    assert "| 1 of 24 " in text and "lesion 0.5000, other –" in text and "rejected: a differing voxel" in text
    assert "auto:fp32 gave different masks in different runs" in text and "tiles 36" in text
    summary = render(peers(5))
    assert "| 5 cases | cold | auto:fp32 | 5 of 120" in summary and "lowest: lesion 0.5000" in summary
    assert "5 of 5 rejected" in summary and "tiles 36" not in summary


def test_a_card_on_which_nothing_could_be_measured_still_has_a_table() -> None:
    why = "cuda:fp32, whole case: RuntimeError: out of memory"
    record = {**samples.RECORD, "golden": {}, "faults": [why], "remarks": [why], "headline": False}
    report = Measurements.model_validate({**record, "schema": "scanside.bench-gpu/2", "measured": []})
    assert why in render(report) and not report.passed


def test_facts_in_words_leave_out_what_is_absent() -> None:
    facts = {
        "a": (),
        "b": None,
        "c": 0,
        "d": False,
        "e": {},
        "shape": [2, 3],
        "inside": {"f": 0.25, "g": ["x", "y"]},
    }
    assert told(facts) == "c 0, d no, shape 2 × 3, inside (f 0.25, g x, y)"


def test_ratios_of_six_rounds_have_an_interval() -> None:
    ratio = Ratio.of([5.0, 15.0, 10.0])
    assert (ratio.min, ratio.median, ratio.max, ratio.low) == (5, 10, 15, None)
    many = Ratio.of([2.0, 4, 6, 8, 10, 12])
    assert (many.low, many.high) == (2, 12)


def test_a_file_that_is_read_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_results(tmp_path / "absent.json")
    for content in ("[]", "{}", "no json", '{"schema": "scanside.bench-parity/1"}'):
        (tmp_path / "other.json").write_text(content)
        with pytest.raises(
            InputError, match="is not a results file of `scanside bench`, or of another version"
        ):
            read_results(tmp_path / "other.json")


@pytest.mark.parametrize(
    "name", ["run", "appliance", "scale", "tui", *(f.stem for f in RESULTS.glob("p*-*.json"))]
)
def test_every_committed_result_can_still_be_read_and_shown(name: str) -> None:
    report = read_results(RESULTS / f"{name}.json")
    assert report.machine.processor in render(report) and all(
        remark in render(report) for remark in report.remarks
    )


def test_percentiles_of_keys_are_nearest_ranks() -> None:
    found = times([0.5, *(number / 100 for number in range(1, 20))])
    assert found == {"samples": 20, "p50": 0.1, "p95": 0.19, "p99": 0.5, "max": 0.5}


def test_the_record_names_no_folder_of_this_machine() -> None:
    found = environment.environment(["bench", "peers", str(ROOT / "model"), "images/scan.nii.gz"])
    assert found["command"] == ["scanside", "bench", "peers", "model", "images/scan.nii.gz"]
    assert str(ROOT) not in json.dumps(found)


def test_a_busy_machine_is_remarked() -> None:
    assert environment.remarks([0.0, 9.0, 9.0]) == []
    assert environment.remarks([1000.0, 0.0, 0.0])[0].startswith("Busy machine: load average 1000.00")
    assert "not known" in environment.remarks(None)[0]


def test_durations_in_words() -> None:
    assert [duration(seconds) for seconds in (0.4, 59, 125, 1800, 7500)] == [
        "0 s", "59 s", "2 min 5 s", "30 min", "2 h 5 min",
    ]  # fmt: skip
