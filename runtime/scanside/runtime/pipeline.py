"""The way of one case, in order: read this file first.

    orient → (per stage of a cascade: crop → normalise → resample → slide → label → restore) → postprocess → orient

Of an ensemble every member goes this way, and the labels are those of their mean. Every step is a function from a
record to a record in `stages/`; nothing is remembered between cases but the opened networks. Where a GPU lends its
memory, all from `normalise` to `label` is one call: `device/case.py`.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import LabelMask
from scanside.runtime.bundle import Bundle
from scanside.runtime.clock import Clock
from scanside.runtime.device.case import Device, How, label_case, suits
from scanside.runtime.errors import BackendError, UsageError
from scanside.runtime.events import Listener, ignore
from scanside.runtime.images.orient import reorient, restore_orientation
from scanside.runtime.opening import Stage, open_stage
from scanside.runtime.options import Options
from scanside.runtime.segmenter import (
    Obtained,
    Probabilities,
    Segmentation,
    Segmenter,
    check_channels,
    measured,
)
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
from scanside.runtime.volume import Volume


class LocalSegmenter(Segmenter):
    """A segmenter with its networks opened on one device of this machine."""

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
        self._members: list[LocalSegmenter] = []
        members = bundle.manifest.segmenters[self.role].members
        try:
            for role in members:
                self._members.append(LocalSegmenter(bundle, replace(self.options, role=role), device))
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
        """As `Segmenter.segment`."""
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


@dataclass(frozen=True, eq=False)
class _Staged:
    mask: LabelMask
    probabilities: Probabilities | None
    logits: npt.NDArray[np.float16] | None
