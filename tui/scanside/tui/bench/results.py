"""Results of benchmarks that lie in a folder: read as what they say they are, never guessed at."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanside.runtime.appliance.config import Config
from scanside.tui.format import duration

LATENCY, PEERS, PARITY = "scanside.bench-run/1", "scanside.bench-peers/2", "scanside.bench-parity/1"
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
    """What today's times of whole cases can be held against: the newest result of `scanside bench run`."""
    stored = [one for one in stored_results(folder) if one.schema == LATENCY]
    if not stored:
        return f"none of whole studies in {folder.name}/ of the data folder: `scanside bench run` makes one (screen 3)"
    newest = stored[0]
    return f"{newest.created[:10]}, {newest.machine}: " + "; ".join((*newest.headline, *newest.remarks))


def _stored(path: Path, document: Mapping[str, Any]) -> Stored:
    machine = document.get("machine", {})
    readers = {LATENCY: _latency, PEERS: _peers, PARITY: _parity}
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


def _latency(document: Mapping[str, Any]) -> list[str]:
    """Wall time of whole studies, one after the other, from their files to written results."""
    found = []
    for study in document["studies"]:
        if study["single"] is not None:
            wall = study["single"]["wall_ms"]
            known = {"p50": wall["median"], "p90": wall["p90"], "p99": wall["p99"], "max": wall["max"]}
            times = ", ".join(f"{name} {duration(ms / 1000)}" for name, ms in known.items() if ms is not None)
            found.append(f"{study['name']}: {times} of {len(wall['samples'])} runs")
    return found if document["headline"] else [f"not to be quoted: {words}" for words in found]


def _peers(document: Mapping[str, Any]) -> list[str]:
    """Wall time of every peer, case by case, with its ratio to nnunetv2 and the range over the rounds."""
    parts = [(case["name"], case["metrics"]) for case in document["cases"]]
    if document["together"] is not None:
        parts.append((f"{document['together']['cases']} cases", document["together"]["metrics"]))
    return [
        f"{name}, {metric['mode']}: {peer} {metric['median'][peer]:.1f} s against "
        f"{metric['median']['nnunetv2']:.1f} s of nnunetv2, "
        f"{ratio['median']:.2f}× ({ratio['min']:.2f}–{ratio['max']:.2f})"
        for name, metrics in parts
        for metric in metrics
        if metric["name"] == "wall"
        for peer, ratio in metric["ratio"].items()
    ]


def _parity(document: Mapping[str, Any]) -> list[str]:
    """Voxels that differ from nnunetv2, by device."""
    return [
        f"{device}: {total['differing']} of {total['voxels']} voxels differ in {total['cases']} cases, "
        f"{total['explained']} of them ties"
        for device, total in document["totals"].items()
    ]
