"""The way of one case, in order: read this file first.

    orient → (per stage of a cascade: crop → normalise → resample → slide → label → restore) → postprocess → orient

Of an ensemble every member goes this way, and the labels are those of their mean. Every step is a function from a
record to a record in `stages/`; nothing is remembered between cases but the opened networks. Where a GPU lends its
memory, all from `normalise` to `label` is one call: `device/case.py`.
"""

from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import LabelMask
from scanside.runtime.bundle import Bundle
from scanside.runtime.clock import Clock
from scanside.runtime.device.case import Device, How, label_case, suits
from scanside.runtime.errors import BackendError, InputError, UsageError
from scanside.runtime.events import Listener, ignore
from scanside.runtime.images.orient import reorient, restore_orientation
from scanside.runtime.opening import Stage, open_stage
from scanside.runtime.options import Options
from scanside.runtime.plan import Plan
from scanside.runtime.stages.body import Body, find_body
from scanside.runtime.stages.crop import Cropped, crop, restore, restore_probabilities
from scanside.runtime.stages.decide import Codes
from scanside.runtime.stages.ensemble import add_member, label_mean, require_memory, under_name
from scanside.runtime.stages.label import label, label_with_probabilities
from scanside.runtime.stages.normalise import normalise
from scanside.runtime.stages.postprocess import postprocess
from scanside.runtime.stages.previous import one_hot
from scanside.runtime.stages.resample import resample_image, resampled_shape, target_spacing
from scanside.runtime.stages.slide import average_folds, finish_average, slide, tiling
from scanside.runtime.volume import Geometry, Volume

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The result of one case.

    Attributes:
        mask: (Z, Y, X) uint8 or uint16 on the grid of the input.
        probabilities: (K, Z, Y, X) float32 where asked for.
        volumes_ml: Volume of each label or region, ml; None for a picture, which has no thickness, and where the file
            says no spacing.
        stages: Stage name → milliseconds, in order.
        logits: (K, z, y, x) float16 on the network's grid of the last stage, where asked for.
        remarks: What a person should know of an approximation: how many tiles were left out.
        on_device: The last stage's labels were computed on the device.
        areas_mm2: Area of each label or region of a picture, mm²; None for a volume, and for one that has no scale.
    """

    mask: LabelMask
    volumes_ml: dict[str, float] | None
    stages: dict[str, float]
    probabilities: Probabilities | None = None
    logits: npt.NDArray[np.float16] | None = None
    remarks: tuple[str, ...] = ()
    on_device: bool = False
    areas_mm2: dict[str, float] | None = None


@dataclass(frozen=True)
class Obtained:
    """The device asked for, the one obtained, and why.

    Attributes:
        engines: sha256 of the compiled engines that passed the golden cases; None while they are being tried.
        engine: The server's model that computes in place of this machine (ADR 35), whose device is `obtained`.
    """

    asked: str
    obtained: str
    why: str
    precision: str
    engines: frozenset[str] | None = None
    engine: str | None = None

    @property
    def words(self) -> str:
        """The device obtained, for people."""
        return self.obtained if self.engine is None else f"{self.obtained} of {self.engine}"


class Segmenter:
    """A bundle's segmenter with its networks opened on one device. Use as a context manager."""

    def __init__(self, bundle: Bundle, options: Options, device: Obtained) -> None:
        """Open the networks.

        Args:
            device: Which backend, from `choose.choose_device`.

        Raises:
            BundleError: If a network's file is damaged.
            BackendError: If the device does not open.
        """
        self.bundle, self.options, self.device = bundle, options.settled(device.precision), device
        self.role = bundle.role(options.role)
        self._stages: list[Stage] = []
        self._members: list[Segmenter] = []
        members = bundle.manifest.segmenters[self.role].members
        try:
            for role in members:
                self._members.append(Segmenter(bundle, replace(self.options, role=role), device))
            for role in () if members else bundle.manifest.chain(self.role):
                self._stages.append(open_stage(bundle, role, self.options, device.obtained))
            if device.engines is not None and not self.engines <= device.engines:
                raise BackendError(
                    f"An engine of {device.obtained} changed after the golden cases had passed; run again."
                )
        except BaseException:
            self.close()
            raise

    @property
    def engines(self) -> frozenset[str]:
        """sha256 of the compiled engines that run, where the device compiles."""
        specs = [session.spec for stage in self._stages for session in stage.sessions]
        own = frozenset(spec.engine for spec in specs if spec.engine)
        return own.union(*(member.engines for member in self._members))

    @property
    def plan(self) -> Plan:
        """The plan whose labels the mask has."""
        return self.bundle.manifest.segmenters[self.role].plan

    def segment(
        self,
        volume: Volume,
        *,
        case: str = "case",
        listener: Listener = ignore,
        probabilities: bool = False,
        logits: bool = False,
        previous: LabelMask | None = None,
    ) -> Segmentation:
        """Segment one image.

        Args:
            volume: The channels the plan names, in their order, on one grid.
            case: Name used in events.
            listener: Receives the events of this case.
            probabilities: Also compute full-resolution probabilities (memory: all classes at full resolution).
            logits: Also keep the logits on the network's grid: what the parity gate compares.
            previous: Mask of a cascade's previous stage on the grid of the image; only the last stage runs then.

        Raises:
            InputError: If the image does not fit the plan.
            CaseError: If the network's outputs are not usable.
        """
        check_channels(self.plan, volume)
        if self._members and previous is None:
            return self._together(volume, Clock(case, listener), probabilities)
        clock = Clock(case, listener)
        original = volume.geometry
        volume, mask = self._oriented(volume, previous)
        staged: _Staged | None = None
        for stage in self._stages if previous is None else self._stages[-1:]:
            last = stage is self._stages[-1]
            prefix = "" if last else f"{stage.role}: "
            staged = self._run_stage(stage, volume, mask, clock, prefix, last and probabilities, logits)
            mask = staged.mask
        assert staged is not None
        with clock.stage("postprocess"):
            mask, result = postprocess(staged.mask, self.plan.postprocessing), staged.probabilities
            if self.plan.reorient:
                mask = restore_orientation(mask, volume.geometry, original)
                if result is not None:
                    result = np.stack([restore_orientation(p, volume.geometry, original) for p in result])
        volumes, areas = measured(mask, self.plan, original)
        return Segmentation(
            mask,
            volumes,
            clock.ms,
            result,
            staged.logits if logits else None,
            tuple(clock.remarks),
            staged.logits is None,
            areas,
        )

    def _together(self, volume: Volume, clock: Clock, probabilities: bool) -> Segmentation:
        """An ensemble: the labels of the mean of its members' probabilities."""
        require_memory(volume.geometry.shape, self.plan.labels)
        total: Probabilities | None = None
        for member in self._members:
            heard = under_name(clock.listener, member.role)
            found = member.segment(volume, case=clock.case, listener=heard, probabilities=True)
            clock.ms |= {f"{member.role}: {stage}": ms for stage, ms in found.stages.items()}
            clock.remarks += found.remarks
            assert found.probabilities is not None
            total = add_member(total, found.probabilities)
            del found
        assert total is not None
        with clock.stage("average"):
            mask = label_mean(total, len(self._members), self.plan.labels)
        with clock.stage("postprocess"):
            mask = postprocess(mask, self.plan.postprocessing)
        volumes, areas = measured(mask, self.plan, volume.geometry)
        kept = total if probabilities else None
        return Segmentation(mask, volumes, clock.ms, kept, None, tuple(clock.remarks), False, areas)

    def _oriented(self, volume: Volume, previous: LabelMask | None) -> tuple[Volume, LabelMask | None]:
        """The image, and the previous stage's mask where one is given, in the plan's canonical orientation."""
        if previous is not None and self.plan.previous_stage is None:
            raise UsageError(f"Segmenter '{self.role}' is no second stage of a cascade and takes no mask.")
        if not self.plan.reorient:
            return volume, previous
        if previous is not None:
            as_image = Volume(previous[None].astype(np.float32), volume.geometry)
            previous = reorient(as_image, self.plan.reorient)[0].data[0].astype(previous.dtype)
        return reorient(volume, self.plan.reorient)[0], previous

    def _run_stage(
        self,
        stage: Stage,
        volume: Volume,
        previous: LabelMask | None,
        clock: Clock,
        prefix: str,
        probabilities: bool,
        logits: bool,
    ) -> "_Staged":
        plan, values, sums, labels = stage.plan, None, None, None
        with clock.stage(f"{prefix}crop"):
            cropped = crop(volume, plan, previous)
            body = find_body(cropped.data, cropped.spacing) if self.options.skip_empty_tiles else None
        place = cropped.place
        if stage.device and not probabilities and not logits and suits(plan, cropped):
            labels = self._on_device(stage, stage.device, cropped, clock, prefix)
        if labels is None:
            image = self._prepare(stage, cropped, clock, prefix)
            del cropped  # a resampled image needs its original no more
            if body is not None:
                clock.remarks.append(self._left_out(stage, body, image.shape[1:]))
            with clock.stage(f"{prefix}slide"):
                sums = self._logits(stage, image, clock, f"{prefix}slide", body)
            del image  # labelling needs it no more
            spacings = target_spacing(plan, place.spacing), place.spacing
            with clock.stage(f"{prefix}label"):
                if probabilities:
                    labels, values = label_with_probabilities(sums, place.shape, *spacings, plan)
                else:
                    labels = label(sums, place.shape, *spacings, plan)
        with clock.stage(f"{prefix}restore"):
            mask = restore(labels, place, plan)
            full = None if values is None else restore_probabilities(values, place, plan)
        return _Staged(mask, full, sums)

    def _on_device(
        self, stage: Stage, device: Device, cropped: Cropped, clock: Clock, prefix: str
    ) -> Codes | None:
        """From the cropped image to its labels on the device; None, with a remark, where its memory is too small."""
        how = How(
            self.options.step_size,
            self.options.mirroring,
            lambda name: clock.stage(f"{prefix}{name}"),
            lambda done, total: clock.progress(f"{prefix}slide", done, total),
        )
        found = label_case(cropped, stage.plan, device, how)
        if found is None:
            clock.remarks.append(
                f"The device has too little free memory for {stage.role} of this image: only the network ran on it."
            )
            return None
        slabs = f", sums in slabs of {found.need.depth} rows" if found.need.depth < found.rows else ""
        clock.remarks.append(
            f"Labels of {stage.role} were computed on the device: at most "
            f"{found.need.total / 2**30:.2f} GiB of its memory beside the networks, {found.need.batch} tile(s) or "
            f"mirror variant(s) at a time{slabs}."
        )
        return found.labels

    def _prepare(self, stage: Stage, cropped: Cropped, clock: Clock, prefix: str) -> npt.NDArray[np.float32]:
        """The image on the network's grid. Overwrites the crop."""
        plan = stage.plan
        with clock.stage(f"{prefix}normalise"):
            image = normalise(cropped, plan)
        with clock.stage(f"{prefix}resample"):
            target = target_spacing(plan, cropped.spacing)
            shape = resampled_shape(image.shape[1:], cropped.spacing, target)
            image = resample_image(image, shape, cropped.spacing, target, plan.resampling_data)
            if cropped.previous is None:
                return image
            hot = one_hot(cropped.previous, image.shape[1:], cropped.spacing, target, plan)
            return np.concatenate([image, hot])

    def _logits(
        self,
        stage: Stage,
        image: npt.NDArray[np.float32],
        clock: Clock,
        name: str,
        body: Body | None,
    ) -> npt.NDArray[np.float16]:
        """Sliding window of every fold, averaged as nnU-Net averages."""
        folds, total = len(stage.sessions), None
        for index, session in enumerate(stage.sessions):

            def progress(done: int, count: int, before: int = index) -> None:
                clock.progress(name, before * count + done, folds * count)

            logits = slide(
                image, session.run, stage.plan, self.options.step_size, self.options.mirroring, progress, body
            )
            if folds == 1:
                return logits
            total = average_folds(total, logits)
        assert total is not None
        return finish_average(total, folds)

    def _left_out(self, stage: Stage, body: Body, shape: tuple[int, ...]) -> str:
        if not body.stands_out:
            return f"No body stands out from the air in the image of {stage.role}; all tiles were computed."
        tiles = tiling(shape, stage.plan.patch_size, self.options.step_size)
        count = tiles.count - tiles.held(body, shape)
        return f"{count} of {tiles.count} tiles of {stage.role} lie outside the body and were not computed."

    def close(self) -> None:
        """Free the networks."""
        for member in self._members:
            member.close()
        for stage in self._stages:
            for session in stage.sessions:
                session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, eq=False)
class _Staged:
    mask: LabelMask
    probabilities: Probabilities | None
    logits: npt.NDArray[np.float16] | None


def check_channels(plan: Plan, volume: Volume) -> None:
    """See that an image has the channels that the model takes.

    Raises:
        InputError: If it has not.
    """
    wanted = len(plan.channels)
    if volume.channels != wanted:
        names = ", ".join(channel.name for channel in plan.channels)
        raise InputError(f"The model takes {wanted} channel(s) ({names}), the image has {volume.channels}.")


def measured(
    mask: LabelMask, plan: Plan, geometry: Geometry
) -> tuple[dict[str, float] | None, dict[str, float] | None]:
    """Volumes of a mask's labels in ml, or areas in mm² of a picture's; the other is None, or both without a scale."""
    match geometry.measure:
        case "ml":
            return _sizes(mask, plan, geometry.voxel_volume_ml), None
        case "mm2":
            return None, _sizes(mask, plan, geometry.pixel_area_mm2)
    return None, None


def _sizes(mask: LabelMask, plan: Plan, unit: float) -> dict[str, float]:
    """Voxels of each label or region, times `unit`."""
    counts = {value: int(np.count_nonzero(mask == value)) for value in plan.labels.foreground}
    sizes = {}
    for name, value in plan.labels.names.items():
        members = set(value) if isinstance(value, tuple) else {value}
        if members != {0}:
            sizes[name] = round(sum(counts.get(member, 0) for member in members) * unit, 6)
    return sizes
