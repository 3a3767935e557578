"""What the scripts of `benchmarks/scripts` share: they are run from a checkout and write the same results files."""

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel

from scanside.benchmarks.commands import refuse_existing, show
from scanside.benchmarks.environment import environment
from scanside.benchmarks.tables import aligned
from scanside.runtime.errors import ScansideError
from scanside.runtime.images.files import atomic_write


def script(main: Callable[..., object]) -> None:
    """Run a script's function as a command; an error is one sentence and its exit code."""
    try:
        typer.run(main)
    except ScansideError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def facts(name: str, out: Path, overwrite: bool) -> dict[str, Any]:
    """The head of a results file: its schema, machine, versions, commit and command. Call it before anything is timed.

    Raises:
        OutputError: If the file is there and must stay.
    """
    refuse_existing(overwrite, out, out.with_suffix(".md"))
    command = ["python", f"benchmarks/scripts/{Path(sys.argv[0]).name}", *sys.argv[1:]]
    return {"schema": f"scanside.{name}", **environment(command)}


def save(document: Mapping[str, Any], out: Path, words: Sequence[str]) -> None:
    """Write a results file and, beside it and on the terminal, its table as Markdown."""
    text = json.dumps(document, indent=1, ensure_ascii=False, default=_plain)
    with atomic_write(out) as temporary:
        temporary.write_text(f"{text}\n", encoding="utf-8")
    show("\n".join(words), out.with_suffix(".md"))


def where(document: Mapping[str, Any], *libraries: str) -> str:
    """The machine and the versions of some libraries in a line."""
    machine, versions = document["machine"], document["versions"]
    known = ", ".join(f"{name} {versions[name]}" for name in ("scanside", *libraries) if name in versions)
    return f"{machine['processor']}, {machine['cores']} core(s), {machine['memory_gib']} GiB; {known}."


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows below their head, as Markdown with a line before and after."""
    return ["", *aligned([head, *([str(cell) for cell in row] for row in rows)]), ""]


def convolution_flops(model: bytes) -> float:
    """Operations (a multiplication and an addition are two) of all convolutions for one tile.

    Args:
        model: A float32 ONNX model whose spatial sizes are fixed.

    Source: a convolution multiplies and adds once for each output element, input channel of its group and kernel
    element; a transposed one once for each input element and output channel of its group.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(model)).graph
    shapes = {
        value.name: [size.dim_value or 1 for size in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }
    weights = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0.0
    for node in graph.node:
        if node.op_type == "Conv":  # weights (M, C / group, *kernel)
            total += 2.0 * math.prod(shapes[node.output[0]]) * math.prod(weights[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":  # weights (C, M / group, *kernel)
            total += 2.0 * math.prod(shapes[node.input[0]]) * math.prod(weights[node.input[1]][1:])
    return total


def _plain(record: object) -> Any:
    if isinstance(record, BaseModel):
        return record.model_dump()
    raise TypeError(f"{type(record).__name__} is nothing that JSON holds")
