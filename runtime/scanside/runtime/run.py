"""Several cases in one process: reading the next and writing the last while the network works on this one."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

from scanside.runtime.errors import (
    BackendError,
    BundleError,
    CaseError,
    ExitCode,
    InputError,
    ScansideError,
)
from scanside.runtime.events import CaseFailed, CaseFinished, Listener, StageFinished
from scanside.runtime.images.files import hash_of
from scanside.runtime.images.load import LoadedCase, load_case
from scanside.runtime.images.orient import USUAL, unlike_training
from scanside.runtime.labels import keep_roi
from scanside.runtime.outputs import Task, check_outputs, write_outputs
from scanside.runtime.pipeline import Segmentation, Segmenter
from scanside.runtime.plan import Plan
from scanside.runtime.statistics import LabelStatistics, measure_labels


@dataclass(frozen=True)
class CaseResult:
    """How a case ended.

    Attributes:
        status: `ok`, `refused` (the input is unsuitable) or `failed`.
        reason: The sentence for the user; None when ok.
        stages: Stage → milliseconds, reading and writing included.
        labels: Label or region → ml; None when not ok, and for a picture.
        areas_mm2: Label or region → mm² of a picture, else None.
        remarks: What a person should know of the result: tiles that were left out.
        hashes: sha256 of the inputs, as they were read, and of the outputs, where asked for.
        statistics: Sizes and intensities of the labels, where asked for.
    """

    name: str
    status: Literal["ok", "refused", "failed"]
    reason: str | None
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    stages: dict[str, float]
    labels: dict[str, float] | None
    exit_code: ExitCode
    remarks: tuple[str, ...] = ()
    areas_mm2: dict[str, float] | None = None
    hashes: dict[Path, str] | None = None
    statistics: tuple[LabelStatistics, ...] | None = None


def run_cases(
    segmenter: Segmenter, tasks: Sequence[Task], listener: Listener, *, hashed: bool = False
) -> Iterator[CaseResult]:
    """Run cases and yield how each ended, in order. One bad case does not stop the others.

    Args:
        hashed: Also hash the files of every case, beside the network's work.

    Raises:
        BackendError: If the device fails: the cases to come would fail as well.
        BundleError: If the bundle is damaged.
    """
    plan = segmenter.plan
    reader, writer = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "write")
    writing: Future[CaseResult] | None = None
    try:
        loading = reader.submit(_load, tasks[0], plan, hashed) if tasks else None
        for index, task in enumerate(tasks):
            assert loading is not None
            loaded = _settle(loading)
            following = tasks[index + 1] if index + 1 < len(tasks) else None
            loading = reader.submit(_load, following, plan, hashed) if following else None
            pending = _compute(segmenter, task, loaded, writer, listener)
            if writing is not None:
                yield _announce(writing.result(), listener)
            writing = pending
        if writing is not None:
            yield _announce(writing.result(), listener)
    finally:
        for pool in (reader, writer):
            pool.shutdown(wait=True, cancel_futures=True)


def exit_code(results: Sequence[CaseResult]) -> ExitCode:
    """0 if all are ok; the common code if all failed alike; else 1."""
    codes = {result.exit_code for result in results}
    return codes.pop() if len(codes) == 1 else ExitCode.CASE_FAILED


@dataclass(frozen=True, eq=False)
class _Loaded:
    case: LoadedCase
    ms: float
    hashes: dict[Path, str] | None


def _load(task: Task, plan: Plan, hashed: bool) -> _Loaded:
    start = perf_counter()
    # Before they are read: what changes in between is seen as changed, never as the same.
    hashes = {path: hash_of(path) for path in task.case.channels if path.exists()} if hashed else None
    return _Loaded(
        load_case(task.case, len(plan.channels), plan.reader), (perf_counter() - start) * 1000, hashes
    )


def _settle(loading: "Future[_Loaded]") -> _Loaded | ScansideError:
    try:
        return loading.result()
    except ScansideError as error:
        return error
    except MemoryError:
        return CaseError(
            "There is not enough memory to read this image; close other programs or use a larger machine."
        )


def _compute(
    segmenter: Segmenter,
    task: Task,
    loaded: _Loaded | ScansideError,
    writer: ThreadPoolExecutor,
    listener: Listener,
) -> "Future[CaseResult]":
    """Segment a loaded case and hand it to the writer; failures become results."""
    if isinstance(loaded, ScansideError):
        return _done(_failure(task, loaded))
    case = loaded.case
    listener(StageFinished(case.name, "read", loaded.ms))
    try:
        check_outputs(task, case)
        wanted = task.probabilities is not None
        result = segmenter.segment(case.volume, case=case.name, listener=listener, probabilities=wanted)
    except (BackendError, BundleError):
        raise
    except ScansideError as error:
        return _done(_failure(task, error))
    except MemoryError:
        return _done(
            _failure(task, CaseError("There is not enough memory for this case; use a larger machine."))
        )
    return writer.submit(_write, segmenter, task, loaded, result, listener)


def _write(
    segmenter: Segmenter,
    task: Task,
    loaded: _Loaded,
    result: Segmentation,
    listener: Listener,
) -> CaseResult:
    start, case, hashes = perf_counter(), loaded.case, loaded.hashes
    result = result if task.roi is None else keep_roi(result, task.roi)
    try:
        write_outputs(segmenter, task, case, result)
        if hashes is not None:
            hashes = hashes | {path: hash_of(path) for path in task.files}
    except ScansideError as error:
        return _failure(task, error)
    write_ms = (perf_counter() - start) * 1000
    listener(StageFinished(case.name, "write", write_ms))
    stages = {"read": loaded.ms, **result.stages, "write": write_ms}
    remarks = (*result.remarks, *unlike_training(case.volume.geometry, _trained(segmenter, case), case.name))
    return CaseResult(
        case.name,
        "ok",
        None,
        task.case.channels,
        task.files,
        stages,
        result.volumes_ml,
        ExitCode.OK,
        remarks,
        result.areas_mm2,
        hashes,
        _statistics(segmenter, task, case, result),
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


def _failure(task: Task, error: ScansideError) -> CaseResult:
    refused = isinstance(error, InputError)
    return CaseResult(
        task.case.name,
        "refused" if refused else "failed",
        str(error),
        task.case.channels,
        (),
        {},
        None,
        error.exit_code,
    )


def _done(result: CaseResult) -> "Future[CaseResult]":
    future: Future[CaseResult] = Future()
    future.set_result(result)
    return future


def _announce(result: CaseResult, listener: Listener) -> CaseResult:
    listener(
        CaseFinished(result.name) if result.status == "ok" else CaseFailed(result.name, result.reason or "")
    )
    return result
