"""Which results folders make an ensemble, and what nnU-Net found for it: folds, postprocessing.

`nnUNetv2_find_best_configuration` writes `inference_information.json` beside the results folders of a dataset, and the
postprocessing of an ensemble to `ensembles/ensemble___<model>___<model>___<folds>`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from scanside.export.reference import Prediction
from scanside.runtime.errors import InputError
from scanside.runtime.plan import KeepLargest, Plan
from scanside.runtime.stages.ensemble import add_member, label_mean

ROLE = "ensemble"
INFORMATION = "inference_information.json"


@dataclass(frozen=True)
class Chosen:
    """What is exported.

    Attributes:
        folders: One results folder, or the members of an ensemble in their order.
        folds: Those that nnU-Net judged; None where a person gave folders.
    """

    folders: tuple[Path, ...]
    folds: tuple[str, ...] | None = None


def chosen_models(given: Sequence[Path]) -> Chosen:
    """Results folders as they are given, or those that inference_information.json names.

    Raises:
        InputError: If that file is not nnU-Net's, or a folder is given twice.
    """
    if len(given) == 1 and given[0].name == INFORMATION:
        return _best(given[0])
    if len({path.resolve() for path in given}) != len(given):
        raise InputError("A results folder is given twice; an ensemble needs different models.")
    return Chosen(tuple(given))


def _best(file: Path) -> Chosen:
    try:
        content = json.loads(file.read_text())
        models = content["best_model_or_ensemble"]["selected_model_or_models"]
        names = ["__".join((one["trainer"], one["plans_identifier"], one["configuration"])) for one in models]
        folds = tuple(str(fold) for fold in content["folds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file} is not what nnUNetv2_find_best_configuration writes; give the results folders instead."
        ) from error
    return Chosen(tuple(file.parent / name for name in names), folds)


def ensemble_postprocessing(folders: Sequence[Path], folds: Sequence[str]) -> Path | None:
    """postprocessing.json that nnU-Net found for exactly this ensemble and these folds, or None."""
    root = folders[0].resolve().parent / "ensembles"
    for order in permutations(folder.resolve().name for folder in folders):
        file = root / "___".join(("ensemble", *order, "_".join(folds))) / "postprocessing.json"
        if file.is_file():
            return file
    return None


def ensemble_plan(plans: Sequence[Plan], postprocessing: tuple[KeepLargest, ...]) -> Plan:
    """The plan of the ensemble: what its members have in common, and its own postprocessing.

    Raises:
        InputError: If members differ in what they read or in what their labels mean.
    """
    first = plans[0]
    for other in plans[1:]:
        for what, mine, its in (
            ("labels", first.labels, other.labels),
            ("channels", _names(first), _names(other)),
            ("readers", (first.reader, first.reorient), (other.reader, other.reorient)),
        ):
            if mine != its:
                raise InputError(
                    f"{first.configuration} and {other.configuration} have different {what}, so that they make no "
                    "ensemble; export each by itself."
                )
    return first.model_copy(
        update={
            "configuration": " + ".join(plan.configuration for plan in plans),
            "postprocessing": postprocessing,
            "previous_stage": None,
            "previous_labels": (),
        }
    )


def merged(predictions: Sequence[Prediction], plan: Plan) -> Prediction:
    """What `nnUNetv2_ensemble` makes of the members' saved probabilities; they stand where a segmenter has its logits.

    A label's margin is brought to the scale of logits: a difference of two logits that is wrong by d moves that of
    their probabilities by at most d/2, and a region's logit its probability by at most d/4.
    """
    total: Any = None
    for prediction in predictions:
        assert prediction.probabilities is not None
        total = add_member(None if total is None else total, prediction.probabilities.copy())
    labels = label_mean(total, len(predictions), plan.labels)
    if plan.labels.has_regions:
        margin = 4 * np.abs(total - 0.5).min(axis=0)
    else:
        best = np.partition(total, -2, axis=0)
        margin = 2 * (best[-1] - best[-2])
    return Prediction(total, labels, margin.astype(np.float16))


def _names(plan: Plan) -> tuple[str, ...]:
    return tuple(channel.name for channel in plan.channels)
