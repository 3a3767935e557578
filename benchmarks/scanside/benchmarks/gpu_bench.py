"""`scanside bench gpu`: one card; on the same image, network and folds nnunetv2 with AMP beside the product.

Each peer has a process of its own, one after the other, so that the device's memory is that of one peer. Golden cases
are replayed and reported; a peer that fails them is timed all the same, and the table says both. The network of
`bench make-model` is untrained and amplifies roundings, so that its low precisions fail by right.
"""

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scanside.benchmarks.agreement import dice
from scanside.benchmarks.choices import GpuOptions
from scanside.benchmarks.conditions import golden_cases, measurements
from scanside.benchmarks.distribution import medians
from scanside.benchmarks.kinds import NNUNET, PeerKind, file_precisions, parse_kinds
from scanside.benchmarks.processes import meanwhile
from scanside.benchmarks.results import Measured, Measurements, measured, quantity
from scanside.benchmarks.source import Source, find_source, stage
from scanside.benchmarks.warm import Setup, WarmRun, Worker
from scanside.runtime import machine
from scanside.runtime.arrays import LabelMask
from scanside.runtime.backends import gpu
from scanside.runtime.backends.table import DEVICES, backend
from scanside.runtime.cli.arguments import names
from scanside.runtime.errors import BackendError
from scanside.runtime.images.load import load_case

_EXACT = PeerKind("cpu:fp32", "scanside", "cpu", "fp32")
_EVERY_S = 0.002
"""Between two looks at the memory of the device."""


def run_gpu(
    model: Path, images: Sequence[Path], options: GpuOptions, facts: Mapping[str, Any]
) -> Measurements:
    """Measure a card.

    Args:
        facts: Of `environment`.

    Raises:
        BackendError: If there is no GPU, and it is no dry run.
        UsageError: If a backend is unknown.
    """
    card, failed, found = card_here(options.dry_run), list[str](), list[Measured]()
    kinds = parse_kinds(names(options.backends) or gpu_backends(options.dry_run))
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as temporary:
        folder = Path(temporary)
        source = find_source(model, options.bundle, names(options.folds), folder, file_precisions(kinds))
        case = stage(images, source.plan, source.ending, folder / "cases")[0]
        device = "cpu" if options.dry_run else "cuda"
        setup = Setup(source.model, source.bundle.path, source.folds, options.mirroring, device, proven=False)
        golden = {kind.name: golden_cases(source.bundle.path, kind.device, kind.precision) for kind in kinds}
        with Worker(_EXACT, setup, folder) as peer:
            exact = peer.segment(case.files).mask
        for kind in (NNUNET, *kinds):
            try:
                runs, held = _runs(kind, setup, folder, case.files, options.repeats, dry=options.dry_run)
            except Exception as error:  # torch, ONNX Runtime and CUDA raise types of their own
                why = " ".join(str(error).split())[:300]
                failed.append(f"{kind.name}, whole case: {type(error).__name__}: {why}")
                continue
            found.append(_whole_case(kind, runs, held, exact, source, found))
        image = load_case(case.case, len(source.plan.channels)).volume.data.shape
    rejected = [
        f"{name}: a golden case did not pass: {'; '.join(one.sentences)}"
        for name, one in golden.items()
        if not one.passed
    ]
    dry = ["Dry run on a CPU: none of this says anything about a GPU."] if options.dry_run else []
    return measurements(
        "gpu", facts, found, [*dry, *facts["remarks"]], faults=[*rejected, *failed], golden=golden,
        bundle=source.bundle.summary(),
        conditions={"card": card, "image": list(image), **source.record(options.mirroring)},
    )  # fmt: skip


def _whole_case(
    kind: PeerKind, runs: Sequence[WarmRun], held: float | None, exact: LabelMask, source: Source,
    before: Sequence[Measured],
) -> Measured:  # fmt: skip
    """A peer beside those before it, nnunetv2 the first of them, and beside float32 on the CPU."""
    first = next((one for one in before if one.name == NNUNET.name), None)
    quantities = [quantity("whole case", "ms", *(1000 * one.spent.wall_s for one in runs), gate=True)]
    if held is not None:
        quantities.append(quantity("device memory", "MiB", held))
    if first is not None:
        ratio = first.median("whole case") / quantities[0].median
        quantities.append(quantity("nnunetv2 / peer", "1", ratio))
    facts = {
        "differing": int((runs[-1].mask != exact).sum()),
        "dice": dice(runs[-1].mask, exact, source.plan.labels.names),
        "stages_ms": medians([one.stages_ms for one in runs]),
    }
    return measured(kind.name, facts, quantities)


def gpu_backends(dry: bool) -> tuple[str, ...]:
    """What is measured where nobody says it: every GPU device that is here, in mixed precision and in float32."""
    on_device = [name for name in DEVICES if backend(name).on_device and backend(name).missing() is None]
    here = () if dry else on_device
    return tuple(f"{name}:{precision}" for name in here for precision in ("mixed", "fp32")) or ("cpu:fp32",)


def card_here(dry: bool) -> dict[str, Any]:
    """What a record says of the card, or the name of the processor in its place.

    Raises:
        BackendError: If there is none that PyTorch can use.
    """
    if dry:
        return {"name": machine.processor()}
    import torch

    found = gpu.gpu()
    if not torch.cuda.is_available():
        raise BackendError(
            f"PyTorch {torch.__version__} does not see the GPU; install a PyTorch for CUDA, or add --dry-run."
        )
    return {
        "name": found.name, "driver": found.driver, "cuda": found.cuda, "memory_gib": round(found.memory / 2**30, 1),
        "in_use_before_mib": round(_used(), 1),
    }  # fmt: skip


def _runs(
    kind: PeerKind, setup: Setup, folder: Path, files: Sequence[Path], repeats: int, *, dry: bool
) -> tuple[list[WarmRun], float | None]:
    """A peer's repetitions after one that does not count; the most memory of the device, MiB."""
    with watched((lambda: 0.0) if dry else _used) as most, Worker(kind, setup, folder) as peer:
        runs = [peer.segment(files) for _ in range(repeats + 1)][1:]
    return runs, None if dry else round(most[0], 1)


def _used() -> float:
    """MiB in use on the whole device, by every library and process."""
    import torch

    free, total = torch.cuda.mem_get_info()
    return float(total - free) / 2**20


@contextmanager
def watched(used: Callable[[], float]) -> Iterator[list[float]]:
    """Look at a device's memory inside the block; the list holds the most beyond what it held at the beginning."""
    before, most = used(), [0.0]

    def look(ended: threading.Event) -> None:
        while not ended.wait(_EVERY_S):
            most[0] = max(most[0], used() - before)

    with meanwhile(look):
        yield most
