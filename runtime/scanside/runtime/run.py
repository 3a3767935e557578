"""Several items in one process: reading the next and writing the last while the network works on this one.

An item is a case, a study, or an image with its mask; what is done with it stands in its `Steps`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Literal, Protocol, TypeVar

from scanside.runtime.errors import (
    BackendError,
    BundleError,
    CaseError,
    ExitCode,
    InputError,
    ScansideError,
)
from scanside.runtime.events import CaseFailed, CaseFinished, Listener
from scanside.runtime.images.files import hash_of
from scanside.runtime.outcome import Features, StudyOutcome
from scanside.runtime.statistics import LabelStatistics

if TYPE_CHECKING:
    from scanside.runtime.lines import CaseLine


@dataclass(frozen=True)
class CaseResult:
    """How an item ended.

    Attributes:
        status: `ok`, `refused` (the input is unsuitable) or `failed`.
        reason: The sentence for the user; None when ok.
        stages: Stage → milliseconds, reading and writing included.
        labels: Label or region → ml; None when not ok, and for a picture.
        areas_mm2: Label or region → mm² of a picture, else None.
        remarks: What a person should know of the result: tiles that were left out.
        hashes: sha256 of the inputs, as they were read, and of the outputs, where asked for.
        statistics: Sizes and intensities of the labels, where asked for.
        study: What a study came to.
        features: What was measured of an image, where that was the task.
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
    study: StudyOutcome | None = None
    features: Features | None = None


class Item(Protocol):
    """Something to compute, and the files that it gets."""

    @property
    def name(self) -> str:
        """Unique in a run."""

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Files and folders that are read."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that must not be there before, and are there afterwards."""

    def kept(self, names: Collection[str]) -> tuple[Path, ...]:
        """The files of a finished item, where a ledger names these."""

    def told(self, line: "CaseLine") -> bool:
        """Whether a ledger's line says all that is wanted."""


ItemT = TypeVar("ItemT", bound=Item)
Taken = TypeVar("Taken", bound=Item, contravariant=True)
Loaded = TypeVar("Loaded")


class Steps(Protocol, Generic[Taken, Loaded]):
    """What is done with an item. Errors that are about one item are `ScansideError`, and end that item alone."""

    @property
    def device(self) -> str:
        """Where it is computed."""

    @property
    def node(self) -> str | None:
        """What computes it where that is not this machine: the address of an engine."""

    def load(self, item: Taken) -> Loaded:
        """Read; beside the computation of another item."""

    def compute(self, item: Taken, loaded: Loaded, listener: Listener) -> Callable[[], CaseResult]:
        """Compute; what is returned writes, beside the computation of another item."""


def run_items(
    steps: Steps[ItemT, Loaded], items: Sequence[ItemT], listener: Listener
) -> Iterator[CaseResult]:
    """Run items and yield how each ended, in order. One that is bad does not stop the others.

    Raises:
        BackendError: If the device fails: the items to come would fail as well.
        BundleError: If the bundle is damaged.
    """
    reader, writer = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "write")
    writing: Future[CaseResult] | None = None
    try:
        loading = reader.submit(steps.load, items[0]) if items else None
        for index, item in enumerate(items):
            assert loading is not None
            loaded = _settle(loading)
            following = items[index + 1] if index + 1 < len(items) else None
            loading = reader.submit(steps.load, following) if following is not None else None
            pending = _compute(steps, item, loaded, writer, listener)
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
    return codes.pop() if len(codes) == 1 else (ExitCode.CASE_FAILED if codes else ExitCode.OK)


def hashes_of(paths: Sequence[Path]) -> dict[Path, str]:
    """sha256 of the files and folders that are there."""
    return {path: hash_of(path) for path in paths if path.exists()}


def _settle(loading: "Future[Loaded]") -> Loaded | ScansideError:
    try:
        return loading.result()
    except ScansideError as error:
        return error
    except MemoryError:
        return CaseError(
            "There is not enough memory to read this image; close other programs or use a larger machine."
        )


def _compute(
    steps: Steps[ItemT, Loaded],
    item: ItemT,
    loaded: Loaded | ScansideError,
    writer: ThreadPoolExecutor,
    listener: Listener,
) -> "Future[CaseResult]":
    """Compute what was read and hand it to the writer; failures become results."""
    if isinstance(loaded, ScansideError):
        return _done(failure(item, loaded))
    try:
        write = steps.compute(item, loaded, listener)
    except (BackendError, BundleError):
        raise
    except ScansideError as error:
        return _done(failure(item, error))
    except MemoryError:
        return _done(
            failure(item, CaseError("There is not enough memory for this case; use a larger machine."))
        )
    return writer.submit(_write, item, write)


def _write(item: Item, write: Callable[[], CaseResult]) -> CaseResult:
    try:
        return write()
    except ScansideError as error:
        return failure(item, error)


def failure(item: Item, error: ScansideError) -> CaseResult:
    """How an item ended that an error ended."""
    refused = isinstance(error, InputError)
    status: Literal["refused", "failed"] = "refused" if refused else "failed"
    return CaseResult(item.name, status, str(error), item.inputs, (), {}, None, error.exit_code)


def _done(result: CaseResult) -> "Future[CaseResult]":
    future: Future[CaseResult] = Future()
    future.set_result(result)
    return future


def _announce(result: CaseResult, listener: Listener) -> CaseResult:
    listener(
        CaseFinished(result.name) if result.status == "ok" else CaseFailed(result.name, result.reason or "")
    )
    return result
