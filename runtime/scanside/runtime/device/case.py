"""A whole case on a device: the cropped image goes up once, labels come down."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from scanside.runtime.device.arrays import Array, Arrays
from scanside.runtime.device.layout import Layout, layout, linear
from scanside.runtime.device.memory import Case, Need, fitting
from scanside.runtime.device.normalise import normalise
from scanside.runtime.device.resample import resample
from scanside.runtime.device.slide import Network, Slide
from scanside.runtime.errors import DeviceMemoryError
from scanside.runtime.plan import Plan
from scanside.runtime.stages.crop import Cropped
from scanside.runtime.stages.decide import Codes
from scanside.runtime.stages.previous import one_hot
from scanside.runtime.stages.resample import resampled_shape, target_spacing
from scanside.runtime.stages.slide import Progress


@dataclass(frozen=True)
class Device:
    """What a backend lends: arrays, and its networks between two of them.

    Attributes:
        networks: One a fold.
        network_bytes: Batch → bytes that a run of one network takes between input and output.
        most: Largest batch that the networks take.
    """

    arrays: Arrays
    networks: Sequence[Network]
    network_bytes: Callable[[int], int]
    most: int


@dataclass(frozen=True)
class Labelled:
    """The result.

    Attributes:
        labels: (z, y, x) of the crop, as `stages.label.label` gives them.
        need: Memory that was stated before the run, and how the case was cut to fit it.
        rows: Rows of sums that the whole image has; more than `need.depth` where they were held in slabs.
    """

    labels: Codes
    need: Need
    rows: int


@dataclass(frozen=True)
class How:
    """Choices of a run, and who is told of it.

    Attributes:
        step: Tile step as a part of the tile.
        mirror: Average over the mirror variants that the plan allows.
        stage: A context for each stage: `normalise`, `resample`, `slide`.
        progress: Called with (tiles done, tiles in all).
    """

    step: float
    mirror: bool
    stage: Callable[[str], AbstractContextManager[None]]
    progress: Progress


def suits(plan: Plan, cropped: Cropped) -> bool:
    """Whether the device has code for the plan: logits that are resampled with splines stay on the host."""
    return linear(plan.resampling_probabilities, target_spacing(plan, cropped.spacing), cropped.spacing)


def label_case(cropped: Cropped, plan: Plan, device: Device, how: How) -> Labelled | None:
    """Labels of a crop, the mean over all networks; None where the device has not enough memory.

    Where memory lacks although it was free, a smaller batch is tried: it is the networks' need that is only estimated.

    Raises:
        InputError: If the image does not fit the plan.
        CaseError: If a network gives values that are not finite.
        BackendError: If the device fails.
    """
    target = target_spacing(plan, cropped.spacing)
    kept = plan.resampling_data.method == "none"
    shape = cropped.shape if kept else resampled_shape(cropped.shape, cropped.spacing, target)
    on = layout(plan, shape, cropped.shape, target, cropped.spacing, how.step)
    inside = cropped.mask is not None and plan.needs_mask
    folds = len(device.networks)
    case = Case(plan, cropped.shape, shape, cropped.spacing, target, inside, how.mirror, folds)
    free, lacked = device.arrays.free(), device.most + 1
    for need in fitting(case, on, device.most, free, device.network_bytes):
        if need.batch >= lacked:
            continue
        try:
            with device.arrays.work(need.total):
                labels = _labels(cropped, case, on, device, how, need)
            return Labelled(labels, need, on.tiles.padded[0])
        except DeviceMemoryError:
            lacked = need.batch
    return None


def _labels(cropped: Cropped, case: Case, on: Layout, device: Device, how: How, need: Need) -> Codes:
    image = _prepared(cropped, case, device.arrays, how)
    with how.stage("slide"):
        slide = Slide(
            device.arrays,
            image,
            on,
            case.plan,
            device.networks,
            batch=need.batch,
            depth=need.depth,
            mirror=how.mirror,
        )
        return slide.labels(how.progress)


def _prepared(cropped: Cropped, case: Case, arrays: Arrays, how: How) -> Array:
    """The image on the network's grid: (C, z, y, x) float32, a previous stage's mask as further channels."""
    plan = case.plan
    with how.stage("normalise"):
        image = arrays.upload(cropped.data)
        mask = arrays.upload(cropped.mask) if case.inside and cropped.mask is not None else None
        normalise(arrays, image, mask, plan)
        del mask
    with how.stage("resample"):
        image = resample(arrays, image, case.image, case.current, case.target, plan.resampling_data)
        if cropped.previous is None:
            return image
        hot = arrays.upload(
            one_hot(cropped.previous, case.image, case.current, case.target, plan).astype(np.bool_)
        )
        whole = arrays.xp.empty((plan.input_channels, *case.image), "float32")
        whole[: len(image)] = image
        whole[len(image) :] = hot
        return whole
