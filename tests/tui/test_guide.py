"""docs/terminal.md tells what the program does."""

import json
import re
from pathlib import Path

from scanside.tui.commands import BY_NAME, COMMANDS, Place
from scanside.tui.demo.screenshots import PICTURES

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "terminal.md").read_text()
NAMED = {">": "greater_than_sign", "<": "less_than_sign"}


def test_every_key_of_the_guides_table_is_one_of_the_worklist() -> None:
    table = GUIDE.split("| key | on the worklist |")[1].split("\n\n")[0]
    keys = {NAMED.get(key, key) for key in re.findall(r"`(.)`", table)}
    known = {
        key
        for command in COMMANDS
        if {Place.WORKLIST, Place.APP} & set(command.places)
        for key in command.keys.split(",")
    }
    assert keys and keys <= known


def test_the_bindings_of_the_guides_example_exist() -> None:
    example = GUIDE.split("```toml")[1].split("```")[0]
    assert set(re.findall(r'^"([^"]+)"', example, re.MULTILINE)) <= set(BY_NAME)


def test_every_picture_of_the_guide_is_made_by_the_script() -> None:
    shown = set(re.findall(r"\(terminal/([\w-]+)\.svg\)", GUIDE))
    assert shown == set(PICTURES) == {path.stem for path in (ROOT / "docs" / "terminal").glob("*.svg")}


def test_the_guides_figures_are_those_of_the_results_file() -> None:
    document = json.loads((ROOT / "results" / "benchmarks" / "tui.json").read_text())
    found = document["measured"][0]["facts"]
    row = re.findall(r"^\| (.+?) \| (.+?) \|", GUIDE.split("## What it takes")[1], re.MULTILINE)[1:]
    figures = {
        "opening, median of": f"{found['opening_s']['p50']:.2f} s",
        "key to paint, p95": f"{1000 * found['key_to_paint_s']['p95']:.0f} ms",
        "idle, part of a core": f"{100 * found['idle_cpu_part']:.1f} %",
        "key to paint under 50 events a second, p95": f"{1000 * found['events']['key_to_paint_s']['p95']:.0f} ms",
        "memory": f"{found['memory_mib']:.0f} MiB",
    }
    assert len(row) == len(figures)
    for (name, value), (known, figure) in zip(row, figures.items(), strict=True):
        assert name.startswith(known) and value == figure, (name, value, figure)
    assert all(remark.split(":")[0] in GUIDE for remark in document["remarks"])


def test_the_guides_figures_of_an_open_case_are_those_of_the_results_file() -> None:
    document = json.loads((ROOT / "results" / "benchmarks" / "tui.json").read_text())
    found = [one["facts"] for one in document["measured"] if "graphics" in one["facts"]]
    words = " ".join(GUIDE.split("## What it takes")[1].split())
    for graphics in ("half blocks", "sixel"):
        keys = [1000 * one["case"]["key_to_paint_s"]["p95"] for one in found if one["graphics"] == graphics]
        assert f"{min(keys):.0f} to {max(keys):.0f}" in words
    assert all(
        bytes_ == 0 for one in found for name, bytes_ in one["case"].items() if name != "key_to_paint_s"
    )
    at_rest = [one["worklist"]["at_rest"] for one in found]
    beside = [one["worklist"]["while_another_computes"] / 1000 for one in found]
    sent = f"{min(at_rest):.0f} to {max(at_rest):.0f} bytes per second" if any(at_rest) else "0 bytes"
    assert f"the worklist sends {sent}" in words
    assert f"{min(beside):.0f} to {max(beside):.0f} kB" in words
