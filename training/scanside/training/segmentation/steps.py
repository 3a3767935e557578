"""The steps of a training, each by nnU-Net in the process that `worker` gives it."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scanside.training.segmentation.pretrained_bundle import GRAPH, take_over_grid
from scanside.training.segmentation.settings import COMPACT, DEFAULT, Settings

Send = Callable[[dict[str, Any]], None]
"""Tells the parent what happens, as a JSON object."""


def prepare(folder: Path, settings: Settings, send: Send) -> None:
    """Fingerprint, plan and preprocess, by nnU-Net; ends with prepared.json."""
    from nnunetv2.configuration import default_num_processes

    started = time.time()
    plans = plan(folder, settings, send)
    send({"event": "say", "text": "nnU-Net preprocesses"})
    configuration = plans.get_configuration(settings.configuration)
    preprocessor = configuration.preprocessor_class(verbose=False)
    preprocessor.show_progress_bar = False
    preprocessor.run(
        settings.dataset_id, settings.configuration, plans.plans_name, num_processes=default_num_processes
    )
    # As nnU-Net's preprocess_dataset does by way of distutils, which Python 3.12 no longer has.
    truth = folder / "preprocessed" / settings.dataset / "gt_segmentations"
    truth.mkdir(exist_ok=True)
    for label in sorted((folder / "raw" / settings.dataset / "labelsTr").iterdir()):
        shutil.copyfile(label, truth / label.name)
    document = {"plans": plans.plans_name, "seconds": round(time.time() - started, 1)}
    (folder / "prepared.json").write_text(json.dumps(document))


def plan(folder: Path, settings: Settings, send: Send) -> Any:
    """Fingerprint and plans, nnU-Net's own or those of the network to start from; nnU-Net's PlansManager."""
    from nnunetv2.configuration import default_num_processes
    from nnunetv2.experiment_planning.plan_and_preprocess_api import (
        extract_fingerprint_dataset,
        plan_experiment_dataset,
    )
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from scanside.training.segmentation.fingerprint import Fingerprint

    send({"event": "say", "text": "nnU-Net takes the dataset's fingerprint"})
    extract_fingerprint_dataset(
        settings.dataset_id,
        Fingerprint,
        num_processes=default_num_processes,
        check_dataset_integrity=True,
        verbose=False,
        show_progress_bar=False,
    )
    preprocessed = folder / "preprocessed" / settings.dataset
    start = Path(settings.pretrained) if settings.pretrained else None
    if start and start.suffix != GRAPH:
        from scanside.training.segmentation.pretrained import take_over_plans

        raw = folder / "raw" / settings.dataset
        name = take_over_plans(start, raw, preprocessed, settings.dataset)
    else:
        send({"event": "say", "text": "nnU-Net plans"})
        _, name = plan_experiment_dataset(
            settings.dataset_id, _planner(settings.plans), overwrite_plans_name=settings.plans_name
        )
    if start and start.suffix == GRAPH:
        take_over_grid(start, preprocessed / f"{name}.json", settings)
    plans = PlansManager(str(preprocessed / f"{name}.json"))
    if settings.configuration not in plans.available_configurations:
        raise SystemExit(f"nnU-Net has planned no configuration '{settings.configuration}' for this dataset.")
    return plans


def _planner(plans: str) -> Any:
    if plans == COMPACT:
        from scanside.training.segmentation.planner import CompactPlanner

        return CompactPlanner
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    name = "ExperimentPlanner" if plans == DEFAULT else plans
    planner = recursive_find_python_class(
        os.path.join(nnunetv2.__path__[0], "experiment_planning"),  # noqa: PTH118 (nnU-Net takes a str)
        name,
        current_module="nnunetv2.experiment_planning",
    )
    if planner is None:
        raise SystemExit(f"The installed nnunetv2 has no planner '{name}'.")
    return planner


def train(folder: Path, settings: Settings, fold: str, send: Send) -> None:
    """Train a fold, or go on with it. Its validation patients are segmented later, by the exported network."""
    from nnunetv2.run.run_training import maybe_load_checkpoint

    from scanside.training.segmentation.schedule import TimeIsUp
    from scanside.training.segmentation.trainer import make_trainer, parameters, start_from

    base = folder / "preprocessed" / settings.dataset
    prepared = json.loads((folder / "prepared.json").read_text())
    model = folder / "results" / settings.dataset
    begun = any(model.glob(f"{settings.trainer}__{prepared['plans']}__*/fold_{fold}/checkpoint_*.pth"))
    trainer = make_trainer(
        settings,
        fold,
        plans=base / f"{prepared['plans']}.json",
        dataset=base / "dataset.json",
        resume=begun,
        small=json.loads((folder / "small_lesions.json").read_text()) if settings.small_lesions else (),
        send=send,
    )
    send({"event": "network", "parameters": parameters(trainer), "begun": begun})
    if settings.plans == COMPACT:
        _refuse_large(parameters(trainer))
    if begun:
        maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
    elif settings.pretrained:
        start_from(trainer, Path(settings.pretrained))
    if not (Path(trainer.output_folder) / "checkpoint_final.pth").exists():
        try:
            trainer.run_training()
        except TimeIsUp:
            trainer.on_train_end()


def estimate(folder: Path, settings: Settings, send: Send) -> None:
    """Plan, build the network, and measure iterations of its training on noise of the size of the cohort's images."""
    from scanside.training.segmentation.noise import train_on_noise
    from scanside.training.segmentation.trainer import make_trainer, parameters

    plans = plan(folder, settings, send)
    base = folder / "preprocessed" / settings.dataset
    cases = base / plans.get_configuration(settings.configuration).data_identifier
    cases.mkdir()
    (cases / "noise.b2nd").touch()  # a trainer looks at the names of files there to choose its loader
    trainer = make_trainer(
        settings,
        settings.fold_names[0],
        plans=base / f"{plans.plans_name}.json",
        dataset=base / "dataset.json",
        resume=False,
        small=(),
        send=send,
    )
    if settings.plans == COMPACT:
        _refuse_large(parameters(trainer))
    configuration = trainer.configuration_manager
    send({"event": "say", "text": "iterations of the training are measured"})
    iteration, val_iteration = train_on_noise(trainer)
    send(
        {
            "event": "estimate",
            "parameters": parameters(trainer),
            "patch": [int(size) for size in configuration.patch_size],
            "batch": int(configuration.batch_size),
            "spacing": [float(step) for step in configuration.spacing],
            "epochs": int(trainer.num_epochs),
            "iterations": int(trainer.num_iterations_per_epoch),
            "val_iterations": int(trainer.num_val_iterations_per_epoch),
            "iteration": iteration,
            "val_iteration": val_iteration,
        }
    )


def _refuse_large(count: int) -> None:
    from scanside.training.segmentation.planner import MAX_PARAMETERS

    if count > MAX_PARAMETERS:
        raise SystemExit(f"The compact network has {count:,} parameters, more than {MAX_PARAMETERS:,}.")


def postprocess(folder: Path, settings: Settings, send: Send) -> None:
    """Collect out-of-fold predictions and let nnU-Net decide on postprocessing from them."""
    from nnunetv2.configuration import default_num_processes
    from nnunetv2.evaluation.accumulate_cv_results import accumulate_cv_results
    from nnunetv2.postprocessing.remove_connected_components import determine_postprocessing

    model = Path(json.loads((folder / "model.json").read_text())["model"])
    merged = model / f"crossval_results_folds_{'_'.join(map(str, range(settings.folds)))}"
    send({"event": "say", "text": "nnU-Net decides on postprocessing from the out-of-fold predictions"})
    accumulate_cv_results(
        str(model), str(merged), list(range(settings.folds)), num_processes=default_num_processes
    )
    determine_postprocessing(
        str(merged),
        str(folder / "preprocessed" / settings.dataset / "gt_segmentations"),
        plans_file_or_dict=str(merged / "plans.json"),
        dataset_json_file_or_dict=str(merged / "dataset.json"),
        num_processes=default_num_processes,
    )
