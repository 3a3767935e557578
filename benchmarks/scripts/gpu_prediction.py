"""`python benchmarks/scripts/gpu_prediction.py OUT.json`: what a case can take at least on cards that we do not have.

A prediction, not a measurement. Of each card two figures are taken, its product of matrices in float16 and its
bandwidth; of each case the operations and bytes that its graph asks for. A floor is the longer of the two: no program
that convolves directly is quicker. Beside it stands what the network would take at the part of the peak that NVIDIA
published for nnU-Net with AMP on an A100 (21 %; 14.6 ms for 128³). Measured here, on a CPU, is what the host computes
outside the network.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from scanside.benchmarks.models import KINDS, SMALL_PATCH, at_patch, large, make_bundle, make_model
from scanside.benchmarks.script import convolution_flops
from scanside.benchmarks.warm import Stopwatch, timed_sessions
from scanside.runtime import machine
from scanside.runtime.bundle import open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.options import Options
from scanside.runtime.stages.slide import tiling
from scanside.runtime.volume import Geometry, Volume

SCHEMA = "scanside.gpu-prediction/1"
NOTICE = "Predicted from arithmetic and bandwidth, never measured: no GPU was available."
PUBLISHED_PART = 0.21
"""Of an A100's 312 TFLOP/s, which 955 GFLOP in 14.6 ms are (DeepLearningExamples, nnU-Net for PyTorch, 22.11)."""
VARIANTS = 8
"""Mirror variants of a three-dimensional tile."""
_PASSES = 3
"""Times that each activation crosses the memory in float16 where normalisation reads what a convolution has just
written: written, read for its mean, read by the next convolution."""


@dataclass(frozen=True)
class Card:
    """Two figures of a card.

    Attributes:
        tflops: 10^12 operations a second of products of dense float16 matrices summed in float32.
        gb_s: 10^9 bytes a second of its memory.
        bus_gb_s: Between host and device; None where they share one memory.
    """

    name: str
    tflops: float
    gb_s: float
    bus_gb_s: float | None
    memory_gib: int
    source: str


_SHEET = "data sheet, quoted from memory, not looked up again"
CARDS = (
    Card("RTX 4060", 60, 272, 13, 8, _SHEET),
    Card("RTX 4090", 165, 1008, 25, 24, _SHEET),
    Card("RTX A2000", 32, 288, 25, 6, _SHEET),
    Card("AGX Orin", 42, 205, None, 64, _SHEET),
    Card("H100", 798, 3000, 50, 80, "product and copy measured on one; bus from the data sheet"),
)


@dataclass(frozen=True)
class Case:
    """A case, as counted.

    Attributes:
        tiles: Of the image, at nnU-Net's step.
        gflop: 10^9 operations of the network for one tile.
        network_gb: 10^9 bytes of float16 that the network moves for one tile: `_PASSES` times the outputs of its
            convolutions.
        around_gb: 10^9 bytes of float32 around the network for the whole case: variants read, sums read and written,
            logits resampled along three axes and decided.
        up_mb, down_mb: 10^6 bytes of the image and of its labels.
    """

    name: str
    tiles: int
    gflop: float
    network_gb: float
    around_gb: float
    up_mb: float
    down_mb: float


def predict(card: Card, case: Case) -> dict[str, Any]:
    """A case on a card: the floor of the network for one tile, `tile_ms`, and what it waits for; in seconds with
    mirroring the floors of network, surroundings and bus, and the case at `PUBLISHED_PART` of the card's product."""
    runs = case.tiles * VARIANTS
    maths, moved = case.gflop / card.tflops / 1e3, case.network_gb / card.gb_s
    tile, around = max(maths, moved), case.around_gb / card.gb_s
    bus = (case.up_mb + case.down_mb) / 1e3 / card.bus_gb_s if card.bus_gb_s else 0.0
    return {
        "card": card.name,
        "case": case.name,
        "tile_ms": round(1e3 * tile, 2),
        "bound": "arithmetic" if maths >= moved else "bandwidth",
        "network": round(runs * tile, 3),
        "around": round(around, 3),
        "bus": round(bus, 3),
        "floor": round(runs * tile + around + bus, 2),
        "at_published_part": round(runs * max(maths / PUBLISHED_PART, moved) + around + bus, 2),
    }


def count(name: str, model: bytes, image: Sequence[int], grid: Sequence[int], heads: int) -> Case:
    """Count a case.

    Args:
        model: The network, float32 ONNX with fixed spatial sizes, at the patch.
        image: (z, y, x) voxels of the image as it comes.
        grid: The same on the network's grid.
    """
    source = onnx.load_from_string(model).graph.input[0]
    patch = tuple(size.dim_value for size in source.type.tensor_type.shape.dim[2:])
    tiles = tiling(tuple(grid), patch, 0.5).count
    voxels = math.prod(patch)
    sums = tiles * heads * voxels * 4 * (VARIANTS + 2)  # each variant read, the sum read and written
    finish = (
        4 * heads * (2 * math.prod(grid) + 4 * math.prod(image))
    )  # three axes, the last two at the larger size
    return Case(
        name,
        tiles,
        round(convolution_flops(model) / 1e9, 1),
        round(_PASSES * 2 * convolution_outputs(model) / 1e9, 3),
        round((sums + finish) / 1e9, 2),
        round(4 * math.prod(image) / 1e6, 1),
        round(math.prod(image) / 1e6, 1),
    )


def convolution_outputs(model: bytes) -> int:
    """Elements of the outputs of all convolutions for one tile."""
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model)).graph
    shapes = {
        value.name: [size.dim_value or 1 for size in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    }
    return sum(
        math.prod(shapes[node.output[0]]) for node in graph.node if node.op_type in ("Conv", "ConvTranspose")
    )


def host_cpu_s(folder: Path, image: Sequence[int], spacing: tuple[float, float, float]) -> dict[str, float]:
    """CPU seconds, of all threads, that the host path takes outside the network for the abdominal case.

    CPU time, which a busy machine changes little. The network is the plan's with next to no channels.
    """
    make_model(folder / "light", "abdomen-light")
    make_bundle(folder / "light", folder / "light.bundle", (), False, lambda words: None)
    data = np.random.default_rng(0).normal(800, 300, (1, *image)).astype(np.float32)
    volume = Volume(data, Geometry((image[0], image[1], image[2]), spacing))
    taken, watch = dict[str, float](), Stopwatch(time.process_time)
    for mirroring in (True, False):
        options = Options(device="cpu", threads=1, mirroring=mirroring)
        with (
            timed_sessions(watch),
            open_segmenter(open_bundle(folder / "light.bundle"), options) as segmenter,
        ):
            segmenter.segment(volume)
            watch.restart()
            start = time.process_time()
            segmenter.segment(volume)
            name = "mirroring" if mirroring else "no mirroring"
            taken[name] = round(time.process_time() - start - watch.seconds, 2)
    return taken


def document(cases: Sequence[Case], host: dict[str, float]) -> dict[str, Any]:
    """The results file."""
    return {
        "schema": SCHEMA,
        "prediction": True,
        "notice": NOTICE,
        "published_part": PUBLISHED_PART,
        "variants": VARIANTS,
        "host": {
            "processor": machine.processor(),
            "what": "CPU seconds of the host path outside the network, abdominal case, ONNX Runtime, measured here",
            "cpu_s": host,
        },
        "versions": machine.versions(("torch", "onnx")),
        "cards": [asdict(card) for card in CARDS],
        "cases": [asdict(case) for case in cases],
        "predictions": [predict(card, case) for card in CARDS for case in cases],
    }


def main(out: Path) -> None:
    """Count, measure and write."""
    network = large(SMALL_PATCH)[1]
    patch = KINDS["abdomen-31m"].patch
    abdomen = at_patch(network, patch).SerializeToString()
    cube = at_patch(network, (128, 128, 128)).SerializeToString()
    image, spacing = (40, 384, 384), (5.0, 0.94, 0.94)
    cases = (
        count("abdomen", abdomen, image, (40, 304, 304), 3),
        count("cube", cube, (256, 256, 256), (192, 256, 256), 3),
    )
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as folder:
        host = host_cpu_s(Path(folder), image, spacing)
    out.write_text(json.dumps(document(cases, host), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
