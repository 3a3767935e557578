"""`scanside bench scale`: what voxels, classes, tiles and studies cost in time and memory, one varied at a time."""

import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scanside.benchmarks import conditions
from scanside.benchmarks.child import alone
from scanside.benchmarks.choices import ScaleOptions, Shape
from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.made import IMAGE_SPACING, NETWORK, SPACING, make_image, write_bundle
from scanside.benchmarks.processes import MIB, high_water_mark, reset_high_water_mark, spent
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.scale_results import SCALE, Axis, Growth, Point, ScaleReport
from scanside.benchmarks.sensors import gpu_names
from scanside.benchmarks.warm import Stopwatch, timed_sessions
from scanside.runtime.bundle import open_bundle
from scanside.runtime.options import Options
from scanside.runtime.pipeline import LocalSegmenter
from scanside.runtime.segmenter import Obtained
from scanside.runtime.stages.resample import resampled_shape
from scanside.runtime.stages.slide import tiling

LARGEST: Shape = (400, 512, 512)
MOST_CLASSES = 30


@dataclass(frozen=True)
class _Plan:
    """A point to measure."""

    axis: Axis
    value: int
    shape: Shape
    classes: int
    step_size: float = 0.5
    studies: int = 1
    patch: Shape = (96, 96, 96)


def run_scale(options: ScaleOptions, facts: Mapping[str, Any]) -> ScaleReport:
    """Measure all points.

    Args:
        facts: Of `environment`, taken before anything else was done.

    Raises:
        BackendError: If the device does not open.
        CaseError: If a point fails, such as for lack of memory.
    """
    todo, remarks = points(options), list[str]()
    progress, measured = Progress(len(todo)), list[Point]()
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as temporary:
        folder = Path(temporary)
        for plan in todo:
            point = _point(folder, plan, options)
            measured.append(point)
            name = f"{plan.axis} {plan.value}"
            progress.step(f"{name}: {point.wall_ms.median / 1000:.2f} s, {point.peak_mib:.0f} MiB")
            remarks += conditions.crowded(name, point.other_cpu_part)
    over = [point for point in measured if point.peak_mib > options.ceiling_mib]
    remarks += [
        f"{point.axis} {point.value} needs {point.peak_mib:.0f} MiB, more than {options.ceiling_mib:.0f}."
        for point in over
    ]
    return ScaleReport.model_validate(
        {
            **facts,
            "schema": SCALE,
            "gpus": gpu_names(),
            "network": NETWORK,
            "device": {
                "asked": options.device, "obtained": options.device, "why": "asked for", "precision": "fp32",
            },
            "ceiling_mib": options.ceiling_mib,
            "within_ceiling": not over,
            "headline": not remarks,
            "remarks": remarks,
            "points": measured,
            "growth": growth(measured),
        }
    )  # fmt: skip


def points(options: ScaleOptions) -> list[_Plan]:
    """What to measure, in order; the longest last."""
    base = options.base
    patch, small = options.patch, _scaled(base, 0.5)
    half = (patch[0] // 2, patch[1] // 2, patch[2] // 2)
    shapes = [_scaled(base, factor) for factor in (0.5, 0.63, 0.79, 1.0, 1.26)]
    todo = [_Plan("voxels", math.prod(shape), shape, 3, patch=patch) for shape in shapes]
    todo += [
        _Plan("classes", classes, base, classes, patch=patch) for classes in (2, 5, 10, 20, MOST_CLASSES)
    ]
    todo += [
        _Plan("tiles", tiles(base, half, step), base, 3, step_size=step, patch=half)
        for step in (1.0, 0.75, 0.5, 0.35)
    ]
    todo += [
        _Plan("studies", studies, small, 3, studies=studies, patch=patch) for studies in (1, 2, 4, 8, 16)
    ]
    if options.large:
        todo.append(_Plan("voxels", math.prod(LARGEST), LARGEST, MOST_CLASSES, patch=patch))
    return todo


def tiles(shape: Shape, patch: Shape, step: float) -> int:
    """Tiles of a made image on the network's grid; cropping the air may leave out some."""
    return tiling(resampled_shape(shape, IMAGE_SPACING, SPACING), patch, step).count


def _scaled(shape: Shape, factor: float) -> Shape:
    z, y, x = (max(8, round(size * factor)) for size in shape)
    return z, y, x


def _point(folder: Path, plan: _Plan, options: ScaleOptions) -> Point:
    bundle = folder / f"{plan.classes}-{plan.patch[0]}.bundle"
    if not bundle.exists():
        write_bundle(bundle, plan.classes, plan.patch)
    name, repeats = f"{plan.axis} {plan.value}", 1 if plan.shape == LARGEST else options.repeats
    found = alone(name, folder / "point.log", _measure, bundle, plan, options, repeats)
    return Point(
        axis=plan.axis, value=plan.value, shape=list(plan.shape), classes=plan.classes,
        tiles=tiles(plan.shape, plan.patch, plan.step_size), studies=plan.studies, **found,
    )  # fmt: skip


def _measure(bundle: Path, plan: _Plan, options: ScaleOptions, repeats: int) -> dict[str, Any]:
    """In a process of its own, so that the kernel's record of its memory is that of this size."""
    how = Options(device=options.device, step_size=plan.step_size, mirroring=False, threads=options.threads)
    watch = Stopwatch()
    with timed_sessions(watch):
        obtained = Obtained(options.device, options.device, "asked for", "fp32")
        segmenter = LocalSegmenter(open_bundle(bundle), how, obtained)
    volume = make_image(plan.shape)
    walls, networks, stages = list[float](), list[float](), dict[str, list[float]]()
    reset_high_water_mark()
    baseline = high_water_mark()
    with spent() as found:
        for _ in range(repeats):
            watch.restart()
            start = time.perf_counter()
            for _ in range(plan.studies):
                for stage, ms in segmenter.segment(volume).stages.items():
                    stages.setdefault(stage, []).append(ms)
            walls.append(1000 * (time.perf_counter() - start))
            networks.append(1000 * watch.seconds)
    return {
        "wall_ms": Distribution.of(walls),
        "network_ms": Distribution.of(networks),
        "stages_ms": {stage: round(statistics.median(samples), 3) for stage, samples in stages.items()},
        "baseline_mib": round(baseline / MIB, 1),
        "peak_mib": round(found.peak_mib, 1),
        "other_cpu_part": round(conditions.other_part(found.other_cpu_s, found.wall_s), 4),
    }


def growth(measured: Sequence[Point]) -> list[Growth]:
    """Exponents by axis; the largest image, which has more classes, is not among its points."""
    found = []
    for axis in dict.fromkeys(point.axis for point in measured):
        along = [p for p in measured if p.axis == axis and tuple(p.shape) != LARGEST]
        values = [p.value for p in along]
        if len(set(values)) > 1:
            found.append(
                Growth(
                    axis=axis,
                    wall=_exponent(values, [p.wall_ms.median for p in along]),
                    rest=_exponent(values, [p.wall_ms.median - p.network_ms.median for p in along]),
                    memory=_exponent(values, [p.peak_mib - p.baseline_mib for p in along]),
                )
            )
    return found


def _exponent(values: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of log cost over log value."""
    x, y = np.log(np.asarray(values, float)), np.log(np.maximum(np.asarray(costs, float), 1e-3))
    return round(float(np.polyfit(x, y, 1)[0]), 3)
