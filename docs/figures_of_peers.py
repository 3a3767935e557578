"""Figures of the program beside nnU-Net: time, memory, labels; and whence every quoted run is."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from results_files import mebibytes, read, seconds, spread, times

PEERS = ("abdomen", "hippocampus", "pelvis-mirroring", "sixty", "classes-30")


def peers() -> Iterator[tuple[str, str]]:
    """`<file>.<what>.<peer>`: lowest and highest of the rounds; with `.times` the ratio to nnunetv2."""
    for name in PEERS:
        document = read(f"benchmarks/peers-{name}.json")
        yield f"{name}.rounds", str(document["conditions"]["repeats"])
        found = [one for one in document["measured"] if "peer" in one["facts"]]
        whole = [one for one in found if any(q["name"] == "together" for q in one["quantities"])]
        for one in whole or found:
            peer = one["facts"]["peer"].removeprefix("openvino:")
            for q in one["quantities"]:
                if q["name"] in _SHOWN:
                    what, shown = _SHOWN[q["name"]]
                    yield f"{name}.{what}.{peer}", spread(q["samples"], shown)
                    ratios = _ratios(found, one["facts"]["case"], q)
                    yield f"{name}.{what}.{peer}.times", spread(ratios, times)
            for labels in one["facts"].get("labels", {}).values():
                lowest = min(dice for dice in labels["dice"].values() if dice is not None)
                yield f"{name}.dice.{peer}", f"{lowest:.4f}"
                yield f"{name}.differing.{peer}", f"{labels['differing']:,}"
                yield f"{name}.voxels.{peer}", f"{labels['voxels']:,}"
                yield f"{name}.judged.{peer}", labels["problem"] or "accepted"
                if labels["margins"]:
                    yield f"{name}.margin.{peer}", f"{labels['margins']['largest']:.2g}"
                    yield f"{name}.bound.{peer}", f"{labels['margins']['bound']:g}"


def _time(milliseconds: float) -> str:
    return seconds(milliseconds / 1000)


_SHOWN: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "together": ("time", _time), "together, peak memory": ("memory", mebibytes),
    "cold": ("time", _time), "cold, peak memory": ("memory", mebibytes), "warm": ("warm-time", _time),
    "cold, processes": ("processes", "{:.0f}".format),
}  # fmt: skip


def _ratios(found: Sequence[Mapping[str, Any]], case: str, own: Mapping[str, Any]) -> list[float]:
    """nnunetv2 / peer, round by round."""
    [reference] = [
        q["samples"]
        for one in found
        if (one["facts"]["case"], one["facts"]["peer"]) == (case, "nnunetv2")
        for q in one["quantities"]
        if q["name"] == own["name"]
    ]
    return [a / b for a, b in zip(reference, own["samples"], strict=True)]


_QUOTED = {
    "abdomen": "peers-abdomen", "pelvis": "peers-pelvis-mirroring", "one hippocampus MRI": "peers-hippocampus",
    "60 MRIs": "peers-sixty", "30 classes": "peers-classes-30", "parity": "parity-hippocampus",
    "radiomics": "radiomics", "install": "install", "terminal": "tui",
}  # fmt: skip
"""Runs that the page of benchmarks quotes."""


def runs() -> Iterator[tuple[str, str]]:
    """`runs`: rows of a table, whence each quoted run is; `runs.remarked`: how many files have a remark."""
    documents = {what: read(f"benchmarks/{name}.json") for what, name in _QUOTED.items()}
    yield "runs", "\n".join(_run(what, found) for what, found in documents.items())
    yield "runs.all", str(len(documents))
    yield "runs.warm.other", _percent(_other_part(documents["one hippocampus MRI"], ["warm"]))
    yield "runs.remarked", str(sum(bool(found["remarks"]) for found in documents.values()))


def _run(what: str, found: Mapping[str, Any]) -> str:
    name = _QUOTED[what]
    ending = "json" if name == "tui" else "md"
    cells = (
        f"[{what}](../results/benchmarks/{name}.{ending})", found["versions"]["scanside"], found["created"][:10],
        "changed" if found["git"]["dirty"] else "as committed",
        f"{found['machine']['load_average'][0]:.2f}", _percent(_other_part(found)),
        "yes" if found["remarks"] else "no",
    )  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def _percent(part: float | None) -> str:
    return "" if part is None else f"{100 * part:.1f}\N{NO-BREAK SPACE}%"


def _other_part(
    found: Mapping[str, Any], modes: Sequence[str] = ("cold", "together", "warm")
) -> float | None:
    """Part of the processor that other programs took while the peers were timed; None where it was not measured."""
    totals = {
        end: sum(
            sum(q["samples"])
            for one in found.get("measured", ())
            for q in one["quantities"]
            if q["name"] in {f"{mode}{end}" for mode in modes}
        )
        for end in ("", ", other programs")
    }
    return totals[", other programs"] / (totals[""] * found["machine"]["cores"]) if totals[""] else None
