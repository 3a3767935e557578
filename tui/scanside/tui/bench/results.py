"""Results of benchmarks that lie in a folder: read as what they say they are, never guessed at."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanside.runtime.appliance.config import Config

PEERS, PARITY = "scanside.bench-peers/1", "scanside.bench-parity/1"
FOLDER = "benchmarks"


@dataclass(frozen=True)
class Stored:
    """One results file.

    Attributes:
        schema: What it says it is.
        headline: What it found, in one line each.
        remarks: What a reader must know, such as a busy machine.
    """

    path: Path
    schema: str
    created: str
    machine: str
    headline: tuple[str, ...]
    remarks: tuple[str, ...]


def results_folder(config: Config) -> Path:
    """Where this appliance keeps results of benchmarks."""
    return config.service.data / FOLDER


def stored_results(folder: Path) -> list[Stored]:
    """Every results file of `scanside bench` in a folder, the newest first. Other files are passed over."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            document = json.loads(path.read_bytes())
            if str(document["schema"]).startswith("scanside.bench"):
                found.append(_stored(path, document))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return sorted(found, key=lambda one: one.created, reverse=True)


def benchmark_words(folder: Path) -> str:
    """What today's times of whole cases can be held against."""
    if stored_results(folder):
        return f"no result of whole cases in {folder.name}/ to compare with (screen 3 shows what is there)"
    return f"none stored in {folder}"


def _stored(path: Path, document: Mapping[str, Any]) -> Stored:
    machine = document.get("machine", {})
    readers = {PEERS: _peers, PARITY: _parity}
    schema = str(document["schema"])
    headline = readers[schema](document) if schema in readers else ("this screen has no reader for it yet",)
    return Stored(
        path,
        schema,
        str(document.get("created", "")),
        f"{machine.get('processor', 'unknown machine')}, {machine.get('cores', '?')} core(s)",
        tuple(headline),
        tuple(str(remark) for remark in document.get("remarks", ())),
    )


def _peers(document: Mapping[str, Any]) -> list[str]:
    """Wall time of both peers, case by case, with the ratio and its range over the pairs."""
    found = []
    for case in document["cases"]:
        for metric in case["metrics"]:
            if metric["name"] == "wall":
                ratio = metric["ratio"]
                times = f"{metric['median']['scanside']:.1f} s against {metric['median']['nnunetv2']:.1f} s of nnunetv2"
                range_ = f", {ratio['median']:.2f}× ({ratio['min']:.2f}–{ratio['max']:.2f})" if ratio else ""
                found.append(f"{case['name']}, {metric['mode']}: {times}{range_}")
    return found


def _parity(document: Mapping[str, Any]) -> list[str]:
    """Voxels that differ from nnunetv2, by device."""
    return [
        f"{device}: {total['differing']} of {total['voxels']} voxels differ in {total['cases']} cases, "
        f"{total['explained']} of them ties"
        for device, total in document["totals"].items()
    ]
