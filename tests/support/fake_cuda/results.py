"""`python -m tests.support.fake_cuda.results results/gpu-path`: memory and host time of the device path, on record.

nnU-Net's default network of 31 M parameters at 128³ with mirroring on cards of several sizes, by the real CUDA provider
on a card of host memory; and the CPU seconds that a whole abdominal case takes beside the network. Nothing is computed
on the card, so that a card may be larger than the host. Takes about ten minutes on two busy cores.
"""

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from scanside.benchmarks import models
from scanside.benchmarks.models import SMALL_PATCH, at_patch, large
from scanside.export.convert import in_precisions
from scanside.runtime import machine
from tests.support.fake_cuda import answer, build
from tests.support.onnxruntime_gpu import onnxruntime_gpu

GIB = 1 << 30
CUBE = (128, 128, 128)
CARDS = (24, 12, 8, 6)
"""GiB."""
ABDOMEN, BODY = "128x256x256", "400x512x512"
NOTICE = (
    "Memory and copies as the real CUDA provider asks for them on a card of host memory; CuPy's pool is a stand-in. "
    "Never run on a GPU: no time in this file is a GPU's."
)


def networks(folder: Path) -> dict[str, Path]:
    """Precision → ONNX file at 128³."""
    written = {}
    whole = at_patch(large(SMALL_PATCH)[1], CUBE)
    for precision, graph in in_precisions(whole, ("fp32", "mixed")).items():
        written[precision] = folder / f"{precision}.onnx"
        written[precision].write_bytes(graph.SerializeToString())
    return written


def with_heads(path: Path, heads: int) -> Path:
    """The same network with more heads, beside it: its last convolution is repeated."""
    model = onnx.load(path)
    for held in model.graph.initializer:
        if held.name.startswith("decoder.seg_layers"):
            values = onnx.numpy_helper.to_array(held)
            held.CopyFrom(
                onnx.numpy_helper.from_array(np.resize(values, (heads, *values.shape[1:])), held.name)
            )
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = heads
    written = path.with_name(f"{heads}-{path.name}")
    onnx.save(model, written)
    return written


def memory(card: Path, files: dict[str, Path]) -> Iterator[dict[str, Any]]:
    """One row a card and case."""
    cases = [(folds, 3, "mixed", ABDOMEN, CARDS) for folds in (1, 5)]
    cases += [(folds, 3, "fp32", ABDOMEN, CARDS) for folds in (1, 5)]
    cases += [(1, 25, "mixed", BODY, (12, 8))]
    for folds, heads, precision, grid, cards in cases:
        file = files[precision] if heads == 3 else with_heads(files[precision], heads)
        for gib in cards:
            seen = answer(card, onnxruntime_gpu(), "measure", file, folds, grid, memory=gib * GIB)
            stated = seen["weights"] + seen["total"] if seen.get("fits") else None
            yield {
                "card_gib": gib,
                "folds": folds,
                "heads": heads,
                "precision": precision,
                "image": grid,
                "on": "refused"
                if "error" in seen
                else "device"
                if seen["fits"]
                else "host, networks on the device",
                "stated": stated,
                "taken": seen.get("peak"),
                "taken_by_stated": round(seen["peak"] / stated, 4) if stated else None,
                "left_when_closed": seen.get("closed"),
                **{
                    name: seen.get(name)
                    for name in ("batch", "depth", "rows", "up", "down", "launches", "runs")
                },
            }


def host(card: Path, folder: Path) -> dict[str, Any]:
    """See `case.host`."""
    models.make_model(folder / "light", "abdomen-light")
    models.make_bundle(folder / "light", folder / "light.bundle", (), False, lambda words: None)
    found: dict[str, Any] = answer(card, onnxruntime_gpu(), "host", folder / "light.bundle")
    return found


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    columns = (
        "card, GiB",
        "folds",
        "heads",
        "precision",
        "image",
        "computed on",
        "stated, GiB",
        "taken, GiB",
    )
    columns += ("taken / stated", "tiles at once", "rows of sums")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        sums = "—" if row["depth"] is None else f"{row['depth']} of {row['rows']}"
        stated = "—" if row["stated"] is None else f"{row['stated'] / GIB:.2f}"
        cells = [row[name] for name in ("card_gib", "folds", "heads", "precision", "image", "on")]
        cells += [
            stated,
            f"{row['taken'] / GIB:.2f}",
            row["taken_by_stated"] or "—",
            row["batch"] or "—",
            sums,
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(out: Path) -> None:
    """Write `device.json` and `README.md`."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="scanside-card-") as temporary:
        folder = Path(temporary)
        card = build(folder / "card", onnxruntime_gpu())
        seconds = host(card, folder)
        print(json.dumps(seconds), file=sys.stderr)
        rows = []
        for row in memory(card, networks(folder)):
            print(json.dumps(row), file=sys.stderr)
            rows.append(row)
    document = {
        "schema": "scanside.gpu-path/2",
        "command": "python -m tests.support.fake_cuda.results results/gpu-path",
        "notice": NOTICE,
        "machine": {"processor": machine.processor(), "cores": machine.cores(), "gpu": None},
        "versions": machine.versions(("torch", "onnx")),
        "host": seconds,
        "memory": rows,
    }
    (out / "device.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (out / "README.md").write_text(page(document), encoding="utf-8")


def page(document: dict[str, Any]) -> str:
    """What the results say, for a person."""
    words = [
        f"{kind}: {found['part_of_aim']:.0%} of it, {found['launches']} launches around {found['network_runs']} runs"
        for kind, found in document["host"].items()
    ]
    return f"""# The device path, without a GPU

{document["notice"]} Written by `{document["command"]}`; every figure is in [device.json](device.json).

## Memory

nnU-Net's default network of 31 M parameters at 128³, mirroring on. *Stated* is what the plan of memory says before the
case, the weights of all folds added; *taken* is the most that the card gave out, gaps of the pool and a batch that was
tried and did not fit included.

{table(document["memory"])}

## Host time

A whole abdominal case from the image to the mask, beside the network (40×384×384 voxels, 3 heads, 40×304×304 on the
network's grid), may take half a second of one thread. {"; ".join(words).capitalize()}.
Crop, upload, every launch by the stand-in for CuPy, labels down, restore.
What the real CuPy takes to launch is not in it.
"""


if __name__ == "__main__":
    main(Path(sys.argv[1]))
