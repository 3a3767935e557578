"""`scanside bench parity`: on many images, are the runtime's labels those of nnUNetPredictor?"""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scanside.benchmarks.agreement import BOUND, FromFolder, dice, margins
from scanside.benchmarks.choices import ParityOptions
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.results import (
    PARITY,
    ParityCase,
    ParityDevice,
    ParityReport,
    ParityTotals,
    write,
)
from scanside.benchmarks.source import Source, find_source
from scanside.runtime.arrays import LabelMask
from scanside.runtime.backends.table import DEVICES, backend
from scanside.runtime.cli.arguments import names as listed
from scanside.runtime.errors import BackendError, GeometryError, InputError
from scanside.runtime.images.cases import CaseInput, find_cases
from scanside.runtime.images.read import read_image
from scanside.runtime.options import Options
from scanside.runtime.pipeline import LocalSegmenter
from scanside.runtime.segmenter import Obtained, Segmenter
from scanside.runtime.volume import Volume


def run_parity(
    model: Path, images: Path, out: Path, options: ParityOptions, facts: Mapping[str, Any]
) -> ParityReport:
    """Compare case by case; the results file is valid after each, and then says that it is not complete.

    Args:
        model: nnU-Net v2 results folder.
        images: Folder of `<case>_0000<ending>` images.
        out: Results file.
        facts: Of `environment`.

    Raises:
        InputError: If an image, a manual label or the model is unsuitable.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="scanside-bench-")))
        source = find_source(model, options.bundle, listed(options.folds), folder)
        cases = find_cases([images], len(source.plan.channels), source.ending)[: options.limit]
        _check_labels(cases, options, source)
        segmenters = {
            name: stack.enter_context(_open(source, name, options)) for name in options.device or _devices()
        }
        reference = FromFolder(source, mirroring=options.mirroring)
        progress, rows = Progress(len(cases)), list[ParityCase]()
        for case in cases:
            rows.append(_compare(case, source, reference, segmenters, options))
            report = ParityReport.model_validate(
                {
                    **facts, "schema": PARITY, **source.record(options.mirroring),
                    "complete": len(rows) == len(cases), "images": len(cases), "cases": rows,
                    "totals": {name: _totals(rows, name) for name in segmenters},
                }
            )  # fmt: skip
            write(report, out)
            progress.step(_sentence(rows[-1]))
    return report


def _devices() -> tuple[str, ...]:
    found = tuple(name for name in DEVICES if backend(name).missing() is None)
    if not found:
        raise BackendError("No device is available here; see `scanside doctor`.")
    return found


def _open(source: Source, device: str, options: ParityOptions) -> Segmenter:
    how = Options(device=device, mirroring=options.mirroring, folds=source.folds)
    return LocalSegmenter(source.bundle, how, Obtained(device, device, "asked for", "fp32"))


def _check_labels(cases: Sequence[CaseInput], options: ParityOptions, source: Source) -> None:
    """Refuse before hours of work what would fail within them."""
    if not cases:
        raise InputError("There is no case in the images folder.")
    if options.labels is None:
        return
    missing = [case.name for case in cases if not _label_file(options.labels, case, source).is_file()]
    if missing:
        raise InputError(
            f"{options.labels} has no label for {missing[0]} (and {len(missing) - 1} more); "
            f"the files must be named <case>{source.ending}."
        )


def _label_file(folder: Path, case: CaseInput, source: Source) -> Path:
    return folder / f"{case.name}{source.ending}"


def _compare(
    case: CaseInput,
    source: Source,
    reference: FromFolder,
    segmenters: dict[str, Segmenter],
    options: ParityOptions,
) -> ParityCase:
    names = source.plan.labels.names
    start = time.perf_counter()
    volume, theirs, reading = reference.predict(case)
    seconds = time.perf_counter() - start
    manual = _manual(options.labels, case, source, volume) if options.labels else None
    devices = {}
    for name, segmenter in segmenters.items():
        start = time.perf_counter()
        mask = segmenter.segment(volume, case=case.name).mask
        took = time.perf_counter() - start
        devices[name] = ParityDevice(
            differing=int((mask != theirs.labels).sum()),
            dice={} if manual is None else dice(mask, manual, names),
            margins=margins(mask, theirs.labels, theirs.margin),
            seconds=round(took, 3),
        )
    return ParityCase(
        name=case.name,
        voxels=int(theirs.labels.size),
        reading_equal=reading,
        reference_dice={} if manual is None else dice(theirs.labels, manual, names),
        reference_seconds=round(seconds, 3),
        devices=devices,
    )


def _manual(folder: Path, case: CaseInput, source: Source, volume: Volume) -> LabelMask:
    file = _label_file(folder, case, source)
    image = read_image(file)
    difference = volume.geometry.difference(image.geometry)
    if difference:
        raise GeometryError(f"{file.name} does not lie on the grid of its image ({difference}).")
    return np.rint(image.data[0]).astype(np.uint16)


def _totals(cases: Sequence[ParityCase], device: str) -> ParityTotals:
    rows = [case.devices[device] for case in cases]
    found = [row.margins for row in rows if row.margins is not None]
    return ParityTotals(
        cases=len(cases),
        voxels=sum(case.voxels for case in cases),
        differing=sum(row.differing for row in rows),
        cases_differing=sum(row.differing > 0 for row in rows),
        explained=sum(margin.explained for margin in found),
        largest_margin=max((margin.largest for margin in found), default=None),
        bound=BOUND,
        dice=_mean([row.dice for row in rows]),
        reference_dice=_mean([case.reference_dice for case in cases]),
    )


def _mean(scores: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    result: dict[str, float | None] = {}
    for name in scores[0]:
        values = [value for score in scores if (value := score[name]) is not None]
        result[name] = statistics.fmean(values) if values else None
    return result


def _sentence(row: ParityCase) -> str:
    parts = [
        f"{name} {result.differing} of {row.voxels} voxels differ" for name, result in row.devices.items()
    ]
    return f"{row.name}: {', '.join(parts)}"
