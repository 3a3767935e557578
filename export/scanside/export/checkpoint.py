"""Loading nnU-Net checkpoints without running code from them.

A .pth file is a pickle, and unpickling runs whatever its author wrote. nnU-Net's own checkpoints need only tensors
and a few numpy scalars, so they are loaded with `weights_only=True` and the short allow-list below.
"""

import codecs
import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scanside.runtime.errors import InputError

_RENAMED = ("module.", "_orig_mod.")
"""Prefixes that DistributedDataParallel and torch.compile leave in foreign checkpoints."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What inference needs of a checkpoint.

    Attributes:
        weights: State dict of the network, prefixes removed.
        mirror_axes: `inference_allowed_mirroring_axes`; empty where the training forbade mirroring.
    """

    trainer: str
    configuration: str
    mirror_axes: tuple[int, ...]
    weights: dict[str, torch.Tensor]


def load_checkpoint(path: Path, *, trust_pickles: bool = False) -> Checkpoint:
    """Load a checkpoint.

    Args:
        trust_pickles: Allow arbitrary pickles, that is, let the file run code.

    Raises:
        InputError: If the file is missing, damaged, holds disallowed pickles, or is no nnU-Net v2 checkpoint.
    """
    if not path.is_file():
        raise InputError(f"There is no checkpoint {path}; name another with --checkpoint or --folds.")
    content = _load(path, trust_pickles)
    missing = [key for key in ("network_weights", "trainer_name", "init_args") if key not in content]
    if missing:
        raise InputError(f"{path} is not an nnU-Net v2 checkpoint: it lacks {', '.join(missing)}.")
    axes, arguments = content.get("inference_allowed_mirroring_axes"), content["init_args"]
    if not isinstance(arguments, dict) or "configuration" not in arguments:
        raise InputError(f"{path} is not an nnU-Net v2 checkpoint: its init_args name no configuration.")
    if not isinstance(content["network_weights"], dict):
        raise InputError(f"{path} is not an nnU-Net v2 checkpoint: its network_weights are no state dict.")
    return Checkpoint(
        trainer=str(content["trainer_name"]),
        configuration=str(arguments["configuration"]),
        mirror_axes=tuple(int(axis) for axis in axes) if axes is not None else (),
        weights={_plain_name(name): tensor for name, tensor in content["network_weights"].items()},
    )


def _load(path: Path, trust_pickles: bool) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_allowed()):
            content = torch.load(path, map_location="cpu", weights_only=not trust_pickles)
    except Exception as error:  # pickle, zip and torch errors share no base class
        foreign = _disallowed(path)
        if foreign:
            raise InputError(
                f"{path} holds Python objects that could run code ({', '.join(foreign[:3])}); "
                "if you trust its author, export with --trust-pickles."
            ) from error
        raise InputError(
            f"{path} cannot be read as a checkpoint; it is damaged or truncated, copy it again."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not an nnU-Net v2 checkpoint.")
    return content


def _disallowed(path: Path) -> list[str]:
    try:
        with torch.serialization.safe_globals(_allowed()):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # a damaged file has no list of globals
        return []


def _allowed() -> list[Any]:
    """numpy scalars and arrays, under their numpy 2 and numpy 1 names."""
    multiarray: Any = importlib.import_module("numpy._core.multiarray")
    dtypes = [type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32", "bool")]
    return [
        np.dtype,
        np.ndarray,
        *dtypes,
        codecs.encode,
        multiarray.scalar,
        multiarray._reconstruct,
        (multiarray.scalar, "numpy.core.multiarray.scalar"),
        (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    ]


def _plain_name(name: str) -> str:
    while name.startswith(_RENAMED):
        name = name.partition(".")[2]
    return name
