"""Cases → masks: what `run.py` does with each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from scanside.runtime.errors import ExitCode
from scanside.runtime.events import Listener, StageFinished
from scanside.runtime.images.letters import USUAL
from scanside.runtime.images.load import LoadedCase, load_case
from scanside.runtime.images.orient import unlike_training
from scanside.runtime.labels import keep_roi
from scanside.runtime.outputs import Task, check_outputs, write_outputs
from scanside.runtime.run import CaseResult, hashes_of, run_items
from scanside.runtime.segmenter import Segmentation, Segmenter
from scanside.runtime.statistics import LabelStatistics, measure_labels


def run_cases(
    segmenter: Segmenter, tasks: Sequence[Task], listener: Listener, *, hashed: bool = False
) -> Iterator[CaseResult]:
    """Run cases and yield how each ended, in order: see `run_items`.

    Args:
        hashed: Also hash the files of every case, beside the network's work.

    Raises:
        BackendError: If the device fails: the cases to come would fail as well.
        BundleError: If the bundle is damaged.
    """
    return run_items(MaskSteps(segmenter, hashed=hashed), tasks, listener)


@dataclass(frozen=True, eq=False)
class Read:
    """A case that was read.

    Attributes:
        hashes: sha256 of its files, where asked for.
    """

    case: LoadedCase
    ms: float
    hashes: dict[Path, str] | None


class MaskSteps:
    """Reads, segments, and writes masks and what stands beside them."""

    def __init__(self, segmenter: Segmenter, *, hashed: bool) -> None:
        """Take an opened segmenter."""
        self._segmenter, self._hashed = segmenter, hashed

    @property
    def device(self) -> str:
        """The device obtained."""
        return self._segmenter.device.obtained

    @property
    def node(self) -> str | None:
        """The server's model that computes, where one does."""
        return self._segmenter.device.engine

    def load(self, task: Task) -> Read:
        """Read the channels of a case.

        Raises:
            InputError: If they are no image of this model.
        """
        start = perf_counter()
        # Before they are read: what changes in between is seen as changed, never as the same.
        hashes = hashes_of(task.inputs) if self._hashed else None
        plan = self._segmenter.plan
        case = load_case(task.case, len(plan.channels), plan.reader)
        return Read(case, (perf_counter() - start) * 1000, hashes)

    def compute(self, task: Task, loaded: Read, listener: Listener) -> Callable[[], CaseResult]:
        """Segment.

        Raises:
            ScansideError: If the case cannot be computed, or not be written as asked.
        """
        case = loaded.case
        listener(StageFinished(case.name, "read", loaded.ms))
        check_outputs(task, case)
        wanted = task.probabilities is not None
        result = self._segmenter.segment(case.volume, case=case.name, listener=listener, probabilities=wanted)
        return lambda: self._write(task, loaded, result, listener)

    def _write(self, task: Task, loaded: Read, result: Segmentation, listener: Listener) -> CaseResult:
        start, case, hashes = perf_counter(), loaded.case, loaded.hashes
        result = result if task.roi is None else keep_roi(result, task.roi)
        write_outputs(self._segmenter, task, case, result)
        if hashes is not None:
            hashes = hashes | hashes_of(task.files)
        write_ms = (perf_counter() - start) * 1000
        listener(StageFinished(case.name, "write", write_ms))
        stages = {"read": loaded.ms, **result.stages, "write": write_ms}
        known = _trained(self._segmenter, case)
        return CaseResult(
            case.name,
            "ok",
            None,
            task.inputs,
            task.files,
            stages,
            result.volumes_ml,
            ExitCode.OK,
            (*result.remarks, *unlike_training(case.volume.geometry, known, case.name)),
            result.areas_mm2,
            hashes,
            _statistics(self._segmenter, task, case, result),
        )


def _statistics(
    segmenter: Segmenter, task: Task, case: LoadedCase, result: Segmentation
) -> tuple[LabelStatistics, ...] | None:
    if not task.measured:
        return None
    channels = [channel.name for channel in segmenter.plan.channels]
    return measure_labels(case.volume, result.mask, segmenter.plan.labels, channels, task.roi)


def _trained(segmenter: Segmenter, case: LoadedCase) -> tuple[str, ...]:
    """Orientations that the segmenter knows; empty where it does not matter or nobody knows them."""
    if segmenter.plan.reorient:
        return ()
    known = segmenter.bundle.manifest.orientation.get(segmenter.plan.channels[0].name.lower())
    return known or ((USUAL,) if case.source is not None else ())
