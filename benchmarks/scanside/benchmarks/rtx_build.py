"""`python -m scanside.benchmarks.rtx_build`: every precision of networks through TensorRT-RTX, without a GPU.

Builds plans ahead of time for three generations of GPUs, each in a process of its own so that its peak memory is known,
and compares the numerics of every graph with float32 on the CPU. It shows that the graphs are what TensorRT takes; what
a GPU makes of the plans is not shown here.
"""

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from scanside.benchmarks import models
from scanside.export.accurate_norm import accurate_norms
from scanside.export.bf16 import to_bf16
from scanside.export.mixed import to_mixed
from scanside.export.onnx_graph import INPUT, to_onnx
from scanside.export.ranges import audit
from scanside.export.simulated import simulated
from scanside.runtime import machine
from scanside.runtime.backends import trt_build
from scanside.runtime.bundle import open_bundle

CAPABILITIES = ("8.6", "8.9", "12.0")
LARGE_PATCH = (28, 256, 256)
Float = npt.NDArray[np.float32]


def large() -> tuple[str, onnx.ModelProto, Float]:
    """nnU-Net's default six stages, 31 M parameters, and a tile of 28×256×256; untrained."""
    kind = replace(models.KINDS["abdomen-31m"], patch=LARGE_PATCH)
    network = models._network(kind, models._plans(kind, "abdomen-31m"), 0)
    network.decoder.deep_supervision = False  # type: ignore[union-attr]
    tile = np.random.default_rng(0).standard_normal((1, 1, *LARGE_PATCH)).astype(np.float32)
    return "six stages, 31 M parameters, 28×256×256", to_onnx(network, 1, LARGE_PATCH), tile


def of_bundle(path: Path) -> Iterator[tuple[str, onnx.ModelProto, Float]]:
    """The networks of a bundle, and a tile of noise for each."""
    bundle = open_bundle(path)
    for role, segmenter in bundle.manifest.segmenters.items():
        for network in segmenter.networks:
            model = onnx.load_from_string(bundle.read(network.files["fp32"]))
            shape = (1, segmenter.plan.input_channels, *segmenter.plan.patch_size)
            tile = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            yield f"{path.stem} {role}, fold {network.fold}", model, tile


def graphs(model: onnx.ModelProto, tile: Float) -> dict[str, onnx.ModelProto]:
    """The network in every precision that a bundle may hold, the range audit included."""
    accurate = onnx.ModelProto()
    accurate.CopyFrom(model)
    accurate_norms(accurate)
    return {"fp32": accurate, "mixed": to_mixed(model, audit(model, [tile]).kept), "bf16": to_bf16(model)}


def numerics(fp32: onnx.ModelProto, graph: onnx.ModelProto, tile: Float) -> dict[str, float]:
    """Relative RMS difference of the logits, and the part of voxels whose label differs; every rounding simulated."""
    exact, found = _run(fp32, tile), _run(simulated(graph), tile)
    return {
        "relative_rms": float(np.sqrt(((found - exact) ** 2).mean() / (exact**2).mean())),
        "labels_differing": float((found.argmax(1) != exact.argmax(1)).mean()),
    }


def _run(model: onnx.ModelProto, tile: Float) -> Float:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result: Float = session.run(None, {INPUT: tile})[0]
    return result


def build(network: bytes, capability: str) -> dict[str, Any]:
    """Seconds, megabytes and peak resident memory of one build, in this process."""
    trt_build.library("tensorrt-rtx")
    before = _peak_mb()
    start = time.perf_counter()
    plan = trt_build.build(network, "tensorrt-rtx", capability=capability)
    return {
        "capability": capability,
        "seconds": round(time.perf_counter() - start, 2),
        "engine_mb": round(len(plan) / 1e6, 1),
        "peak_rss_mb": _peak_mb(),
        "rss_before_mb": before,
    }


def _peak_mb() -> int:
    """Peak resident memory of this process; getrusage would tell the parent's, from before the program was loaded."""
    status = Path("/proc/self/status").read_text()
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def measure(
    networks: Iterator[tuple[str, onnx.ModelProto, Float]], say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """One row a network and precision."""
    rows = []
    for name, model, tile in networks:
        made = graphs(model, tile)
        for precision, graph in made.items():
            row: dict[str, Any] = {"network": name, "precision": precision}
            content = graph.SerializeToString()
            row["onnx_mb"] = round(len(content) / 1e6, 1)
            if precision != "fp32":
                row["against_fp32"] = numerics(made["fp32"], graph, tile)
            row["builds"] = []
            for capability in CAPABILITIES:
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    row["builds"].append(pool.submit(build, content, capability).result())
            say(json.dumps(row))
            rows.append(row)
    return rows


def main(out: Path, bundle: Path) -> None:
    """Write `out`.json and `out`.md."""

    def networks() -> Iterator[tuple[str, onnx.ModelProto, Float]]:
        yield from of_bundle(bundle)
        yield large()

    rows = measure(networks(), lambda row: print(row, file=sys.stderr))
    record = {
        "schema": "scanside.rtx_build/1",
        "command": f"python -m scanside.benchmarks.rtx_build OUT {bundle.name}",
        "machine": {
            "processor": machine.processor(),
            "cores": machine.cores(),
            "memory_gib": machine.memory_gib(),
            "gpu": None,
        },
        "versions": machine.versions(("tensorrt-rtx-cu13-libs", "onnx", "torch")),
        "rows": rows,
    }
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    out.with_suffix(".md").write_text(table(record))


def table(record: dict[str, Any]) -> str:
    """The record as Markdown."""
    head = (
        f"Plans built ahead of time by TensorRT-RTX {record['versions'].get('tensorrt-rtx-cu13-libs', '')} on "
        f"{record['machine']['processor']} ({record['machine']['cores']} cores, busy), **without a GPU: nothing was "
        "executed by TensorRT**. Differences from fp32: every rounding simulated in float32 on the CPU, on one tile of "
        "noise.\n\n"
    )
    lines = [
        "| network | precision | ONNX MB | GPU | s | plan MB | peak RSS MB | Δ logits (rel. RMS) | Δ labels |"
    ]
    lines.append("|---|---|---|---|---|---|---|---|---|")
    for row in record["rows"]:
        difference = row.get("against_fp32")
        words = (
            f"{difference['relative_rms']:.2g} | {difference['labels_differing']:.2g}"
            if difference
            else "— | —"
        )
        lines += [
            f"| {row['network']} | {row['precision']} | {row['onnx_mb']} | SM{made['capability'].replace('.', '')} | "
            f"{made['seconds']} | {made['engine_mb']} | {made['peak_rss_mb']} | {words} |"
            for made in row["builds"]
        ]
    return head + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
