"""Results of benchmarks that lie in a folder: read as what they say they are, never guessed at."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from scanside.runtime.appliance.config import Config
from scanside.tui.format import duration

LATENCY, PEERS, PARITY = "scanside.bench-run/2", "scanside.bench-peers/3", "scanside.bench-parity/2"
_MEASURED = (LATENCY, "scanside.bench-appliance/2", "scanside.bench-gpu/2")
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
    readers = {**dict.fromkeys(_MEASURED, _measured), PEERS: _peers, PARITY: _parity}
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


def _measured(document: Mapping[str, Any]) -> list[str]:
    """The quantities that count when runs are compared: of whole studies, of their way to the PACS, of cases."""
    found = []
    for one in document["measured"]:
        for quantity in (quantity for quantity in one["quantities"] if quantity["gate"]):
            known = {name: quantity[name] for name in ("median", "p90", "p99", "max")}
            times = ", ".join(f"{name} {duration(ms / 1000)}" for name, ms in known.items() if ms is not None)
            found.append(f"{one['name']}, {quantity['name']}: {times} of {len(quantity['samples'])} runs")
    return found if document["headline"] else [f"not to be quoted: {words}" for words in found]


def _peers(document: Mapping[str, Any]) -> list[str]:
    """Wall time of every peer, case by case, with its ratio to nnunetv2 and the range over the rounds."""
    walls = {
        (one["facts"]["case"], quantity["name"], one["facts"]["peer"]): quantity
        for one in document["measured"]
        for quantity in one["quantities"]
        if quantity["name"] in ("together", "cold", "warm")
    }
    found = []
    for (case, mode, peer), own in walls.items():
        reference = walls.get((case, mode, "nnunetv2"))
        if reference is not None and peer != "nnunetv2":
            ratios = [a / b for a, b in zip(reference["samples"], own["samples"], strict=True)]
            found.append(
                f"{case}, {mode}: {peer} {own['median'] / 1000:.1f} s against {reference['median'] / 1000:.1f} s of "
                f"nnunetv2, {median(ratios):.2f}× ({min(ratios):.2f}–{max(ratios):.2f})"
            )
    return found


def _parity(document: Mapping[str, Any]) -> list[str]:
    """Voxels that differ from nnunetv2, by device."""
    totals = [one for one in document["measured"] if "cases" in one["facts"]]
    return [
        f"{one['name']}: {one['facts']['differing']} of {one['facts']['voxels']} voxels differ in "
        f"{one['facts']['cases']} cases, {one['facts']['explained']} of them ties"
        for one in totals
    ]
