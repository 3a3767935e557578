"""The naive peer, `onnx-loop` of `bench peers`: ONNX Runtime on a bundle's fp32 network, and nnU-Net in plain numpy.

What a good engineer writes in an afternoon who has the ONNX file and knows nnU-Net's paper: no approximation on
purpose, no trick either. Float32 throughout; scores of all classes on the image's grid; argmax. It shares no code with
the runtime, and reads of the bundle what nnU-Net's plans.json would have told.

`python benchmarks/scripts/naive_loop.py BUNDLE IMAGES OUT FOLDS mirroring|no-mirroring` segments a folder.
"""

import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from scanside.runtime.arrays import Float32

_ANISOTROPIC = 3
"""Ratio of spacings above which nnU-Net does not interpolate along the coarse axis."""


class Loop:
    """Opened networks of a bundle with one single-stage 3-D segmenter of plain labels."""

    def __init__(self, bundle: Path, folds: Sequence[str], *, mirroring: bool) -> None:
        import onnxruntime as ort

        ((_, segmenter),) = json.loads((bundle / "bundle.json").read_text())["segmenters"].items()
        self._plan: dict[str, Any] = segmenter["plan"]
        if (
            len(self._plan["patch_size"]) != 3
            or self._plan["labels"]["regions_class_order"]
            or self._plan["reorient"]
        ):
            raise SystemExit("The naive loop takes 3-D networks with plain labels; leave onnx-loop out.")
        self._axes = tuple(self._plan["mirror_axes"]) if mirroring else ()
        files = [bundle / net["files"]["fp32"] for net in segmenter["networks"] if net["fold"] in folds]
        self._sessions = [
            ort.InferenceSession(str(file), providers=["CPUExecutionProvider"]) for file in files
        ]
        self._weights = _gaussian(self._plan["patch_size"])

    def network(self, fold: int, tile: Float32) -> Float32:
        """(1, C, z, y, x) → (1, K, z, y, x) by one fold's network."""
        session = self._sessions[fold]
        result: Float32 = session.run(None, {session.get_inputs()[0].name: tile})[0]
        return result

    def segment(self, image: Float32, spacing: Sequence[float]) -> npt.NDArray[np.uint8]:
        """Labels (Z, Y, X) of an image (C, Z, Y, X) with its spacing (z, y, x) in mm."""
        forward, backward = self._plan["transpose_forward"], self._plan["transpose_backward"]
        image = image.transpose(0, *(1 + axis for axis in forward))
        spacing = [spacing[axis] for axis in forward]
        target = self._plan["spacing"]
        box = ndimage.find_objects(ndimage.binary_fill_holes((image != 0).any(axis=0)).astype(np.uint8))[0]
        cropped = image[:, *box]
        normal = np.stack([self._normal(channel, number) for number, channel in enumerate(cropped)])
        shape = [round(n * old / new) for n, old, new in zip(normal.shape[1:], spacing, target, strict=True)]
        scores = self._scores(_resize(normal, shape, 3, _coarse(spacing, target)))
        scores = _resize(scores, cropped.shape[1:], 1, _coarse(target, spacing))
        mask = np.zeros(image.shape[1:], np.uint8)
        mask[box] = scores.argmax(axis=0)
        return mask.transpose(backward)

    def _normal(self, channel: Float32, number: int) -> Float32:
        how = self._plan["channels"][number]["normalization"]
        if how["scheme"] != "ZScoreNormalization":
            raise SystemExit(f"The naive loop does not know {how['scheme']}; leave onnx-loop out.")
        inside = channel != 0 if how["use_mask"] else np.ones_like(channel, bool)
        return np.where(inside, (channel - channel[inside].mean()) / max(channel[inside].std(), 1e-8), 0)

    def _scores(self, image: Float32) -> Float32:
        """Mean logits of all folds over overlapping tiles, (K, z, y, x)."""
        patch = self._plan["patch_size"]
        short = [max(0, size - n) for n, size in zip(image.shape[1:], patch, strict=True)]
        before = [n // 2 for n in short]
        padded = np.pad(image, [(0, 0), *((b, n - b) for b, n in zip(before, short, strict=True))])
        sums: Float32 | None = None
        weights = np.zeros(padded.shape[1:], np.float32)
        for corner in itertools.product(*map(_starts, padded.shape[1:], patch)):
            window = tuple(slice(start, start + size) for start, size in zip(corner, patch, strict=True))
            tile = np.ascontiguousarray(padded[:, *window][None], np.float32)
            logits = self._tile(tile)
            if sums is None:
                sums = np.zeros((logits.shape[0], *padded.shape[1:]), np.float32)
            sums[:, *window] += logits * self._weights
            weights[window] += self._weights
        assert sums is not None
        sums /= weights
        return sums[:, *(slice(b, b + n) for b, n in zip(before, image.shape[1:], strict=True))]

    def _tile(self, tile: Float32) -> Float32:
        """Mean over folds and mirror variants."""
        axes = [2 + axis for axis in self._axes]
        flips = [c for n in range(len(axes) + 1) for c in itertools.combinations(axes, n)]
        found = [
            np.flip(self.network(fold, np.ascontiguousarray(np.flip(tile, flip))), flip)[0]
            for fold in range(len(self._sessions))
            for flip in flips
        ]
        mean: Float32 = sum(found[1:], start=found[0]) / len(found)
        return mean


def _gaussian(patch: Sequence[int]) -> Float32:
    peak = np.zeros(patch, np.float32)
    peak[tuple(n // 2 for n in patch)] = 1
    weights: Float32 = ndimage.gaussian_filter(peak, [n / 8 for n in patch], mode="constant")
    weights /= weights.max()
    return np.maximum(weights, weights[weights > 0].min())


def _starts(size: int, patch: int) -> list[int]:
    """Tiles at most half a patch apart, evenly spread."""
    count = int(np.ceil((size - patch) / (patch / 2))) + 1
    return [round(start) for start in np.linspace(0, size - patch, count)]


def _coarse(spacing: Sequence[float], other: Sequence[float]) -> int | None:
    """The axis of thick slices, or None."""
    for mm in (spacing, other):
        if max(mm) / min(mm) > _ANISOTROPIC:
            return int(np.argmax(mm))
    return None


def _resize(images: Float32, shape: Sequence[int], order: int, coarse: int | None) -> Float32:
    """(C, z, y, x) to another grid over the same box; slices apart where `coarse` names their axis."""
    if images.shape[1:] == tuple(shape):
        return images
    if coarse is None:
        return np.stack([_zoom(image, shape, order) for image in images])
    slices = np.moveaxis(images, 1 + coarse, 1)
    plane = [size for axis, size in enumerate(shape) if axis != coarse]
    made = np.stack([[_zoom(one, plane, order) for one in image] for image in slices])
    nearest = np.floor((np.arange(shape[coarse]) + 0.5) * slices.shape[1] / shape[coarse]).astype(int)
    return np.moveaxis(made[:, nearest], 1, 1 + coarse)


def _zoom(image: Float32, shape: Sequence[int], order: int) -> Float32:
    factors = [new / old for new, old in zip(shape, image.shape, strict=True)]
    result: Float32 = ndimage.zoom(image, factors, order=order, mode="nearest", grid_mode=True)
    return result.clip(image.min(), image.max())  # as skimage.transform.resize does


def read(files: Sequence[Path]) -> tuple[Float32, Any]:
    """(C, Z, Y, X) of one file a channel, and the first as SimpleITK has it."""
    images = [sitk.ReadImage(str(file)) for file in files]
    return np.stack([sitk.GetArrayFromImage(image).astype(np.float32) for image in images]), images[0]


def main(bundle: Path, images: Path, out: Path, folds: Sequence[str], *, mirroring: bool) -> None:
    """Segment every case of a folder of `<case>_0000<ending>` files."""
    loop = Loop(bundle, folds, mirroring=mirroring)
    for first in sorted(images.glob("*_0000.*")):
        name, ending = first.name.split("_0000")
        data, grid = read(sorted(images.glob(f"{name}_????{ending}")))
        mask = sitk.GetImageFromArray(loop.segment(data, grid.GetSpacing()[::-1]))
        mask.CopyInformation(grid)
        sitk.WriteImage(mask, str(out / f"{name}{ending}"))


if __name__ == "__main__":
    _, model, folder, masks, chosen, mirrored = sys.argv
    main(Path(model), Path(folder), Path(masks), chosen.split(","), mirroring=mirrored == "mirroring")
