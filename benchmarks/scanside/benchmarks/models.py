"""`scanside bench make-model`: nnU-Net results folders with untrained, seeded weights, for timing and for tests.

Such a model has the cost of a trained one and label maps as smooth as one's, but it segments nothing: its figures
are times and memory, never accuracy.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from scanside.export.results_folder import dataset_json, plain_unet, plans, write_results_folder
from scanside.runtime.arrays import Float32
from scanside.runtime.errors import InputError, OutputError, UsageError

Say = Callable[[str], None]
NOTICE = "UNTRAINED: seeded random weights, for timing and tests only; it segments nothing."
_CONFIGURATION = "3d_fullres"
_DETAIL = 0.1
"""Part of each kernel that is not a blur."""


SMALL_PATCH = (28, 64, 64)
"""(z, y, x) at which PyTorch exports the network of `large`, in seconds."""


@dataclass(frozen=True)
class Kind:
    """A network and its plan.

    Attributes:
        features: Channels of each stage.
        kernels, strides: (z, y, x) of each stage.
        patch: (z, y, x) voxels.
        spacing: (z, y, x) mm.
        labels: Names of the foreground labels.
        foreground: Roughly which part of the image each foreground label covers.
    """

    features: tuple[int, ...]
    kernels: tuple[tuple[int, int, int], ...]
    strides: tuple[tuple[int, int, int], ...]
    patch: tuple[int, int, int]
    spacing: tuple[float, float, float]
    labels: tuple[str, ...] = ("structure", "lesion")
    foreground: float = 0.05
    what: str = ""
    channels: tuple[str, ...] = field(default=("MRI",))


KINDS = {
    # What nnU-Net's planner makes of anisotropic abdominal MRI. At this spacing the abdominal T2 series of the test
    # data (37 × 512 × 536, cropped to 37 × 470 × 536, 8 × 0.78 × 0.78 mm) has 36 tiles.
    "abdomen-31m": Kind(
        features=(32, 64, 128, 256, 320, 320),
        kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)),
        patch=(28, 160, 192),
        spacing=(5.0, 1.1875, 1.1875),
        what="nnU-Net's default 3-D network, 30 M parameters, for abdominal T2",
    ),
    "abdomen-light": Kind(
        features=(1, 1),
        kernels=((1, 1, 1), (1, 1, 1)),
        strides=((1, 1, 1), (1, 2, 2)),
        patch=(28, 160, 192),
        spacing=(5.0, 1.1875, 1.1875),
        what="the plan of abdomen-31m with a network that costs next to nothing, for the time of all else",
    ),
    # As whole-body segmenters are used: a coarse isotropic grid, many labels. Memory is what it is for.
    "classes-30": Kind(
        features=(8, 16, 32),
        kernels=((3, 3, 3), (3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
        patch=(96, 96, 96),
        spacing=(1.5, 1.5, 1.5),
        labels=tuple(f"structure {number}" for number in range(1, 30)),
        foreground=0.02,
        what="three small stages and 30 classes, for the memory of many classes",
    ),
    "tiny": Kind(
        features=(4, 8),
        kernels=((3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (2, 2, 2)),
        patch=(16, 16, 16),
        spacing=(2.0, 1.0, 1.0),
        foreground=0.15,
        what="two stages, a few thousand parameters, for tests",
    ),
}


def make_model(out: Path, kind: str, seed: int = 0) -> int:
    """Write a results folder as nnU-Net's trainer leaves it.

    Args:
        out: The folder to make (`<Trainer>__<Plans>__<configuration>` in an nnU-Net tree; any name serves).
        kind: A key of `KINDS`.
        seed: Of the weights.

    Returns:
        The number of parameters.

    Raises:
        UsageError: If there is no such kind.
        OutputError: If the folder exists.
    """
    if kind not in KINDS:
        raise UsageError(f"There is no model kind '{kind}'; choose one of {', '.join(KINDS)}.")
    if out.exists():
        raise OutputError(f"{out} exists already; choose another folder.")
    recipe = KINDS[kind]
    plan, dataset = _plans(recipe, kind), _dataset(recipe)
    network = _network(recipe, plan, seed)
    write_results_folder(
        out, plan, dataset, {"0": network.state_dict()}, configuration=_CONFIGURATION, mirror_axes=(0, 1, 2)
    )
    return sum(parameter.numel() for parameter in network.parameters())


def _plans(kind: Kind, name: str) -> dict[str, Any]:
    return plans(
        f"Dataset000_Untrained-{name}",
        _CONFIGURATION,
        spacing=kind.spacing,
        patch_size=kind.patch,
        architecture=plain_unet(kind.features, kind.kernels, kind.strides),
        schemes=["ZScoreNormalization"] * len(kind.channels),
        statistics={
            "min": 0.0, "mean": 800.0, "median": 800.0, "std": 300.0, "max": 2000.0, "percentile_00_5": 50.0,
            "percentile_99_5": 1800.0,
        },
    )  # fmt: skip


def _dataset(kind: Kind) -> dict[str, Any]:
    labels = {"background": 0, **{name: value for value, name in enumerate(kind.labels, start=1)}}
    return {**dataset_json(labels, kind.channels), "description": f"{NOTICE} {kind.what}."}


def make_bundle(
    model: Path, out: Path, calibrate: Sequence[Path], overwrite: bool, say: Say, *, mixed: bool = False
) -> None:
    """A bundle of a made results folder in fp32 and, where images to calibrate on are given, int8; nothing is proven.

    Args:
        mixed: Also in mixed precision, for a GPU.

    Raises:
        InputError: If the folder was not made by `make_model`: a trained model is exported with proof.
    """
    from scanside.export.nnunet import ExportOptions, unproven_bundle

    try:
        description = str(json.loads((model / "dataset.json").read_text()).get("description", ""))
    except (OSError, ValueError) as error:
        raise InputError(f"{model} is no results folder of `scanside bench make-model`.") from error
    if not description.startswith(NOTICE):
        raise InputError(
            f"{model} was not made by `scanside bench make-model`; a trained model is exported with proof, by "
            "`scanside export nnunet`."
        )
    options = ExportOptions(
        precisions=("fp32", *(("mixed",) if mixed else ()), *(("int8",) if calibrate else ())),
        calibrate=tuple(calibrate),
        postprocessing="none",
        intended_use=f"{NOTICE} Nothing was compared with nnunetv2.",
        overwrite=overwrite,
    )
    unproven_bundle(model, out, options, say)


def _network(kind: Kind, plan: dict[str, Any], seed: int) -> nn.Module:
    """The network that nnU-Net's trainer builds of these plans, with weights that give smooth label maps."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    described = plan["configurations"][_CONFIGURATION]["architecture"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = get_network_from_plans(
            described["network_class_name"],
            described["arch_kwargs"],
            described["_kw_requires_import"],
            len(kind.channels),
            len(kind.labels) + 1,
            deep_supervision=True,
        )
        with torch.no_grad():
            _smooth(network)
            _spread(network, kind)
    return network.eval()


def _smooth(network: nn.Module) -> None:
    """Make every kernel a blur with a random mix of channels and a little detail: smooth maps from dense weights."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            kernel = module.weight
            blur = torch.ones(kernel.shape[2:])
            if isinstance(module, nn.Conv3d):  # an upsampling kernel with equal taps leaves no checkerboard
                for axis, size in enumerate(blur.shape):
                    taps = torch.tensor([1.0, 2.0, 1.0] if size == 3 else [1.0] * size)
                    blur *= taps.reshape([-1 if at == axis else 1 for at in range(3)])
            mix = kernel.mean(dim=(2, 3, 4), keepdim=True) * blur.numel()
            detail = _DETAIL if isinstance(module, nn.Conv3d) else 0.0
            kernel.copy_(mix * blur / blur.norm() + detail * kernel)


def _spread(network: Any, kind: Kind) -> None:
    """Scale and shift the head, on a tile of smooth structures and noise, to logits with a spread of about 4 and the
    wanted foreground."""
    head = network.decoder.seg_layers[-1]
    coarse = torch.randn(1, len(kind.channels), *(max(2, size // 8) for size in kind.patch))
    noise = nn.functional.interpolate(coarse, size=kind.patch, mode="trilinear")
    noise = noise / noise.std() + 0.15 * torch.randn_like(noise)
    network.eval()
    logits = network(noise)[0][0]
    spread, centre = logits.std(dim=(1, 2, 3)), logits.mean(dim=(1, 2, 3))
    gain = 4.0 / spread
    head.weight *= gain[:, None, None, None, None]
    head.bias.copy_((head.bias - centre) * gain)
    scores = (logits - centre[:, None, None, None]) * gain[:, None, None, None]
    for label in range(1, len(kind.labels) + 1):
        # The background's logit is fixed; each label is lowered until it wins only its share.
        lead = (scores[label] - scores[0]).flatten()
        head.bias[label] -= torch.quantile(lead[:: max(1, lead.numel() // 100_000)], 1 - kind.foreground)


def large(patch: tuple[int, ...]) -> tuple[str, onnx.ModelProto, Float32]:
    """nnU-Net's default six stages, 31 M parameters, and a tile of noise; untrained.

    PyTorch exports it at `SMALL_PATCH` whatever the patch: a convolutional graph differs in nothing but its shapes.
    """
    from scanside.export.onnx_graph import to_onnx

    kind = replace(KINDS["abdomen-31m"], patch=SMALL_PATCH)
    network = _network(kind, _plans(kind, "abdomen-31m"), 0)
    network.decoder.deep_supervision = False  # type: ignore[union-attr]
    tile = np.random.default_rng(0).standard_normal((1, 1, *patch)).astype(np.float32)
    return "six stages, 31 M parameters", at_patch(to_onnx(network, 1, SMALL_PATCH), patch), tile


def at_patch(model: onnx.ModelProto, patch: tuple[int, ...]) -> onnx.ModelProto:
    """A copy of a network, as PyTorch exports it, for another patch."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    del other.graph.value_info[:]
    for value in (*other.graph.input, *other.graph.output):
        for dimension, size in zip(value.type.tensor_type.shape.dim[2:], patch, strict=True):
            dimension.dim_value = size
    return other
