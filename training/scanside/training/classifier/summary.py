"""What is worth keeping of a signature and its classifier when the experiment folder is not: one small JSON."""

from pathlib import Path

from scanside.export.experiment_files import read_file
from scanside.training.classifier.document import CROSS_VALIDATION, CrossValidation
from scanside.training.experiment import Experiment, write_json
from scanside.training.signature.document import SIGNATURE, SignatureDocument

SCHEMA = "scanside.signature-summary/1"
_SIGNATURE = {
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
}
_DROPPED: dict[str, set[str]] = {"patients": {"dropped_per_fold"}}
_CLASSIFIER = {
    "winner",
    "models",
    "families",
    "choices",
    "resubstitution_auc",
    "deployed",
}


def write_summary(experiment: Experiment, path: Path) -> None:
    """Write estimates, canaries, commands, machine and versions of both steps; no patient, no value.

    Raises:
        OutputError: If it cannot be written.
    """
    signature = read_file(experiment.signature / SIGNATURE, SignatureDocument, "scanside train signature")
    cv = read_file(experiment.classifier / CROSS_VALIDATION, CrossValidation, "scanside train classifier")
    records = {step: experiment.records()[step] for step in ("signature", "classifier")}
    last = records["classifier"].data()
    document = {
        "schema": SCHEMA,
        "synthetic": experiment.synthetic,
        "commands": [" ".join(record.command) for record in records.values()],
        "seconds": {step: record.seconds for step, record in records.items()},
        "machine": last["machine"],
        "versions": last["versions"],
        "signature": signature.model_dump(mode="json", include=_SIGNATURE, exclude=_DROPPED),
        "classifier": cv.model_dump(mode="json", include=_CLASSIFIER),
    }
    write_json(path, document)
