"""Where a training can start: the network of an earlier one, with the plans that it was made by."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanside.export.experiment_files import EXPERIMENT
from scanside.export.model_folder import read_model_folder
from scanside.runtime.bundle import MANIFEST
from scanside.runtime.errors import InputError, UsageError
from scanside.training.experiment import open_experiment
from scanside.training.segmentation.pretrained_bundle import GRAPH, find_graph
from scanside.training.segmentation.settings import Settings
from scanside.training.segmentation.start import refuse_same_cohort, refuse_unlike

FINAL = "checkpoint_final.pth"


@dataclass(frozen=True)
class Pretrained:
    """A network to start from.

    Attributes:
        checkpoint: Its file: a checkpoint of PyTorch, or a graph in a bundle.
        sha256: Of that file, for the record.
    """

    checkpoint: Path
    sha256: str


def find_pretrained(given: Path, settings: Settings, cohort_sha256: str) -> Pretrained:
    """Find and check the network that a training shall start from.

    Args:
        given: A checkpoint, an nnU-Net results folder, an experiment that `train pretrain` made, or a graph of a
            bundle.
        cohort_sha256: Hash of the table of the cohort to train on.

    Raises:
        InputError: If it is none of these, was made for other channels or labels, or saw the patients of this cohort.
        UsageError: If a folder or a bundle holds several folds.
        BundleError: If a bundle is damaged.
    """
    if (given / MANIFEST).exists() or given.suffix == GRAPH:
        return Pretrained(*find_graph(given, settings, cohort_sha256))
    if (given / EXPERIMENT).exists():
        given = _of_experiment(given, settings, cohort_sha256)
    model, folds = given, None
    checkpoint = FINAL
    if given.is_file():
        model, checkpoint, folds = given.parent.parent, given.name, (given.parent.name.removeprefix("fold_"),)
    folder = read_model_folder(model, folds=folds, checkpoint=checkpoint, trust_pickles=False)
    if len(folder.folds) > 1:
        raise UsageError(
            f"{model} holds {len(folder.folds)} folds; name the checkpoint of one, such as "
            f"{model / f'fold_{folder.folds[0]}' / checkpoint}."
        )
    refuse_unlike(
        folder.path,
        settings,
        channels=tuple(folder.dataset.get("channel_names", {}).values()),
        labels=folder.dataset.get("labels"),
        configuration=folder.configuration_name,
    )
    (fold,) = folder.folds
    return Pretrained((model / f"fold_{fold}" / checkpoint).resolve(), folder.hashes[fold])


def _of_experiment(experiment: Path, settings: Settings, cohort_sha256: str) -> Path:
    refuse_same_cohort(experiment, open_experiment(experiment).cohort_sha256, cohort_sha256)
    file = experiment / "segmentation" / settings.role / "model.json"
    if not file.exists():
        raise InputError(f"{experiment} holds no finished training of the role {settings.role}.")
    return Path(json.loads(file.read_text())["model"])


def take_over_plans(checkpoint: Path, raw: Path, preprocessed: Path, dataset: str) -> str:
    """Put a pretrained network's plans where nnU-Net's planner would have put its own.

    As nnU-Net's `move_plans_between_datasets`, from a results folder.

    Args:
        checkpoint: In a fold of a results folder.
        raw, preprocessed: nnU-Net's folders of the dataset to train on.
        dataset: Its name.

    Returns:
        Name of the plans.
    """
    plans: dict[str, Any] = json.loads((checkpoint.parent.parent / "plans.json").read_text())
    plans["dataset_name"] = dataset
    (preprocessed / f"{plans['plans_name']}.json").write_text(json.dumps(plans, indent=1))
    for name in ("dataset.json", "splits_final.json"):
        if (raw / name).exists():
            (preprocessed / name).write_text((raw / name).read_text())
    return str(plans["plans_name"])
