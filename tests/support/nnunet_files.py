"""nnunetv2 as its users run it: folders in, files out."""

import contextlib
import io
import json
import multiprocessing
import warnings
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.postprocessing.remove_connected_components import (
    apply_postprocessing,
    remove_all_but_largest_component_from_segmentation,
)

from scanside.runtime.volume import Volume

Mask = npt.NDArray[np.unsignedinteger[Any]]


def merge_by_threads(patch: pytest.MonkeyPatch) -> None:
    """A pool of threads merges as nnU-Net's pool of processes does, which import all of it for seven seconds."""
    patch.setattr(multiprocessing, "get_context", lambda kind: SimpleNamespace(Pool=ThreadPool))


def predictor(folder: Path, folds: Sequence[str], *, mirroring: bool = True) -> nnUNetPredictor:
    """nnU-Net's predictor on a results folder, loaded by nnU-Net itself."""
    with contextlib.redirect_stdout(io.StringIO()):
        made = nnUNetPredictor(use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False)
        made.initialize_from_trained_model_folder(str(folder), tuple(folds))
    return made


def predict_files(
    folder: Path,
    folds: Sequence[str],
    cases: Sequence[Sequence[Path]],
    out: Path,
    previous: Path | None = None,
) -> None:
    """`nnUNetv2_predict` without its worker processes: masks go to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        predictor(folder, folds).predict_from_files_sequential(
            [[str(path) for path in case] for case in cases],
            str(out),
            folder_with_segs_from_prev_stage=None if previous is None else str(previous),
        )


def write_images(volume: Volume, folder: Path, name: str, ending: str = ".nii.gz") -> list[Path]:
    """One file per channel, named as nnU-Net wants it."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, channel in enumerate(volume.data):
        image = sitk.GetImageFromArray(channel)
        image.SetSpacing(volume.geometry.spacing[::-1])
        image.SetOrigin(volume.geometry.origin)
        image.SetDirection(volume.geometry.direction)
        paths.append(folder / f"{name}_{index:04d}{ending}")
        sitk.WriteImage(image, str(paths[-1]))
    return paths


def postprocessed(mask: Mask, file: Path) -> Mask:
    """nnU-Net's own postprocessing as a postprocessing.json describes it."""
    content = json.loads(file.read_text())
    functions = [remove_all_but_largest_component_from_segmentation] * len(content["postprocessing_fns"])
    result: Mask = apply_postprocessing(mask, functions, content["postprocessing_kwargs"])
    return result
