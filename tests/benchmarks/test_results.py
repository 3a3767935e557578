import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scanside.benchmarks import environment, tables
from scanside.benchmarks.agreement import BOUND, dice, margins
from scanside.benchmarks.progress import duration
from scanside.benchmarks.results import Metric, PeersReport, read_parity, reports, schema
from scanside.runtime.errors import InputError

ROOT = Path(__file__).parents[2]
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


@pytest.mark.parametrize(("name", "report"), reports().items())
def test_the_schema_in_the_documents_is_the_one_of_the_code(name: str, report: Any) -> None:
    written = json.loads((ROOT / "docs" / f"bench-{name}.schema.json").read_text())
    assert written == schema(report), "run: python -m scanside.benchmarks.results docs"


def test_ratios_are_taken_pair_by_pair() -> None:
    metric = Metric.of("cold", "wall", "s", [10, 30, 20], [1, 2, 4])
    assert metric.median == {"nnunetv2": 20, "scanside": 2}
    assert metric.ratio is not None
    assert (metric.ratio.min, metric.ratio.median, metric.ratio.max) == (5, 10, 15)
    assert Metric.of("cold", "other_cpu", "s", [1], [0]).ratio is None


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


def test_the_peers_table_tells_conditions_values_and_labels() -> None:
    case = {
        "name": "scan",
        "shape": [2, 3, 4],
        "spacing_mm": [1.0, 1.0, 1.0],
        "converted": False,
        "tiles": 36,
        "network_runs": None,
        "metrics": [
            Metric.of("cold", "wall", "s", [110.0, 100.0], [50.0, 40.0]),
            Metric.of("cold", "processes", "processes", [4], [1]),
        ],
        "stages_ms": None,
        "labels": {
            "cold": {
                "voxels": 24,
                "differing": 1,
                "dice": {"lesion": 0.5, "other": None},
                "margins": {"largest": 0.002, "smallest": 0.002, "bound": 0.05, "explained": 1},
            }
        },
        "repeatable": {"nnunetv2": True, "scanside": False},
    }
    report = PeersReport.model_validate(
        {
            **RECORD,
            "schema": "scanside.bench-peers/1",
            "device": {"asked": "auto", "obtained": "cpu", "why": "asked for", "precision": "fp32"},
            "step_size": 0.5,
            "repeats": 2,
            "warm_ups": 0,
            "memory_method": {"cold": "", "warm": ""},
            "commands": None,
            "opening": None,
            "cases": [case],
        }
    )
    text = tables.peers_table(report)
    assert "Busy machine: beware." in text and "A processor, 2 core(s)" in text and "mirroring off" in text
    assert "| scan | cold command | 105 s    | 45.0 s   | 2.35 × (2.20 … 2.50) |" in text
    assert "processes" not in text
    assert (
        "1 of 24 voxels differ; Dice lesion 0.5000, other –; 1 of them explained by a margin ≤ 0.05" in text
    )
    assert "scanside gave different masks in different runs" in text and "36 tile(s)" in text


def test_a_file_to_resume_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_parity(tmp_path / "absent.json")
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(InputError, match="not a results file"):
        read_parity(tmp_path / "other.json")


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
