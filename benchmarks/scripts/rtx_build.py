"""`python benchmarks/scripts/rtx_build.py OUT BUNDLE`: every precision of networks through TensorRT-RTX, without a GPU.

Builds plans ahead of time for three generations of GPUs, as a card of `MEMORY` builds them: for as many tiles at once
as it takes. The numerics of every graph are compared with float32 on the CPU. It shows that the graphs are what
TensorRT takes; what a GPU makes of the plans is not shown here.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from scanside.benchmarks.models import SMALL_PATCH, at_patch, large
from scanside.benchmarks.script import table as rows_of
from scanside.export.accurate_norm import single_norms
from scanside.export.convert import in_precisions
from scanside.export.graph_names import INPUT
from scanside.export.precisions import EXPORTED
from scanside.export.ranges import audit
from scanside.export.simulated_precision import simulated
from scanside.runtime import machine
from scanside.runtime.arrays import Float32
from scanside.runtime.backends import gpu, trt_build
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.bundle import open_bundle

CAPABILITIES = ("8.6", "8.9", "12.0")
MEMORY = 16 << 30
"""Bytes of the card that is built for."""
LARGE_PATCH = (28, 256, 256)
CUBE = (128, 128, 128)


def of_bundle(path: Path) -> Iterator[tuple[str, onnx.ModelProto, Float32]]:
    """The networks of a bundle, and a tile of noise for each."""
    bundle = open_bundle(path)
    for role, segmenter in bundle.manifest.segmenters.items():
        for network in segmenter.networks:
            model = onnx.load_from_string(bundle.read(network.files["fp32"]))
            single_norms(model)  # as PyTorch exports it
            shape = (1, segmenter.plan.input_channels, *segmenter.plan.patch_size)
            tile = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            yield f"{path.stem} {role}, fold {network.fold}", model, tile


def graphs(
    model: onnx.ModelProto, tile: Float32, precisions: Sequence[FilePrecision] = EXPORTED
) -> dict[FilePrecision, onnx.ModelProto]:
    """The network in every precision that a bundle may hold, range audit and scales of int8 taken from the tile."""
    return in_precisions(model, precisions, [tile], audit(model, [tile]).kept)


def numerics(fp32: onnx.ModelProto, graph: onnx.ModelProto, tile: Float32) -> dict[str, float]:
    """Relative RMS difference of the logits, and the part of voxels whose label differs.

    Roundings to float16 and bfloat16 are simulated; those to int8 are in the graph and ONNX Runtime's own.
    """
    exact, found = _run(fp32, tile), _run(simulated(graph), tile)
    return {
        "relative_rms": float(np.sqrt(((found - exact) ** 2).mean() / (exact**2).mean())),
        "labels_differing": float((found.argmax(1) != exact.argmax(1)).mean()),
    }


def _run(model: onnx.ModelProto, tile: Float32) -> Float32:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result: Float32 = session.run(None, {INPUT: tile})[0]
    return result


def build(network: bytes, capability: str) -> dict[str, Any]:
    """Tiles at once and megabytes of one build."""
    made = trt_build.build_largest(network, "tensorrt-rtx", gpu.LARGEST_BATCH, MEMORY, capability=capability)
    return {
        "capability": capability,
        "batch": made.batch,
        "remark": made.remark,
        "engine_mb": round(len(made.plan) / 1e6, 1),
    }


def measure(
    networks: Iterator[tuple[str, onnx.ModelProto, Float32]], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One row a network, patch and precision. The network of `large` is compared at `SMALL_PATCH` and built, with the
    same weights, at `LARGE_PATCH` and `CUBE` as well."""
    rows = []
    for name, model, tile in networks:
        made = graphs(model, tile)
        for precision, graph in made.items():
            rows.append(_row(name, tile.shape[2:], precision, graph))
            if precision != "fp32":
                rows[-1]["against_fp32"] = numerics(made["fp32"], graph, tile)
            for patch in (LARGE_PATCH, CUBE) if tile.shape[2:] == SMALL_PATCH else ():
                rows.append(_row(name, patch, precision, _enlarged(model, graph, precision, patch)))
            say(json.dumps(rows[-1]))
    return rows


def _enlarged(
    model: onnx.ModelProto, graph: onnx.ModelProto, precision: FilePrecision, patch: tuple[int, ...]
) -> onnx.ModelProto:
    """A converted graph for another patch; bf16 holds shapes of its own and is converted there."""
    if precision != "bf16":
        return at_patch(graph, patch)
    return in_precisions(at_patch(model, patch), (precision,))[precision]


def _row(name: str, patch: tuple[int, ...], precision: str, graph: onnx.ModelProto) -> dict[str, Any]:
    content = graph.SerializeToString()
    return {
        "network": name,
        "patch": list(patch),
        "precision": precision,
        "onnx_mb": round(len(content) / 1e6, 1),
        "builds": [build(content, capability) for capability in CAPABILITIES],
    }


def main(out: Path, bundle: Path) -> None:
    """Write `out`.json and `out`.md."""

    def networks() -> Iterator[tuple[str, onnx.ModelProto, Float32]]:
        yield from of_bundle(bundle)
        yield large(SMALL_PATCH)

    rows = measure(networks(), lambda row: print(row, file=sys.stderr))
    record = {
        "schema": "scanside.rtx_build/2", "command": f"python benchmarks/scripts/rtx_build.py OUT {bundle.name}",
        "machine": {
            "processor": machine.processor(), "cores": machine.cores(), "memory_gib": machine.memory_gib(), "gpu": None,
        },
        "card": {
            "memory_gib": MEMORY / 2**30, "scratch_gib": trt_build.workspace("tensorrt-rtx", MEMORY) / 2**30,
            "batch_asked": gpu.LARGEST_BATCH,
        },
        "versions": machine.versions(("tensorrt-rtx-cu13-libs", "onnx", "torch")), "rows": rows,
    }  # fmt: skip
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    out.with_suffix(".md").write_text(table(record))


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    card, host = record["card"], record["machine"]
    head = (
        f"Plans built ahead of time by TensorRT-RTX {record['versions'].get('tensorrt-rtx-cu13-libs', '')} on "
        f"{host['processor']} ({host['cores']} cores, busy), **without a GPU: nothing was executed by TensorRT**. "
        f"Built for 1 to {card['batch_asked']} tiles at once, as a card of {card['memory_gib']:.0f} GiB builds them: "
        "*tiles* is the most that a plan takes. Differences from fp32: every rounding simulated in float32 on the CPU "
        "(int8: its graph in ONNX Runtime), on one tile of noise, which int8 has its scales from too."
    )
    columns = (
        "network", "patch", "precision", "ONNX MB", "GPU", "tiles", "plan MB", "Δ logits (rel. RMS)", "Δ labels",
    )  # fmt: skip
    cells = [_cells(row, made) for row in record["rows"] for made in row["builds"]]
    return "\n".join([head, *rows_of(columns, cells)])


def _cells(row: dict[str, Any], made: dict[str, Any]) -> tuple[object, ...]:
    difference = row.get("against_fp32") or {}
    apart = [
        f"{difference[name]:.2g}" if name in difference else "—"
        for name in ("relative_rms", "labels_differing")
    ]
    return (
        row["network"], "×".join(map(str, row["patch"])), row["precision"], row["onnx_mb"],
        f"SM{made['capability'].replace('.', '')}", made["batch"], made["engine_mb"], *apart,
    )  # fmt: skip


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
