"""`scanside bench gpu`: one card; on the same image, network and folds nnunetv2 with AMP beside the product.

Peers run one after the other in one process, so that the device's memory is that of one peer. Golden cases are
replayed and reported; a peer that fails them is timed all the same, and the table says both. The network of
`bench make-model` is untrained and amplifies roundings, so that its low precisions fail by right.
"""

import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scanside.benchmarks.agreement import dice
from scanside.benchmarks.choices import GpuOptions
from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.gpu_card import TorchDevice, ceilings, torch_device, watched
from scanside.benchmarks.gpu_networks import Round, own_networks, torch_networks
from scanside.benchmarks.gpu_results import GPU, Card, Golden, GpuReport, NetworkTime, WholeCase
from scanside.benchmarks.kinds import NNUNET, REFERENCE, PeerKind, parse_kinds
from scanside.benchmarks.source import find_source
from scanside.benchmarks.staging import StagedCase, stage
from scanside.benchmarks.warm import Setup, open_peer
from scanside.runtime.arrays import LabelMask
from scanside.runtime.backends import gpu
from scanside.runtime.backends.table import DEVICES, backend
from scanside.runtime.cli.arguments import names
from scanside.runtime.golden import replay_all
from scanside.runtime.options import Options
from scanside.runtime.pipeline import Obtained, Segmenter

_EXACT = PeerKind("cpu:fp32", "scanside", "cpu", "fp32")


def run_gpu(
    model: Path,
    images: Sequence[Path],
    options: GpuOptions,
    facts: Mapping[str, Any],
    ready: Callable[[str], None],
) -> GpuReport:
    """Measure a card.

    Args:
        facts: Of `environment`.
        ready: Told the name of the results file before anything is measured; may refuse it.

    Raises:
        BackendError: If there is no GPU, and it is no dry run.
        UsageError: If a backend is unknown.
    """
    device = torch_device(options.dry_run)
    kinds, card = parse_kinds(names(options.backends) or _here(options.dry_run)), _card(device)
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as folder:
        wanted = sorted({"fp32", *(kind.precision for kind in kinds)})
        source = find_source(model, options.bundle, names(options.folds), Path(folder), wanted)
        ready(file_name(card.name, source.bundle.summary()["name"], options.mirroring))
        case = stage(images, source.plan, source.ending, Path(folder) / "cases")[0]
        this = Round(source, device)
        with this.attempt("ceilings"):
            this.ceilings.extend(ceilings(device))
        networks = list[NetworkTime]()
        with this.attempt("torch networks"):
            networks.extend(torch_networks(this))
        networks.extend(own_networks(this, kinds))
        golden = list(_golden(this, kinds))
        image, cases = _cases(this, case, kinds, options)
    return GpuReport.model_validate(
        {
            **facts,
            "schema": GPU,
            "dry_run": options.dry_run,
            "card": card,
            **source.record(options.mirroring),
            "image": list(image),
            "tile": list(this.tile.shape[1:]),
            "tile_gflop": round(this.gflop, 3),
            "ceilings": this.ceilings,
            "networks": networks,
            "golden": golden,
            "cases": cases,
            "failed": this.failed,
        }
    )


def file_name(card: str, bundle: str, mirroring: bool = True) -> str:
    """`gpu-<card>-<bundle>`, as the results folder names it."""
    words = f"gpu {card.removeprefix('NVIDIA ')} {bundle}{'' if mirroring else ' no mirroring'}"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _here(dry: bool) -> tuple[str, ...]:
    if dry:
        return ("cpu:fp32",)
    here = [name for name in DEVICES if backend(name).on_device and backend(name).missing() is None]
    return tuple(f"{name}:{precision}" for name in here for precision in ("mixed", "fp32")) or ("cpu:fp32",)


def _card(device: TorchDevice) -> Card:
    found, used = gpu.find(), device.used()
    here = found if isinstance(found, gpu.Gpu) and device.kind == "cuda" else None
    return Card(
        name=device.name,
        driver=here.driver if here else None,
        cuda=here.cuda if here else None,
        memory_gib=round(here.memory / 2**30, 1) if here else None,
        sharing_mib=None if used is None else round(used, 1),
    )


def _golden(this: Round, kinds: Sequence[PeerKind]) -> Iterator[Golden]:
    for kind in kinds:
        with this.attempt(f"{kind.name}, golden cases"):
            obtained = Obtained(kind.device, kind.device, "golden cases", kind.precision)
            options = Options(device=kind.device, precision=kind.precision)
            with Segmenter(this.source.bundle, options, obtained) as segmenter:
                for one in replay_all(segmenter):
                    yield Golden.model_validate({name: getattr(one, name) for name in Golden.model_fields})


def _cases(
    this: Round, case: StagedCase, kinds: Sequence[PeerKind], options: GpuOptions
) -> tuple[tuple[int, ...], list[WholeCase]]:
    """The image's shape, and the peers on it: nnunetv2 first, float32 on the CPU as the reference of labels."""
    source = this.source
    setup = Setup(
        source.model, source.bundle.path, source.folds, options.mirroring, this.device.kind, proven=False
    )
    exact = open_peer(_EXACT, setup)
    image = exact.load(case.files)
    reference = exact.segment(image).mask
    del exact
    found: list[WholeCase] = []
    for kind in (NNUNET, *kinds):
        with this.attempt(f"{kind.name}, whole case"):
            first = next((one.seconds.median for one in found if one.peer == REFERENCE), None)
            found.append(_whole(this, kind, setup, case, reference, options.repeats, first))
    return image.data.shape, found


def _whole(
    this: Round,
    kind: PeerKind,
    setup: Setup,
    case: StagedCase,
    reference: LabelMask,
    repeats: int,
    first: float | None,
) -> WholeCase:
    seconds: list[float] = []
    stages: list[dict[str, float]] = []
    with watched(this.device) as memory:
        peer = open_peer(kind, setup)
        image = peer.load(case.files)
        result = peer.segment(image)
        for _ in range(repeats):
            start = time.perf_counter()
            result = peer.segment(image)
            this.device.wait()
            seconds.append(time.perf_counter() - start)
            stages.append(result.stages_ms)
    taken = Distribution.of(seconds)
    return WholeCase(
        peer=kind.name,
        seconds=taken,
        stages_ms={name: float(np.median([one[name] for one in stages])) for name in stages[0]},
        device_memory_mib=memory.mib,
        differing=int((result.mask != reference).sum()),
        dice=dice(result.mask, reference, this.source.plan.labels.names),
        times=None if first is None else round(first / taken.median, 2),
    )
