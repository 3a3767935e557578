"""The peers as they run warm: networks opened once, arrays in, label arrays out, each in a process of its own.

All measure the same span: from the image as an array (read from the file beforehand) to the label array on the
image's grid. Inside: cropping, normalisation, resampling, tiles, the network, accumulation, labels, uncropping.
Outside: reading and writing files, importing libraries, opening networks. Of that span, `network_s` is what passes
inside the network's call: `Module.forward` of torch, `Session.run` of the runtime.
"""

import contextlib
import io
import multiprocessing
import runpy
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from scanside.benchmarks.child import Child
from scanside.benchmarks.kinds import LOOP_SCRIPT, PeerKind
from scanside.benchmarks.processes import MIB, Spent, high_water_mark, spent
from scanside.benchmarks.results import quantity
from scanside.runtime.arrays import LabelMask

Result = TypeVar("Result")
MEMORY_METHOD = (
    "VmHWM of the peer's own process, reset before each case: the peak of that case, "
    "loaded libraries and opened networks included"
)


@dataclass
class Stopwatch:
    """Time spent inside the network, over all its calls, by a clock."""

    clock: Callable[[], float] = time.perf_counter
    seconds: float = 0.0
    calls: int = 0

    def time(self, call: Callable[..., Result]) -> Callable[..., Result]:
        """A callable that does the same and is timed."""

        def timed(*arguments: Any, **named: Any) -> Result:
            start = self.clock()
            result = call(*arguments, **named)
            self.seconds += self.clock() - start
            self.calls += 1
            return result

        return timed

    def restart(self) -> None:
        """Back to zero."""
        self.seconds, self.calls = 0.0, 0


@contextlib.contextmanager
def timed_sessions(watch: Stopwatch) -> Iterator[None]:
    """Sessions that a segmenter opens meanwhile count on `watch` the time inside their network."""
    from scanside.runtime.backends import table
    from scanside.runtime.backends.session import Session

    def open_timed(device: str, model: bytes, precision: str, threads: int | None = None) -> Session:
        session = table.open_session(device, model, precision, threads)
        session.run = watch.time(session.run)  # type: ignore[method-assign]
        return session

    with mock.patch("scanside.runtime.opening.open_session", open_timed):
        yield


@dataclass(frozen=True)
class Setup:
    """What a peer needs to open.

    Attributes:
        model: nnU-Net results folder.
        bundle: The same model as a bundle.
        folds: Names, the same for both.
        torch_device: Where nnunetv2 computes.
        proven: Whether a device has to pass the bundle's golden cases first; a benchmark may report them instead.
    """

    model: Path
    bundle: Path
    folds: tuple[str, ...]
    mirroring: bool
    torch_device: str = "cpu"
    proven: bool = True


@dataclass(frozen=True, eq=False)
class WarmRun:
    """One case in a warm peer, from array to labels; `network_runs` calls of the network took `network_s`.

    Attributes:
        stages_ms: Only where the peer tells.
    """

    spent: Spent
    network_s: float
    network_runs: int
    mask: LabelMask
    stages_ms: dict[str, float]

    @property
    def outside_s(self) -> float:
        """Time outside the network, s."""
        return self.spent.wall_s - self.network_s


@dataclass
class _Peer:
    """A program with its networks open.

    Attributes:
        load: Files → the image as the peer itself reads it; not timed.
        segment: That image → labels, and ms of each stage where the peer tells; timed.
        watch: Time inside the network.
        facts: What it has to say of itself, for the record.
    """

    load: Callable[[Sequence[Path]], Any]
    segment: Callable[[Any], tuple[LabelMask, dict[str, float]]]
    watch: Stopwatch
    facts: dict[str, str] = field(default_factory=dict)

    def said(self) -> tuple[dict[str, str], float]:
        """The facts, and the memory so far, MiB."""
        return self.facts, high_water_mark() / MIB

    def measure(self, files: Sequence[Path]) -> WarmRun:
        """Segment one image."""
        image = self.load(files)
        self.watch.restart()
        with spent() as found:
            made = self.segment(image)
        return WarmRun(found, self.watch.seconds, self.watch.calls, *made)


class Worker(Child[_Peer]):
    """The parent's handle of a peer's process. Use as a context manager.

    Attributes:
        facts: What the peer says of itself.
        opening: Time and memory of importing and opening.
    """

    def __init__(self, kind: PeerKind, setup: Setup, folder: Path) -> None:
        """Start the process and wait until its networks are open; nothing of the other programs is imported there.

        Args:
            folder: For its log.

        Raises:
            ScansideError: What opening raises.
            CaseError: If it does not come up.
        """
        opens = {"nnunetv2": _nnunet, "onnx-loop": _naive_loop}.get(kind.program, _scanside)
        start = time.perf_counter()
        super().__init__(kind.name, folder / f"{kind.name.replace(':', '-')}.log", opens, kind, setup)
        self.facts, peak = self.ask(_Peer.said)
        self.opening = [
            quantity("opening", "ms", 1000 * (time.perf_counter() - start)),
            quantity("opening, peak memory", "MiB", peak),
        ]

    def segment(self, files: Sequence[Path]) -> WarmRun:
        """Segment one image."""
        found: WarmRun = self.ask(_Peer.measure, files)
        return found


def _nnunet(kind: PeerKind, setup: Setup) -> _Peer:
    """nnUNetPredictor as `nnUNetv2_predict_from_modelfolder` sets it up: on a GPU with AMP, and all on the device."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    watch = Stopwatch()
    torch.set_num_threads(multiprocessing.cpu_count())
    with _quiet():
        predictor = nnUNetPredictor(
            use_mirroring=setup.mirroring, device=torch.device(setup.torch_device), allow_tqdm=False
        )
        folds = [fold if fold == "all" else int(fold) for fold in setup.folds]
        predictor.initialize_from_trained_model_folder(str(setup.model), folds)
    predictor.network.forward = watch.time(predictor.network.forward)

    def load(files: Sequence[Path]) -> Any:
        reader = predictor.plans_manager.image_reader_writer_class()
        return reader.read_images([str(file) for file in files])

    def segment(image: Any) -> tuple[LabelMask, dict[str, float]]:
        data, properties = image
        with _quiet():
            # Preprocessing writes into the properties; a copy is what a second call would be given.
            return predictor.predict_single_npy_array(data, dict(properties)), {}

    return _Peer(load, segment, watch, {"threads": str(torch.get_num_threads())})


def _scanside(kind: PeerKind, setup: Setup) -> _Peer:
    """An opened `Segmenter`."""
    from scanside.runtime.bundle import open_bundle
    from scanside.runtime.choose import open_segmenter
    from scanside.runtime.images.cases import CaseInput
    from scanside.runtime.images.load import load_case
    from scanside.runtime.options import Options
    from scanside.runtime.pipeline import LocalSegmenter
    from scanside.runtime.segmenter import Obtained

    watch, bundle = Stopwatch(), open_bundle(setup.bundle)
    options = Options(
        device=kind.device, precision=kind.precision, mirroring=setup.mirroring, folds=setup.folds or None
    )
    with timed_sessions(watch):
        if setup.proven:
            segmenter = open_segmenter(bundle, options)
        else:
            taken = Obtained(kind.device, kind.device, "asked for, without proof", kind.precision)
            segmenter = LocalSegmenter(bundle, options, taken)

    def load(files: Sequence[Path]) -> Any:
        return load_case(CaseInput("case", tuple(files)), len(files)).volume

    def segment(image: Any) -> tuple[LabelMask, dict[str, float]]:
        result = segmenter.segment(image)
        return result.mask, result.stages

    return _Peer(load, segment, watch, device_facts(segmenter.device))


def device_facts(device: Any) -> dict[str, str]:
    """What was obtained, for a `Device` of a results file."""
    return {name: getattr(device, name) for name in ("asked", "obtained", "why", "precision")}


def _naive_loop(kind: PeerKind, setup: Setup) -> _Peer:
    """`Loop` of the script."""
    script = runpy.run_path(str(LOOP_SCRIPT))
    watch, loop = Stopwatch(), script["Loop"](setup.bundle, setup.folds, mirroring=setup.mirroring)
    loop.network = watch.time(loop.network)

    def segment(image: Any) -> tuple[LabelMask, dict[str, float]]:
        data, first = image
        return loop.segment(data, first.GetSpacing()[::-1]), {}

    return _Peer(script["read"], segment, watch)


@contextlib.contextmanager
def _quiet() -> Any:
    """nnunetv2 prints and warns as it goes."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
