"""Writing an nnU-Net v2 results folder for a network that nnU-Net itself did not train.

Demonstrations, benchmarks and tests need small or untrained networks in exactly the form that nnU-Net leaves behind.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

Sizes = Sequence[int]


def plain_unet(
    features: Sizes, kernels: Sequence[Sizes], strides: Sequence[Sizes], convolutions: int = 2
) -> dict[str, Any]:
    """The `architecture` entry of plans.json for nnU-Net's PlainConvUNet.

    Args:
        features: Channels of each stage.
        kernels, strides: Per stage, 2 or 3 sizes each.
        convolutions: Convolutions a stage, in the encoder and in the decoder.
    """
    dimension = len(kernels[0])
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": len(features),
            "features_per_stage": list(features),
            "conv_op": f"torch.nn.modules.conv.Conv{dimension}d",
            "kernel_sizes": [list(kernel) for kernel in kernels],
            "strides": [list(stride) for stride in strides],
            "n_conv_per_stage": [convolutions] * len(features),
            "n_conv_per_stage_decoder": [convolutions] * (len(features) - 1),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def plans(
    dataset: str,
    configuration: str,
    *,
    spacing: Sequence[float],
    patch_size: Sizes,
    architecture: dict[str, Any],
    schemes: Sequence[str] = ("ZScoreNormalization",),
    statistics: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """plans.json with one configuration, nnU-Net's default resampling and readers.

    Args:
        statistics: Foreground intensity statistics, the same for every channel.
    """
    default = {"mean": 0.0, "median": 0.0, "std": 1.0, "min": -4.0, "max": 4.0}
    known = {**default, "percentile_00_5": -3.0, "percentile_99_5": 3.0, **(statistics or {})}
    resampling = {
        f"resampling_fn_{what}{part}": value
        for what, order in (("data", 3), ("seg", 1), ("probabilities", 1))
        for part, value in (
            ("", "resample_data_or_seg_to_shape"),
            ("_kwargs", {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None}),
        )
    }
    return {
        "dataset_name": dataset,
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "experiment_planner_used": "ExperimentPlanner",
        "foreground_intensity_properties_per_channel": {str(i): known for i in range(len(schemes))},
        "configurations": {
            configuration: {
                "data_identifier": f"nnUNetPlans_{configuration}",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(patch_size),
                "median_image_size_in_voxels": [float(size) for size in patch_size],
                "spacing": list(spacing),
                "normalization_schemes": list(schemes),
                "use_mask_for_norm": [False] * len(schemes),
                **resampling,
                "architecture": architecture,
                "batch_dice": False,
            }
        },
    }


def dataset_json(labels: Mapping[str, int], channels: Sequence[str] = ("MRI",)) -> dict[str, Any]:
    """dataset.json for plain labels and NIfTI files."""
    names = {str(index): name for index, name in enumerate(channels)}
    return {"channel_names": names, "labels": dict(labels), "numTraining": 0, "file_ending": ".nii.gz"}


def write_results_folder(
    path: Path,
    plans: dict[str, Any],
    dataset: dict[str, Any],
    weights: Mapping[str, dict[str, torch.Tensor]],
    *,
    configuration: str,
    mirror_axes: Sizes | None,
    trainer: str = "nnUNetTrainer",
) -> Path:
    """Write plans.json, dataset.json and a checkpoint a fold as nnU-Net's trainer writes them.

    Args:
        weights: Fold name → state dict.

    Returns:
        `path`.
    """
    path.mkdir(parents=True, exist_ok=True)
    (path / "plans.json").write_text(json.dumps(plans, indent=1))
    (path / "dataset.json").write_text(json.dumps(dataset, indent=1))
    for fold, state in weights.items():
        folder = path / f"fold_{fold}"
        folder.mkdir(exist_ok=True)
        init = {"plans": plans, "configuration": configuration, "fold": fold, "dataset_json": dataset}
        checkpoint = {
            "network_weights": state,
            "optimizer_state": {},
            "grad_scaler_state": None,
            "logging": {},
            "_best_ema": None,
            "current_epoch": 0,
            "init_args": init,
            "trainer_name": trainer,
            "inference_allowed_mirroring_axes": tuple(mirror_axes) if mirror_axes is not None else None,
        }
        torch.save(checkpoint, folder / "checkpoint_final.pth")
    return path
