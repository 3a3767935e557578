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
from scanside.benchmarks.conditions import measurements
from scanside.benchmarks.kinds import REFERENCE
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.results import Measured, Measurements, measured, quantity, write
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
) -> Measurements:
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
        progress, rows, record = Progress(len(cases)), list[Measured](), source.record(options.mirroring)
        for case in cases:
            rows.append(_compare(case, source, reference, segmenters, options))
            totals = [_total(rows, name) for name in segmenters]
            wrong = [one.name for one in totals if one.facts["explained"] < one.facts["differing"]]
            report = measurements(
                "parity", facts, [*totals, *rows], facts["remarks"], headline=True, bundle=source.bundle.summary(),
                faults=[f"{name}: a voxel differs that is no tie by rounding." for name in wrong],
                conditions=record | {"images": len(cases), "complete": len(rows) == len(cases)},
            )  # fmt: skip
            write(report, out)
            told = (f"{name} {count}" for name, count in rows[-1].facts["differing"].items())
            progress.step(f"{case.name}: {', '.join(told)} of {rows[-1].facts['voxels']} voxels differ")
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
    segmenters: Mapping[str, Any],
    options: ParityOptions,
) -> Measured:
    """An image: voxels that differ and their margins by device, Dice against the manual labels by program."""
    names = source.plan.labels.names
    start = time.perf_counter()
    volume, theirs, reading = reference.predict(case)
    took = {REFERENCE: time.perf_counter() - start}
    masks = {REFERENCE: theirs.labels}
    for name, segmenter in segmenters.items():
        start = time.perf_counter()
        masks[name] = segmenter.segment(volume, case=case.name).mask
        took[name] = time.perf_counter() - start
    manual = _manual(options.labels, case, source, volume) if options.labels else None
    found = {name: margins(masks[name], theirs.labels, theirs.margin) for name in segmenters}
    facts = {
        "voxels": int(theirs.labels.size), "reading_equal": reading,
        "differing": {name: int((masks[name] != theirs.labels).sum()) for name in segmenters},
        "margins": {name: one.model_dump() for name, one in found.items() if one is not None},
        "dice": {} if manual is None else {name: dice(mask, manual, names) for name, mask in masks.items()},
    }  # fmt: skip
    return measured(
        case.name, facts, [quantity(name, "ms", 1000 * seconds) for name, seconds in took.items()]
    )


def _manual(folder: Path, case: CaseInput, source: Source, volume: Volume) -> LabelMask:
    file = _label_file(folder, case, source)
    image = read_image(file)
    difference = volume.geometry.difference(image.geometry)
    if difference:
        raise GeometryError(f"{file.name} does not lie on the grid of its image ({difference}).")
    return np.rint(image.data[0]).astype(np.uint16)


def _total(rows: Sequence[Measured], device: str) -> Measured:
    """A device over all images; Dice are means over the images that have the label."""
    facts = [one.facts for one in rows]
    found = [one["margins"][device] for one in facts if device in one["margins"]]
    differing = [one["differing"][device] for one in facts]
    scores = [one["dice"] for one in facts if one["dice"]]
    said = {
        "cases": len(rows), "voxels": sum(one["voxels"] for one in facts), "differing": sum(differing),
        "cases_differing": sum(count > 0 for count in differing),
        "explained": sum(margin["explained"] for margin in found),
        "largest_margin": max((margin["largest"] for margin in found), default=None), "bound": BOUND,
        "dice": {name: _mean([one[name] for one in scores]) for name in (REFERENCE, device) if scores},
    }  # fmt: skip
    return measured(device, said, [])


def _mean(scores: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    result: dict[str, float | None] = {}
    for name in scores[0]:
        values = [value for score in scores if (value := score[name]) is not None]
        result[name] = statistics.fmean(values) if values else None
    return result
