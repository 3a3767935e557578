"""What is worth keeping of a signature and its classifier when the experiment folder is not: one small JSON."""

import json
from pathlib import Path
from typing import Any

from scanside.training.experiment import Experiment, write_json

SCHEMA = "scanside.signature-summary/1"
_SIGNATURE = (
    "classes",
    "source",
    "patients",
    "features",
    "path",
    "frequency",
    "cv",
    "canaries",
    "combined",
    "one_sequence",
    "baselines",
    "ablation",
    "options",
)
_CLASSIFIER = (
    "winner",
    "models",
    "families",
    "choices",
    "resubstitution_auc",
    "deployed",
)


def write_summary(experiment: Experiment, path: Path) -> None:
    """Write estimates, canaries, commands, machine and versions of both steps; no patient, no value.

    Raises:
        OutputError: If it cannot be written.
    """
    signature = _read(experiment.signature / "signature.json")
    classifier = _read(experiment.classifier / "cv.json")
    records = {step: experiment.records()[step] for step in ("signature", "classifier")}
    patients = {name: n for name, n in signature["patients"].items() if name != "dropped_per_fold"}
    document = {
        "schema": SCHEMA,
        "synthetic": experiment.synthetic,
        "commands": [" ".join(record["command"]) for record in records.values()],
        "seconds": {step: record["seconds"] for step, record in records.items()},
        "machine": records["classifier"]["machine"],
        "versions": records["classifier"]["versions"],
        "signature": {**{name: signature[name] for name in _SIGNATURE}, "patients": patients},
        "classifier": {name: classifier[name] for name in _CLASSIFIER},
    }
    write_json(path, document)


def _read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text())
    return document
