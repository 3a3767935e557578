"""Building the PyTorch network as its trainer builds it, and loading a fold's weights into it."""

import ast
import contextlib
import importlib
import importlib.util
import inspect
import io
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scanside.export.model_folder import ModelFolder
from scanside.runtime.errors import InputError

_MOVED = {
    "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet":
        "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
}  # fmt: skip
"""Classes that plans made before nnU-Net 2.5 name by their old place. nnU-Net finds them by importing every
architecture, among them ones that need torchvision."""


def build_network(folder: ModelFolder, input_channels: int, heads: int) -> nn.Module:
    """The untrained network, deep supervision off.

    A trainer may build another network than plans.json describes (nnUNetTrainerBN replaces the norm), so the
    trainer class is asked, as nnU-Net does.

    Raises:
        InputError: If the trainer cannot be found or its network cannot be built.
    """
    if "PrimusV" in folder.trainer:
        raise InputError(
            f"{folder.path} is a Primus model of a later kind (trainer '{folder.trainer}'), which scanside does not "
            "support; the first Primus and convolutional networks are."
        )
    trainer = find_trainer(folder.trainer)
    build = trainer.build_network_architecture
    configuration = folder.configuration
    try:
        architecture = configuration.configuration["architecture"]
        name = architecture["network_class_name"]
        architecture["network_class_name"] = _MOVED.get(name, name)
        with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net and trainers print, --json must not
            if "plans_manager" in inspect.signature(build).parameters:
                network = build(
                    folder.plans, configuration, input_channels, heads, enable_deep_supervision=False
                )
            else:  # trainers written for nnU-Net before 2.7
                network = build(
                    configuration.network_arch_class_name,
                    configuration.network_arch_init_kwargs,
                    configuration.network_arch_init_kwargs_req_import,
                    input_channels,
                    heads,
                    enable_deep_supervision=False,
                )
    except Exception as error:  # whatever a trainer's own code raises
        raise InputError(
            f"Trainer '{folder.trainer}' of {folder.path} cannot build its network "
            f"({type(error).__name__}: {error}); it is not supported."
        ) from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"Trainer '{folder.trainer}' of {folder.path} cannot build its network (it gives "
            f"{type(network).__name__}); it is not supported."
        )
    return network.eval()


def is_primus(network: nn.Module) -> bool:
    """Whether this is nnU-Net's transformer of the first kind (sizes S, B, M, L)."""
    kind = type(network)
    return kind.__name__ == "Primus" and kind.__module__.endswith("architectures.primus")


def load_weights(network: nn.Module, weights: dict[str, torch.Tensor], fold: str) -> None:
    """Load a fold's weights, all of them and nothing else.

    Raises:
        InputError: If names or shapes do not fit.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"The weights of fold {fold} do not fit the network that its trainer builds ({reason})."
        ) from error


def find_trainer(name: str) -> Any:
    """The trainer class.

    nnU-Net imports every module below its trainer folder until the name turns up, among them ones that need
    torchvision; here the sources are searched for the class and only its module is imported. Folders named in
    `nnUNet_extTrainer` are searched afterwards, as nnU-Net does.
    """
    import nnunetv2.training.nnUNetTrainer as package

    root = Path(package.__path__[0])
    for file in sorted(root.rglob("*.py"), key=lambda path: (len(path.parts), path)):
        if _defines(file, name):
            dotted = ".".join(file.relative_to(root).with_suffix("").parts)
            return _import_trainer(f"{package.__name__}.{dotted}", name)
    for folder in filter(None, os.environ.get("nnUNet_extTrainer", "").split(os.pathsep)):
        for file in sorted(Path(folder).rglob("*.py")):
            if _defines(file, name):
                return _load_external(file, name)
    raise InputError(
        f"Trainer '{name}' is not part of the installed nnunetv2; install the nnU-Net it was trained with, "
        "or name the folder of its source in the environment variable nnUNet_extTrainer."
    )


def _defines(file: Path, name: str) -> bool:
    source = file.read_text(encoding="utf-8", errors="ignore")
    if f"class {name}" not in source:
        return False
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return False
    return any(isinstance(node, ast.ClassDef) and node.name == name for node in tree.body)


def _import_trainer(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:  # optional packages of that trainer
        raise _not_importable(name, error) from error


def _load_external(file: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"nnunet_ext_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the module's own code raises
        raise _not_importable(name, error) from error
    return getattr(module, name)


def _not_importable(name: str, error: Exception) -> InputError:
    return InputError(
        f"Trainer '{name}' cannot be imported ({type(error).__name__}: {error}); it is not supported here."
    )
