"""nnU-Net v2 results folders made in a fraction of a second: real networks, real files, no training.

The weights are random but arranged so that outputs are smooth functions of the image: every kernel is a blur with a
random mix of channels, and the head is scaled on a phantom until every label occurs in sizeable regions. Equal
architectures get equal weights whatever the rest of the recipe is, so that an ONNX export can serve many recipes.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager
from torch import nn

from tests.support.phantoms import smooth

DEFAULT = "resample_data_or_seg_to_shape"
TORCH = "resample_torch_fornnunet"
NONE = "no_resampling_hack"
OLD_TRAINER = "nnUNetTrainerFromOutside"
OLD_TRAINER_SOURCE = f'''
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans


class {OLD_TRAINER}(nnUNetTrainer):
    """Written for nnU-Net before 2.7: the old signature, and a network that plans.json does not describe."""

    @staticmethod
    def build_network_architecture(architecture_class_name, arch_init_kwargs, arch_init_kwargs_req_import,
                                   num_input_channels, num_output_channels, enable_deep_supervision=True):
        changed = {{**arch_init_kwargs, "nonlin": "torch.nn.ReLU"}}
        return get_network_from_plans(architecture_class_name, changed, arch_init_kwargs_req_import,
                                      num_input_channels, num_output_channels,
                                      allow_init=True, deep_supervision=enable_deep_supervision)
'''
PLAIN_LABELS = {"background": 0, "near": 1, "far": 2}
REGION_LABELS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "spot": 3}


@dataclass(frozen=True)
class Tiny:
    """The recipe of a tiny model; every field is something nnU-Net lets a model have.

    Attributes:
        normalization: A scheme per image channel.
        use_mask: `use_mask_for_norm`; None for no channel.
        spacing, patch: In network axis order; two entries make a 2d model.
        data, seg, probabilities: Resampling function and its arguments, over nnU-Net's defaults.
        mirror: `inference_allowed_mirroring_axes`; "absent" leaves the key out, as old checkpoints do.
        plans: Keys of plans.json to replace, for what no other field says.
        configuration_keys: The same for the configuration.
    """

    architecture: Literal["plain", "residual", "old plain", "old residual"] = "plain"
    features: tuple[int, ...] = (4, 8)
    patch: tuple[int, ...] = (16, 24, 24)
    spacing: tuple[float, ...] = (1.5, 1.0, 1.2)
    normalization: tuple[str, ...] = ("ZScoreNormalization",)
    use_mask: tuple[bool, ...] | None = None
    transpose: tuple[int, int, int] = (0, 1, 2)
    data: dict[str, Any] = field(default_factory=dict)
    seg: dict[str, Any] = field(default_factory=dict)
    probabilities: dict[str, Any] = field(default_factory=dict)
    resampling: str = DEFAULT
    labels: dict[str, Any] = field(default_factory=lambda: dict(PLAIN_LABELS))
    regions_class_order: tuple[int, ...] | None = None
    mirror: tuple[int, ...] | Literal["absent"] | None = (1,)
    trainer: str = "nnUNetTrainer"
    folds: tuple[str, ...] = ("0",)
    reader: str = "SimpleITKIO"
    file_ending: str = ".nii.gz"
    configuration: str = ""
    postprocessing: tuple[Any, ...] | None = None
    plans: dict[str, Any] = field(default_factory=dict)
    configuration_keys: dict[str, Any] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        return len(self.patch)

    @property
    def name(self) -> str:
        return self.configuration or {2: "2d", 3: "3d_fullres"}[self.dimension]

    @property
    def heads(self) -> int:
        if self.regions_class_order is not None:
            return len(self.regions_class_order)
        return len([name for name in self.labels if name != "ignore"])

    @property
    def foreground(self) -> int:
        values = np.unique(
            np.concatenate([np.atleast_1d(v) for k, v in self.labels.items() if k != "ignore"])
        )
        return len(values) - 1


def write_model(root: Path, tiny: Tiny) -> Path:
    """Write a results folder below `root`; returns it."""
    configurations = {tiny.name: _configuration(tiny)}
    return _write(root, tiny, _plans(tiny, configurations), len(tiny.normalization))


def write_cascade(root: Path, tiny: Tiny, coarse: float = 1.7) -> tuple[Path, Path]:
    """Write a `3d_lowres` model with `coarse` times the spacing, and a `3d_cascade_fullres` model that takes its
    labels; returns both folders, the first stage first."""
    lowres = replace(
        tiny,
        configuration="3d_lowres",
        spacing=tuple(mm * coarse for mm in tiny.spacing),
        postprocessing=None,
    )
    configurations = {
        "3d_fullres": _configuration(tiny),
        "3d_lowres": {**_configuration(lowres), "next_stage": "3d_cascade_fullres"},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    plans = _plans(tiny, configurations)
    first = _write(root, lowres, plans, len(tiny.normalization))
    second = replace(tiny, configuration="3d_cascade_fullres")
    return first, _write(root, second, plans, len(tiny.normalization) + tiny.foreground)


def write_trainer(folder: Path) -> Path:
    """The source of `OLD_TRAINER`, for the environment variable nnUNet_extTrainer; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "outside.py").write_text(OLD_TRAINER_SOURCE)
    return folder


def checkpoint(folder: Path, fold: str = "0") -> Path:
    return folder / f"fold_{fold}" / "checkpoint_final.pth"


@contextmanager
def edited_checkpoint(folder: Path, fold: str = "0") -> Iterator[dict[str, Any]]:
    """Change a checkpoint in place."""
    path = checkpoint(folder, fold)
    content = torch.load(path, weights_only=False)
    yield content
    torch.save(content, path)


@contextmanager
def edited_json(path: Path) -> Iterator[dict[str, Any]]:
    """Change a JSON file in place."""
    content = json.loads(path.read_text())
    yield content
    path.write_text(json.dumps(content))


def _write(root: Path, tiny: Tiny, plans: dict[str, Any], input_channels: int) -> Path:
    folder = root / "Dataset999_Tiny" / f"{tiny.trainer}__nnUNetPlans__{tiny.name}"
    folder.mkdir(parents=True)
    dataset = _dataset(tiny)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    for index, fold in enumerate(tiny.folds):
        network = make_network(tiny, input_channels, seed=index)
        content = {
            "network_weights": network.state_dict(),
            "optimizer_state": torch.optim.SGD(
                network.parameters(), 1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5
            ).state_dict(),
            "grad_scaler_state": None,
            "logging": {"mean_fg_dice": [np.float64(0.5)], "ema_fg_dice": [np.float64(0.5)], "lrs": [0.01]},
            "_best_ema": np.float64(0.5),
            "current_epoch": 1,
            "init_args": {
                "plans": plans,
                "configuration": tiny.name,
                "fold": fold if fold == "all" else int(fold),
                "dataset_json": dataset,
                "device": torch.device("cpu"),
            },
            "trainer_name": tiny.trainer,
        }
        if tiny.mirror != "absent":
            content["inference_allowed_mirroring_axes"] = tiny.mirror
        (folder / f"fold_{fold}").mkdir()
        torch.save(content, checkpoint(folder, fold))
    if tiny.postprocessing is not None:
        results = folder / f"crossval_results_folds_{'_'.join(tiny.folds)}"
        results.mkdir()
        (results / "postprocessing.json").write_text(
            json.dumps(
                {
                    "postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"]
                    * len(tiny.postprocessing),
                    "postprocessing_kwargs": [{"labels_or_regions": what} for what in tiny.postprocessing],
                }
            )
        )
    return folder


def _dataset(tiny: Tiny) -> dict[str, Any]:
    dataset = {
        "channel_names": {str(i): f"channel{i}" for i in range(len(tiny.normalization))},
        "labels": tiny.labels,
        "numTraining": 10,
        "file_ending": tiny.file_ending,
    }
    if tiny.regions_class_order is not None:
        dataset["regions_class_order"] = list(tiny.regions_class_order)
    return dataset


def _plans(tiny: Tiny, configurations: dict[str, Any]) -> dict[str, Any]:
    backward = [tiny.transpose.index(axis) for axis in range(3)]
    statistics = {
        "max": 700.0, "mean": 310.0, "median": 300.0, "min": 20.0, "percentile_00_5": 140.0,
        "percentile_99_5": 480.0, "std": 75.5,
    }  # fmt: skip
    return {
        "dataset_name": "Dataset999_Tiny",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
        "original_median_shape_after_transp": [30, 40, 40],
        "image_reader_writer": tiny.reader,
        "transpose_forward": list(tiny.transpose),
        "transpose_backward": backward,
        "configurations": configurations,
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(i): statistics for i in range(len(tiny.normalization))
        },
        **tiny.plans,
    }


def _configuration(tiny: Tiny) -> dict[str, Any]:
    kwargs = {
        what: {"is_seg": what == "seg", "order": order, "order_z": 0, "force_separate_z": None}
        for what, order in (("data", 3), ("seg", 1), ("probabilities", 1))
    }
    if tiny.resampling == TORCH:
        shared = {"force_separate_z": None, "memefficient_seg_resampling": False}
        kwargs = {what: {"is_seg": what == "seg", **shared} for what in kwargs}
    if tiny.resampling == NONE:
        kwargs = {what: {} for what in kwargs}
    for what, changes in (("data", tiny.data), ("seg", tiny.seg), ("probabilities", tiny.probabilities)):
        kwargs[what].update(changes)
    return {
        "data_identifier": f"nnUNetPlans_{tiny.name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(tiny.patch),
        "median_image_size_in_voxels": [float(size) for size in tiny.patch],
        "spacing": list(tiny.spacing),
        "normalization_schemes": list(tiny.normalization),
        "use_mask_for_norm": list(tiny.use_mask or [False] * len(tiny.normalization)),
        **{f"resampling_fn_{what}": tiny.resampling for what in kwargs},
        **{f"resampling_fn_{what}_kwargs": arguments for what, arguments in kwargs.items()},
        "batch_dice": False,
        **_architecture(tiny),
        **tiny.configuration_keys,
    }


def _architecture(tiny: Tiny) -> dict[str, Any]:
    stages, dimension = len(tiny.features), tiny.dimension
    kernels = [[3] * dimension] * stages
    strides = [[1] * dimension] + [[2] * dimension] * (stages - 1)
    if tiny.architecture.startswith("old"):
        return {
            "UNet_class_name": "PlainConvUNet" if tiny.architecture == "old plain" else "ResidualEncoderUNet",
            "UNet_base_num_features": tiny.features[0],
            "unet_max_num_features": tiny.features[-1],
            "n_conv_per_stage_encoder": [1] * stages,
            "n_conv_per_stage_decoder": [1] * (stages - 1),
            "num_pool_per_axis": [stages - 1] * dimension,
            "pool_op_kernel_sizes": strides,
            "conv_kernel_sizes": kernels,
        }
    plain = tiny.architecture == "plain"
    return {
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet."
            + ("PlainConvUNet" if plain else "ResidualEncoderUNet"),
            "arch_kwargs": {
                "n_stages": stages,
                "features_per_stage": list(tiny.features),
                "conv_op": f"torch.nn.modules.conv.Conv{dimension}d",
                "kernel_sizes": kernels,
                "strides": strides,
                ("n_conv_per_stage" if plain else "n_blocks_per_stage"): [1] * stages,
                "n_conv_per_stage_decoder": [1] * (stages - 1),
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dimension}d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }
    }


def make_network(tiny: Tiny, input_channels: int, seed: int = 0) -> nn.Module:
    """The network with its weights, in evaluation mode, deep supervision off."""
    torch.manual_seed(seed)
    network = _bare_network(tiny, input_channels)
    with torch.no_grad():
        for module in network.modules():
            _randomise(module)
        phantom = np.stack([smooth(tiny.patch, seed + 50 + c) for c in range(input_channels)])
        _settle_running_statistics(network, torch.from_numpy(phantom)[None])
        _spread_labels(network, torch.from_numpy(phantom)[None], sigmoid=tiny.regions_class_order is not None)
    return network


def _bare_network(tiny: Tiny, input_channels: int) -> nn.Module:
    manager = ConfigurationManager({"patch_size": list(tiny.patch), **_architecture(tiny)})
    arguments = dict(manager.network_arch_init_kwargs)
    if tiny.trainer == "nnUNetTrainerBN":
        arguments["norm_op"] = f"torch.nn.modules.batchnorm.BatchNorm{tiny.dimension}d"
    if tiny.trainer == OLD_TRAINER:
        arguments["nonlin"] = "torch.nn.ReLU"
    required = manager.network_arch_init_kwargs_req_import
    # The place that old plans name is gone; nnU-Net searches all architectures, of which some need torchvision.
    class_name = manager.network_arch_class_name.replace(".residual_unet.", ".unet.")
    network = get_network_from_plans(
        class_name,
        arguments,
        required,
        input_channels,
        tiny.heads,
        deep_supervision=False,
    )
    assert isinstance(network, nn.Module)
    return network.eval()


def _randomise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        kernel = torch.ones(module.weight.shape[2:])
        for axis, size in enumerate(kernel.shape):
            bell = torch.tensor([1.0, 2.0, 1.0] if size == 3 else [1.0] * size)
            kernel = kernel * bell.reshape([-1 if i == axis else 1 for i in range(kernel.ndim)])
        mix = torch.randn(module.weight.shape[:2]) / module.weight.shape[1] ** 0.5
        noise = 0.1 * torch.randn(module.weight.shape)
        module.weight.copy_(mix.reshape(*mix.shape, *[1] * kernel.ndim) * kernel / kernel.sum() + noise)
        if module.bias is not None:
            module.bias.copy_(0.1 * torch.randn(module.bias.shape))
    elif isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d):
        mix = torch.randn(module.weight.shape[:2]) / module.weight.shape[0] ** 0.5
        module.weight.copy_(
            mix.reshape(*mix.shape, *[1] * (module.weight.ndim - 2)).expand(module.weight.shape)
        )
    elif isinstance(module, nn.modules.instancenorm._InstanceNorm | nn.modules.batchnorm._BatchNorm):
        assert module.weight is not None
        module.weight.copy_(1 + 0.2 * torch.randn(module.weight.shape))
        module.bias.copy_(0.2 * torch.randn(module.bias.shape))


def _settle_running_statistics(network: nn.Module, phantom: torch.Tensor) -> None:
    """Running statistics as a training leaves them: near those of the data, and not equal to any image's."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    network.train()
    for factor in (0.9, 1.0, 1.2):
        network(factor * phantom + 0.1)
    network.eval()
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean += 0.1 * torch.randn(norm.running_mean.shape)
        norm.running_var *= 1 + 0.2 * torch.rand(norm.running_var.shape)


def _spread_labels(network: Any, phantom: torch.Tensor, *, sigmoid: bool) -> None:
    """Scale the head so that logits have deviation 4 and every label or region has its share of the voxels."""
    head = network.decoder.seg_layers[-1]
    output = network(phantom)[0].flatten(1)
    factor = 4 / output.std(dim=1).clamp_min(1e-6)
    head.weight.mul_(factor.reshape(-1, *[1] * (head.weight.ndim - 1)))
    # A region holds a third of the voxels; a label is as likely as any other.
    level = output.quantile(0.67, dim=1) if sigmoid else output.mean(dim=1)
    head.bias.copy_((head.bias - level) * factor)
