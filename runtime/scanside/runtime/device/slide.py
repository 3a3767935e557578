"""Image in, labels out, with everything between on a device: tiles, mirror variants, weighted sums, resampling, labels.

The same graphs run on a CPU, where they are compared with `stages/slide.py` and `stages/label.py`. One thing differs by
design, and for the better: sums are float32, where nnU-Net's are float16, so a voxel whose two best logits nearly tie
may fall the other way. Devices are judged by the policy for approximations, and say so.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scanside.runtime.device.graph import Buffer, Graph, empty, upload
from scanside.runtime.device.layout import Layout, Memory, Sweep, fitting_batch, layout, memory
from scanside.runtime.errors import CaseError, DeviceMemoryError
from scanside.runtime.plan import Plan
from scanside.runtime.stages.decide import Codes
from scanside.runtime.stages.resample import Shape, Spacing
from scanside.runtime.stages.slide import Float, Progress, cut, gaussian_weights

_HOST = "cpu"


@dataclass(frozen=True)
class Device:
    """Where the graphs run.

    Attributes:
        graphs: The segmenter's `mirror` (where it mirrors), `add` and `finish`.
        networks: One a fold: `image` (N, C, *patch) → `logits` (N, K, *patch), float32.
        name: `cpu` or `cuda`: where buffers live.
        limit: Bytes that an image may take; None for no limit.
        network_per_tile: Bytes that a network's run takes a tile, as far as the caller knows.
    """

    graphs: Mapping[str, Graph]
    networks: Sequence[Graph]
    name: str = _HOST
    limit: int | None = None
    network_per_tile: int = 0


@dataclass(frozen=True)
class Labelled:
    """The result.

    Attributes:
        labels: (z, y, x) uint16 on the image's grid, as `stages.label.label` gives them.
        batch: Mirror variants at a time.
        memory: The ceiling that was stated before the run.
    """

    labels: Codes
    batch: int
    memory: Memory


def label_on_device(
    image: Float,
    shape: Shape,
    current: Spacing,
    new: Spacing,
    plan: Plan,
    device: Device,
    *,
    step: float = 0.5,
    mirror: bool = True,
    progress: Progress = lambda done, total: None,
) -> Labelled:
    """Labels of a whole image, the mean over all networks.

    Args:
        image: (C, z, y, x) float32, normalised and resampled.
        shape, current, new: As for `stages.label.label`.

    Raises:
        CaseError: If the image does not fit in the device's limit, the plan resamples logits other than linearly, or
            the network gives values that are not finite.
        DeviceMemoryError: If the device has less memory than its limit says, even for one variant at a time.
    """
    on = layout(plan, (image.shape[1], image.shape[2], image.shape[3]), shape, current, new, step)
    mirror = mirror and bool(plan.mirror_axes)
    batch, needed = fitting_batch(plan, on, mirror, device.limit, device.network_per_tile)
    while True:
        try:
            return Labelled(_labels(image, plan, on, device, batch, mirror, progress), batch, needed)
        except DeviceMemoryError as error:
            if batch == 1:
                words = str(error).rstrip(".")
                raise DeviceMemoryError(
                    f"{words}; free memory on the device, or use --device cpu."
                ) from error
        batch //= 2
        needed = memory(plan, on, batch, device.network_per_tile)


def _labels(
    image: Float, plan: Plan, on: Layout, device: Device, batch: int, mirror: bool, progress: Progress
) -> Codes:
    run = _Run(plan, on, device, batch, mirror)
    labels = np.zeros(on.labels, np.uint16)
    done = 0
    for sweep in on.sweeps:
        for y, x in itertools.product(*on.tiles.starts[1:]):
            run.tile(cut(image, on.tiles, (sweep.start, y, x)), y, x)
            done += 1
            progress(done, on.tiles.count)
        labels[sweep.first : sweep.last] = run.finish(sweep)[: sweep.last - sweep.first]
    return labels


class _Run:
    """The buffers of one image."""

    def __init__(self, plan: Plan, on: Layout, device: Device, batch: int, mirror: bool) -> None:
        self._plan, self._on, self._device = plan, on, device
        name, patch, heads = device.name, plan.patch_size, plan.labels.heads
        self._sums = upload(np.zeros(on.sums, np.float32), name)
        self._other = empty(on.sums, np.float32, name)
        self._tile = empty((1, plan.input_channels, *patch), np.float32, name)
        self._batch = empty((batch, plan.input_channels, *patch), np.float32, name) if mirror else self._tile
        self._logits = empty((batch, heads, *patch), np.float32, name)
        self._flags = [upload(flags, name) for flags in _variants(len(plan.mirror_axes), batch, mirror)]
        runs = len(self._flags) * batch * len(device.networks)
        weights = gaussian_weights(patch).reshape(on.tiles.patch)
        self._weights = upload(weights / np.float32(runs), name)
        self._share = upload(weights * np.float32(batch / runs), name)
        self._along = {"along_y": upload(on.along_y, name), "along_x": upload(on.along_x, name)}
        self._labels = empty((on.rows, *on.labels[1:]), np.uint8, name)
        self._energy = empty((), np.float32, name)

    def tile(self, values: Float, y: int, x: int) -> None:
        """Run a tile through all networks and mirror variants, and add it."""
        graphs, shape = self._device.graphs, self._on.tiles.patch
        self._tile.update_inplace(values.reshape(1, -1, *self._plan.patch_size))
        below = (0, 1, y, x)
        above = [
            whole - at - size for whole, at, size in zip(self._on.sums[1:], below[1:], shape, strict=True)
        ]
        place = upload(np.array([*below, 0, *above], np.int64), _HOST)
        for flags in self._flags:
            chosen = {"flags": flags} if self._plan.mirror_axes else {}
            if self._batch is not self._tile:
                graphs["mirror"]({"tile": self._tile, **chosen}, {"variants": self._batch})
            for network in self._device.networks:
                network({"image": self._batch}, {"logits": self._logits})
                given: dict[str, Buffer] = {"sums": self._sums, "logits": self._logits, "place": place}
                given |= {"weights": self._weights, "share": self._share, **chosen}
                graphs["add"](given, {"added": self._other})
                self._sums, self._other = self._other, self._sums

    def finish(self, sweep: Sweep) -> npt.NDArray[np.uint8]:
        """Labels of the rows that are finished; the sums move on."""
        shift = np.array([0, -sweep.step, 0, 0, 0, sweep.step, 0, 0], np.int64)
        given: dict[str, Buffer] = {"sums": self._sums, "along_z": upload(sweep.along_z, self._device.name)}
        given |= {**self._along, "shift": upload(shift, _HOST)}
        results = {"labels": self._labels, "energy": self._energy, "kept": self._other}
        self._device.graphs["finish"](given, results)
        self._sums, self._other = self._other, self._sums
        if not math.isfinite(float(self._energy.numpy())):
            raise CaseError(
                "The network returned values that are not finite for this image; check the model, its precision and "
                "the image intensities."
            )
        labels: npt.NDArray[np.uint8] = self._labels.numpy()
        return labels


def _variants(axes: int, batch: int, mirror: bool) -> list[npt.NDArray[np.bool_]]:
    """Flags of all mirror variants, `batch` at a time: (N, axes) each."""
    every = list(itertools.product((False, True), repeat=axes)) if mirror else [(False,) * axes]
    flags = np.array(every, np.bool_).reshape(len(every), axes)
    return [flags[at : at + batch] for at in range(0, len(flags), batch)]
