"""The peers as they run warm: networks opened once, arrays in, label arrays out.

Both measure the same span: from the image as an array (read from the file beforehand) to the label array on the
image's grid. Inside: cropping, normalisation, resampling, tiles, the network, accumulation, labels, uncropping.
Outside: reading and writing files, importing libraries, opening networks. Of that span, `network_s` is what passes
inside the network's call: `Module.forward` of torch, `Session.run` of the runtime.
"""

import contextlib
import io
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar
from unittest import mock

from scanside.benchmarks.kinds import PeerKind
from scanside.runtime.arrays import LabelMask

Result = TypeVar("Result")


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


@dataclass(frozen=True, eq=False)
class Segmented:
    """What a peer makes of one image; `stages_ms` only where it tells."""

    mask: LabelMask
    stages_ms: dict[str, float] = field(default_factory=dict)


class Peer(Protocol):
    """A program with its networks open."""

    watch: Stopwatch
    facts: dict[str, str]
    """What it has to say of itself, for the record."""

    def load(self, files: Sequence[Path]) -> Any:
        """The image as the peer itself reads it; not timed."""

    def segment(self, image: Any) -> Segmented:
        """The labels; timed."""


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


def open_peer(kind: PeerKind, setup: Setup) -> Peer:
    """Open a peer; nothing of the others is imported."""
    if kind.program == "nnunetv2":
        return _NnUNet(setup)
    return _NaiveLoop(setup) if kind.program == "onnx-loop" else _Scanside(kind, setup)


class _NnUNet:
    """nnUNetPredictor as `nnUNetv2_predict_from_modelfolder` sets it up: on a GPU with AMP, and all on the device."""

    def __init__(self, setup: Setup) -> None:
        import torch
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        self.watch = Stopwatch()
        torch.set_num_threads(multiprocessing.cpu_count())
        with _quiet():
            self._predictor = nnUNetPredictor(
                use_mirroring=setup.mirroring, device=torch.device(setup.torch_device), allow_tqdm=False
            )
            folds = [fold if fold == "all" else int(fold) for fold in setup.folds]
            self._predictor.initialize_from_trained_model_folder(str(setup.model), folds)
        network = self._predictor.network
        network.forward = self.watch.time(network.forward)
        self.facts = {"threads": str(torch.get_num_threads())}

    def load(self, files: Sequence[Path]) -> Any:
        reader = self._predictor.plans_manager.image_reader_writer_class()
        return reader.read_images([str(file) for file in files])

    def segment(self, image: Any) -> Segmented:
        data, properties = image
        with _quiet():
            # Preprocessing writes into the properties; a copy is what a second call would be given.
            return Segmented(self._predictor.predict_single_npy_array(data, dict(properties)))


class _Scanside:
    """An opened `Segmenter`."""

    def __init__(self, kind: PeerKind, setup: Setup) -> None:
        from scanside.runtime.bundle import open_bundle
        from scanside.runtime.choose import open_segmenter
        from scanside.runtime.options import Options
        from scanside.runtime.pipeline import Obtained, Segmenter

        self.watch = Stopwatch()
        bundle = open_bundle(setup.bundle)
        options = Options(
            device=kind.device, precision=kind.precision, mirroring=setup.mirroring, folds=setup.folds or None
        )
        with timed_sessions(self.watch):
            if setup.proven:
                self._segmenter = open_segmenter(bundle, options)
            else:
                taken = Obtained(kind.device, kind.device, "asked for, without proof", kind.precision)
                self._segmenter = Segmenter(bundle, options, taken)
        device = self._segmenter.device
        self.facts = {
            "asked": device.asked,
            "obtained": device.obtained,
            "why": device.why,
            "precision": device.precision,
        }

    def load(self, files: Sequence[Path]) -> Any:
        from scanside.runtime.images.cases import CaseInput
        from scanside.runtime.images.load import load_case

        return load_case(CaseInput("case", tuple(files)), len(files)).volume

    def segment(self, image: Any) -> Segmented:
        result = self._segmenter.segment(image)
        return Segmented(result.mask, result.stages)


class _NaiveLoop:
    """`naive_loop.Loop`."""

    def __init__(self, setup: Setup) -> None:
        from scanside.benchmarks.naive_loop import Loop

        self.watch = Stopwatch()
        self._loop = Loop(setup.bundle, setup.folds, mirroring=setup.mirroring)
        self._loop.network = self.watch.time(self._loop.network)  # type: ignore[method-assign]
        self.facts: dict[str, str] = {}

    def load(self, files: Sequence[Path]) -> Any:
        from scanside.benchmarks.naive_loop import read

        return read(files)

    def segment(self, image: Any) -> Segmented:
        data, first = image
        return Segmented(self._loop.segment(data, first.GetSpacing()[::-1]))


@contextlib.contextmanager
def _quiet() -> Any:
    """nnunetv2 prints and warns as it goes."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
