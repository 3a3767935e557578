"""`scanside bench scale`: what voxels, classes, tiles and studies cost in time and memory, one varied at a time."""

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from scanside.benchmarks import conditions
from scanside.benchmarks.child import Child
from scanside.benchmarks.choices import ScaleOptions, Shape
from scanside.benchmarks.distribution import medians
from scanside.benchmarks.made import IMAGE_SPACING, NETWORK, SPACING, make_image, write_bundle
from scanside.benchmarks.processes import MIB, high_water_mark, reset_high_water_mark, spent
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.results import Measured, Measurements, Quantity, measured, quantity
from scanside.benchmarks.warm import Stopwatch, timed_sessions
from scanside.runtime.bundle import open_bundle
from scanside.runtime.options import Options
from scanside.runtime.pipeline import LocalSegmenter
from scanside.runtime.segmenter import Obtained
from scanside.runtime.stages.resample import resampled_shape
from scanside.runtime.stages.slide import tiling

LARGEST: Shape = (400, 512, 512)
MOST_CLASSES = 30
_PEAK, _BEFORE = "peak memory", "memory before"


@dataclass(frozen=True)
class _Plan:
    """A point to measure."""

    axis: Literal["voxels", "classes", "tiles", "studies"]
    value: int
    shape: Shape
    classes: int
    step_size: float = 0.5
    studies: int = 1
    patch: Shape = (96, 96, 96)


def run_scale(options: ScaleOptions, facts: Mapping[str, Any]) -> Measurements:
    """Measure all points.

    Args:
        facts: Of `environment`, taken before anything else was done.

    Raises:
        BackendError: If the device does not open.
        CaseError: If a point fails, such as for lack of memory.
    """
    todo, remarks = points(options), list[str]()
    progress, found = Progress(len(todo)), list[Measured]()
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as temporary:
        for plan in todo:
            point = _point(Path(temporary), plan, options)
            found.append(point)
            progress.step(
                f"{point.name}: {point.median('whole') / 1000:.2f} s, {point.median(_PEAK):.0f} MiB"
            )
            remarks += conditions.crowded(point.name, point.median("other programs"))
    ceiling = options.ceiling_mib
    over = [
        f"{one.name} needs {one.median(_PEAK):.0f} MiB, more than {ceiling:.0f}."
        for one in found
        if one.median(_PEAK) > ceiling
    ]
    device = {"asked": options.device, "obtained": options.device, "why": "asked for", "precision": "fp32"}
    return conditions.measurements(
        "scale", facts, [*found, *growth(found)], remarks, faults=over, device=device,
        conditions={"network": NETWORK, "ceiling_mib": ceiling},
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


def _point(folder: Path, plan: _Plan, options: ScaleOptions) -> Measured:
    bundle = folder / f"{plan.classes}-{plan.patch[0]}.bundle"
    if not bundle.exists():
        write_bundle(bundle, plan.classes, plan.patch)
    name, repeats = f"{plan.axis} {plan.value}", 1 if plan.shape == LARGEST else options.repeats
    with Child(name, folder / "point.log", _Opened, bundle, plan, options) as child:
        quantities, stages = child.ask(_Opened.measure, repeats)
    facts = {
        "axis": plan.axis, "value": plan.value, "shape": list(plan.shape), "classes": plan.classes,
        "tiles": tiles(plan.shape, plan.patch, plan.step_size), "studies": plan.studies,
    }  # fmt: skip
    return measured(name, {**facts, "stages_ms": stages}, quantities)


class _Opened:
    """In a process of its own, whose record of memory is that of this size alone."""

    def __init__(self, bundle: Path, plan: _Plan, options: ScaleOptions) -> None:
        device, self._watch, self._plan = options.device, Stopwatch(), plan
        how = Options(device=device, step_size=plan.step_size, mirroring=False, threads=options.threads)
        with timed_sessions(self._watch):
            obtained = Obtained(device, device, "asked for", "fp32")
            self._segmenter = LocalSegmenter(open_bundle(bundle), how, obtained)

    def measure(self, repeats: int) -> tuple[list[Quantity], dict[str, float]]:
        """Quantities, and medians of stages in ms."""
        volume = make_image(self._plan.shape)
        walls, networks, stages = list[float](), list[float](), list[dict[str, float]]()
        reset_high_water_mark()
        before = high_water_mark() / MIB
        with spent() as found:
            for _ in range(repeats):
                self._watch.restart()
                start = time.perf_counter()
                stages += [self._segmenter.segment(volume).stages for _ in range(self._plan.studies)]
                walls.append(1000 * (time.perf_counter() - start))
                networks.append(1000 * self._watch.seconds)
        return [
            quantity("whole", "ms", *walls),
            quantity("in the network", "ms", *networks),
            quantity(_PEAK, "MiB", found.peak_mib),
            quantity(_BEFORE, "MiB", before),
            quantity("other programs", "1", conditions.other_part(found.other_cpu_s, found.wall_s)),
        ], medians(stages)


def growth(found: Sequence[Measured]) -> list[Measured]:
    """Exponents by axis; the largest image, which has more classes, is not among its points."""
    made = []
    for axis in dict.fromkeys(one.facts["axis"] for one in found):
        along = [one for one in found if one.facts["axis"] == axis and tuple(one.facts["shape"]) != LARGEST]
        values = [one.facts["value"] for one in along]
        if len(set(values)) > 1:
            costs = {
                "whole": [one.median("whole") for one in along],
                "outside the network": [one.median("whole") - one.median("in the network") for one in along],
                "memory that it adds": [one.median(_PEAK) - one.median(_BEFORE) for one in along],
            }
            exponents = [
                quantity(f"{name} ∝ n^", "1", _exponent(values, cost)) for name, cost in costs.items()
            ]
            made.append(measured(f"growth with {axis}", {}, exponents))
    return made


def _exponent(values: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of log cost over log value."""
    x, y = np.log(np.asarray(values, float)), np.log(np.maximum(np.asarray(costs, float), 1e-3))
    return round(float(np.polyfit(x, y, 1)[0]), 3)
