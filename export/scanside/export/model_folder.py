"""An nnU-Net v2 results folder (`<Trainer>__<Plans>__<configuration>`), read and checked."""

import hashlib
import json
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from scanside.export.checkpoint import Checkpoint, load_checkpoint
from scanside.runtime.errors import InputError


@dataclass(frozen=True, eq=False)
class ModelFolder:
    """A results folder with the checkpoints of the chosen folds.

    Attributes:
        folds: Fold names (`0`, `1`, …, `all`), in averaging order.
        checkpoints: One a fold.
        hashes: sha256 of each checkpoint file, for the provenance.
    """

    path: Path
    plans: PlansManager
    configuration: ConfigurationManager
    configuration_name: str
    dataset: dict[str, Any]
    folds: tuple[str, ...]
    checkpoints: tuple[Checkpoint, ...]
    hashes: dict[str, str]

    @property
    def trainer(self) -> str:
        """Trainer class name, of the first fold as nnU-Net takes it."""
        return self.checkpoints[0].trainer

    @property
    def input_channels(self) -> int:
        """Number of image channels, without a cascade's one-hot channels."""
        return len(self.dataset.get("channel_names", self.dataset.get("modality", {})))


def read_model_folder(
    path: Path, *, folds: tuple[str, ...] | None, checkpoint: str, trust_pickles: bool
) -> ModelFolder:
    """Read a results folder.

    Args:
        folds: Fold names; None for every `fold_N` that has the checkpoint, or `fold_all` if it is the only one.
        checkpoint: File name in the fold folders.

    Raises:
        InputError: If the folder is not a results folder, or folds disagree.
    """
    plans, dataset = _json(path, "plans.json"), _json(path, "dataset.json")
    names = folds or _found_folds(path, checkpoint)
    files = [path / f"fold_{name}" / checkpoint for name in names]
    checkpoints = tuple(load_checkpoint(file, trust_pickles=trust_pickles) for file in files)
    first = checkpoints[0]
    for name, other in zip(names, checkpoints, strict=True):
        if (other.configuration, other.trainer) != (first.configuration, first.trainer):
            raise InputError(
                f"Fold {name} of {path} was trained with another trainer or configuration than fold {names[0]}."
            )
    manager = PlansManager(plans)
    return ModelFolder(
        path=path,
        plans=manager,
        configuration=_configuration(path, manager, first.configuration),
        configuration_name=first.configuration,
        dataset=dataset,
        folds=names,
        checkpoints=checkpoints,
        hashes={name: _sha256(file) for name, file in zip(names, files, strict=True)},
    )


_NUMBER = re.compile(r"\d+")
_PLANS_OF_V1 = "plans.pkl"


def postprocessing_of_other_folds(folder: ModelFolder) -> tuple[str, ...]:
    """The folds, such as `0_1_2_3_4`, that postprocessing was found for, where it was not for exactly these."""
    prefix, own = "crossval_results_folds_", "_".join(folder.folds)
    found = (
        file.parent.name.removeprefix(prefix) for file in folder.path.glob(f"{prefix}*/postprocessing.json")
    )
    return tuple(sorted(name for name in found if name != own))


def postprocessing_file(folder: ModelFolder) -> Path | None:
    """postprocessing.json that `nnUNetv2_find_best_configuration` made for exactly these folds, or None."""
    name = "_".join(folder.folds)
    found = folder.path / f"crossval_results_folds_{name}" / "postprocessing.json"
    return found if found.is_file() else None


def _json(path: Path, name: str) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"There is no folder {path}; check the path.")
    if not path.is_dir():
        raise InputError(
            f"{path} is a file; give the results folder named <Trainer>__<Plans>__<configuration>."
        )
    if not (path / name).exists() and any((path / place / _PLANS_OF_V1).exists() for place in (".", "..")):
        raise InputError(
            f"{path} is a model of nnU-Net v1 (it has a {_PLANS_OF_V1}), which is another format; "
            "train it with nnU-Net v2."
        )
    try:
        content = json.loads((path / name).read_text())
    except OSError as error:
        raise InputError(
            f"{path} is not an nnU-Net v2 results folder: it has no readable {name}; "
            "give the folder named <Trainer>__<Plans>__<configuration>."
        ) from error
    except ValueError as error:
        raise InputError(f"{path / name} is not valid JSON; copy the results folder again.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path / name} is not what nnU-Net writes; copy the results folder again.")
    return content


def _configuration(path: Path, manager: PlansManager, name: str) -> ConfigurationManager:
    if name not in manager.plans.get("configurations", {}):
        raise InputError(f"plans.json of {path} has no configuration '{name}', which its checkpoint names.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nnU-Net announces that it translates plans of before 2.5
            return manager.get_configuration(name)
    except (KeyError, RuntimeError, ValueError) as error:
        raise InputError(
            f"plans.json of {path} does not describe the configuration '{name}' completely "
            f"({type(error).__name__}: {error}); copy the results folder again."
        ) from error


def _found_folds(path: Path, checkpoint: str) -> tuple[str, ...]:
    begun = [folder.name.removeprefix("fold_") for folder in path.glob("fold_*") if folder.is_dir()]
    found = [name for name in begun if (path / f"fold_{name}" / checkpoint).is_file()]
    numbered = sorted((name for name in found if _NUMBER.fullmatch(name)), key=int)
    unfinished = sorted(name for name in begun if name not in found and _NUMBER.fullmatch(name))
    if numbered and unfinished:
        raise InputError(
            f"Fold {', '.join(unfinished)} of {path} has no {checkpoint}: its training has not ended. Export without "
            f"it by --folds {','.join(numbered)}, or name another checkpoint with --checkpoint."
        )
    if numbered:
        return tuple(numbered)
    if "all" in found:
        return ("all",)
    raise InputError(f"{path} has no fold with a {checkpoint}; name another with --checkpoint.")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
