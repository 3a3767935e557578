"""Golden cases: made from the plan's own statistics, or images of the model's owner."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.images.cases import find_cases
from scanside.runtime.images.load import load_case
from scanside.runtime.images.picture_cases import find_pictures
from scanside.runtime.plan import Channel, Plan
from scanside.runtime.volume import Geometry, Volume


@dataclass(frozen=True, eq=False)
class Candidate:
    """An image that is to become a golden case."""

    name: str
    origin: Literal["synthetic", "given"]
    volume: Volume


def synthetic_cases(plan: Plan, statistics: dict[str, Any]) -> list[Candidate]:
    """Two images that lead through every stage: one of several tiles, one smaller than a tile.

    Both have an empty border (cropping), a spacing unlike the network's (resampling) and smooth structures with
    the training set's intensities. They are not anatomy: they test that two programs compute the same.

    Args:
        statistics: `foreground_intensity_properties_per_channel` of plans.json.
    """
    seed = int.from_bytes(hashlib.sha256(_seeded(plan).encode()).digest()[:4], "little")
    patch = np.array(plan.patch_size, dtype=float)
    longer = np.where(np.arange(patch.size) == patch.argmin(), 1.25, 0.95) * patch
    return [
        Candidate("synthetic-tiles", "synthetic", _phantom(plan, statistics, longer, (1.1, 0.9, 1.2), seed)),
        Candidate(
            "synthetic-small",
            "synthetic",
            _phantom(plan, statistics, 0.7 * patch, (0.9, 1.25, 0.8), seed + 1),
        ),
    ]


def _seeded(plan: Plan) -> str:
    """What the made-up images depend on: a plan of volumes gives those that it gave before there were other readers."""
    return plan.model_dump_json(exclude={"reader"} if plan.reader == "itk" else None)


def given_cases(inputs: Sequence[Path], plan: Plan, ending: str, name: str = "golden") -> list[Candidate]:
    """Images from files or an nnU-Net style folder, by number: a file's name may say whose image it is."""
    channels = len(plan.channels)
    found = (
        find_cases(inputs, channels, ending)
        if plan.reader == "itk"
        else find_pictures(inputs, ending, plan.reader)
    )
    return [
        Candidate(f"{name}-{number}", "given", load_case(case, channels, plan.reader).volume)
        for number, case in enumerate(found, start=1)
    ]


def _phantom(
    plan: Plan,
    statistics: dict[str, Any],
    size: npt.NDArray[np.float64],
    stretch: tuple[float, float, float],
    seed: int,
) -> Volume:
    """An image whose resampled size is about `size`, in file axis order."""
    spacing, extent = list(plan.spacing), list(size)
    if plan.dimension == 2:  # a 2d network takes every slice of the first axis
        spacing, extent = [max(spacing) * 4, *spacing], [4.0, *extent]
    original = [mm * factor for mm, factor in zip(spacing, stretch, strict=True)]
    shape = [
        max(4, round(voxels * mm / own)) for voxels, mm, own in zip(extent, spacing, original, strict=True)
    ]
    backward = plan.transpose_backward
    shape, original = [shape[axis] for axis in backward], [original[axis] for axis in backward]
    random = np.random.default_rng(seed)
    data = np.stack(
        [
            _channel(tuple(shape), _intensities(channel, statistics.get(str(index), {})), random)
            for index, channel in enumerate(plan.channels)
        ]
    )
    geometry = Geometry((shape[0], shape[1], shape[2]), (original[0], original[1], original[2]))
    return Volume(data.astype(np.float32), geometry)


def _intensities(channel: Channel, statistics: dict[str, Any]) -> dict[str, Any]:
    """The training set's statistics; colour is 0 to 255 whatever they say, for nnU-Net refuses anything else."""
    if channel.normalization.scheme == "RGBTo01Normalization":
        return {"mean": 127.0, "std": 50.0, "min": 0.0, "max": 255.0}
    return statistics


def _channel(
    shape: tuple[int, ...], statistics: dict[str, Any], random: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Smooth structures of two sizes, some noise, and a border of zeros."""
    fields = [ndimage.gaussian_filter(random.standard_normal(shape), [n / k for n in shape]) for k in (5, 14)]
    image = sum(field / max(float(field.std()), 1e-12) for field in fields) + 0.2 * random.standard_normal(
        shape
    )
    mean, spread = float(statistics.get("mean", 300.0)), max(float(statistics.get("std", 100.0)), 1e-6)
    low, high = float(statistics.get("min", -np.inf)), float(statistics.get("max", np.inf))
    image = np.clip(
        mean + spread * image / np.sqrt(2), max(low, mean - 4 * spread), min(high, mean + 4 * spread)
    )
    if 4 * spread > 50 and np.abs(image).max() < 30_000:
        image = np.round(image)  # stored as int16, as scanners do
    inside = np.zeros(shape, dtype=bool)
    inside[tuple(slice(min(2, n // 4), None) for n in shape)] = True
    return np.where(inside, image, 0.0)
