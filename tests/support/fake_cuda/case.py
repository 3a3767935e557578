"""Run in a process of its own, in the environment that `fake_cuda.environment` gives.

    case.py measure NETWORK FOLDS GRID [IMAGE]  a case with so many folds: what was stated, taken, copied, given back
    case.py faults NETWORK                      every CUDA call of a case made to fail, at several times
    case.py host BUNDLE                         CPU seconds of a whole abdominal case outside the network
    case.py scanside ARGUMENTS…                 the command line, with this card in it

GRID and IMAGE are voxels, such as 40x304x304. All is the product's own; CuPy alone is a stand-in (`packages/cupy`).
"""

import contextlib
import ctypes
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cupy
import numpy as np

from scanside.runtime.backends import cuda
from scanside.runtime.backends.guard import Guarded
from scanside.runtime.bundle import open_bundle
from scanside.runtime.device.case import How, Labelled, label_case
from scanside.runtime.errors import BackendError, DeviceMemoryError
from scanside.runtime.options import Options
from scanside.runtime.pipeline import LocalSegmenter
from scanside.runtime.plan import Plan
from scanside.runtime.segmenter import Obtained
from scanside.runtime.stages.crop import crop
from scanside.runtime.stages.resample import Shape
from scanside.runtime.volume import Geometry, Volume
from tests.support.plans import labels, plan

card = ctypes.CDLL("libcudart.so.13")
for _name in ("fake_used", "fake_peak", "fake_copied"):
    getattr(card, _name).restype = ctypes.c_size_t
card.fake_name.restype = ctypes.c_char_p
TO_DEVICE, TO_HOST = 1, 2
AIM_S = 0.5
"""CPU seconds that a whole abdominal case may take of the host beside the network."""
ILLEGAL, NO_MEMORY = 719, 2
"""Codes of a failing call; the second is one that CUDA would give for memory alone."""


def _recipe(spec: Any, image: Shape, grid: Shape) -> tuple[Plan, tuple[float, float, float]]:
    """A plan whose grid an image of spacing 1 mm has so many voxels on; thick slices where the first axis is short."""
    current = (5.0, 1.0, 1.0) if image[0] < image[1] // 4 else (1.0, 1.0, 1.0)
    z, y, x = (mm * a / b for mm, a, b in zip(current, image, grid, strict=True))
    mirrored = tuple(range(len(spec.input_shape) - 1))
    patch = spec.input_shape[1:]
    return plan(patch_size=patch, labels=labels(spec.heads), mirror_axes=mirrored, spacing=(z, y, x)), current


def _case(
    network: bytes, folds: int, image: Shape, grid: Shape, precision: str, seen: dict[str, Any]
) -> Labelled | None:
    opened: list[Guarded] = []
    try:
        for _ in range(folds):
            opened.append(Guarded(cuda.open_session(network, precision)))
        device = cuda.on_device(opened)
        runs: list[int] = []
        networks = [lambda *given, run=run: (runs.append(1), run(*given)) for run in device.networks]
        device = type(device)(device.arrays, networks, device.network_bytes, device.most)
        recipe, spacing = _recipe(opened[0].spec, image, grid)
        data = np.zeros((1, *image), np.float32)
        data[:, ::2] = 1  # or the crop is empty
        given = crop(Volume(data, Geometry(image, spacing)), recipe)
        how = How(0.5, True, lambda name: contextlib.nullcontext(), lambda done, total: None)
        seen["weights"] = card.fake_used()
        card.fake_reset_peak()
        seen["a_tile"] = device.network_bytes(1)
        seen["measuring"] = card.fake_peak() - seen["weights"]
        card.fake_reset_copied()
        launches, cupy.moved[0] = card.fake_launches(), 0
        found = label_case(given, recipe, device, how)
        seen |= {"peak": card.fake_peak(), "after": card.fake_used(), "runs": len(runs), "image": data.nbytes}
        seen |= {"up": card.fake_copied(TO_DEVICE), "down": card.fake_copied(TO_HOST), "moved": cupy.moved[0]}
        seen["launches"] = card.fake_launches() - launches
        return found
    finally:
        for session in opened:
            session.close()


def measure(network: Path, folds: int, grid: Shape, image: Shape) -> dict[str, Any]:
    """What a case states and takes; `fits` is whether its labels were computed on the card."""
    seen: dict[str, Any] = {}
    precision = "mixed" if "mixed" in network.name else "fp32"
    try:
        found = _case(network.read_bytes(), folds, image, grid, precision, seen)
    except DeviceMemoryError as error:
        return {**seen, "error": str(error)}
    seen["closed"] = card.fake_used()
    if found is None:
        return {**seen, "fits": False}
    need = found.need
    stated = {"total": need.total, "network": need.network, "batch": need.batch, "depth": need.depth}
    return {**seen, **stated, "fits": True, "labels": found.labels.nbytes, "rows": found.rows}


def _calls() -> Iterator[tuple[str, int]]:
    index = 0
    while (name := card.fake_name(index)) is not None:
        if card.fake_count(index):
            yield name.decode(), card.fake_count(index)
        index += 1


def faults(network: Path) -> dict[str, dict[str, str]]:
    """What each call leads to that fails from the first on, from two thirds on, and once, there."""
    content, shape = network.read_bytes(), (20, 70, 80)

    def run() -> Labelled | None:
        return _case(content, 1, shape, shape, "mixed", {})

    run()  # what happens once a process
    card.fake_forget()
    run()
    ends: dict[str, dict[str, str]] = {}
    for name, count in list(_calls()):
        late, code = max(1, count * 2 // 3), NO_MEMORY if name == "cudaMalloc" else ILLEGAL
        ends[name] = {}
        for when, first, times in (("always", 1, 1 << 30), ("late", late, 1 << 30), ("once", late, 1)):
            card.fake_forget()
            card.fake_fail(name.encode(), first, times, code)
            try:
                ends[name][when] = "labels" if run() else "host"
            except BackendError as error:
                ends[name][when] = f"{error.exit_code}: {error}"
            except Exception as error:
                ends[name][when] = f"{type(error).__name__}: {error}"
            card.fake_fail(b"", 0, 0, 0)
    return ends


def host(bundle: Path) -> dict[str, Any]:
    """CPU seconds of everything but the network, its own host work excluded; and what was launched around it."""
    image, spacing = (40, 384, 384), (5.0, 0.94, 0.94)
    data = np.random.default_rng(0).normal(800, 300, (1, *image)).astype(np.float32)
    volume, inside, runs = Volume(data, Geometry(image, spacing)), 0.0, 0
    real = cuda.BoundSession.between

    def timed(self: Any, image: Any, logits: Any) -> None:
        nonlocal inside, runs
        start, launched = time.process_time(), card.fake_launches()
        real(self, image, logits)
        inside += time.process_time() - start
        card.fake_launched(launched - card.fake_launches())
        runs += 1

    cuda.BoundSession.between = timed  # type: ignore[method-assign]
    found: dict[str, Any] = {}
    for mirroring in (True, False):
        options = Options(device="cuda", precision="fp32", mirroring=mirroring, threads=1)
        with LocalSegmenter(open_bundle(bundle), options, Obtained("cuda", "cuda", "", "fp32")) as segmenter:
            segmenter.segment(volume)
            inside, runs, launches, start = 0.0, 0, card.fake_launches(), time.process_time()
            segmentation = segmenter.segment(volume)
            taken = time.process_time() - start - inside
        assert segmentation.on_device
        found["mirroring" if mirroring else "no mirroring"] = {
            "part_of_aim": round(taken / AIM_S, 2),
            "network_runs": runs,
            "launches": card.fake_launches() - launches,
        }
    return found


def _shape(words: str) -> Shape:
    z, y, x = map(int, words.split("x"))
    return z, y, x


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "scanside":
        from scanside.runtime.cli.main import main

        sys.argv = ["scanside", *words]
        main()
    elif what == "measure":
        print(json.dumps(measure(Path(words[0]), int(words[1]), _shape(words[2]), _shape(words[-1]))))
    else:
        print(json.dumps({"faults": faults, "host": host}[what](Path(words[0]))))
