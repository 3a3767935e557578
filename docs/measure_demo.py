"""Run the demonstration on its default patient and nine others, and write what came of it beside what is true.

Writes `results/demo/demo.json`; `make figures` puts it into docs/demo.md. Run it again whenever the demonstration's
bundle or the phantom changes; a test compares both.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from scanside.runtime import machine
from scanside.training import demo
from scanside.training.phantom import VERSION

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "demo" / "demo.json"
SEEDS = (2026, 1, 2, 3, 4, 5, 6, 7, 8, 9)
"""The default one first."""


def measure(seed: int, folder: Path) -> dict[str, Any]:
    """One patient: what is true, and what the main job said."""
    started = time.perf_counter()
    demo.demo(folder, seed)
    seconds = time.perf_counter() - started
    truth = json.loads((folder / "truth.json").read_text())
    result = json.loads((folder / "result" / "result.json").read_text())
    answer = {name: result.get(name) for name in ("status", "reason", "probability", "warnings")}
    return {"seed": seed, "truth": truth, "answer": answer, "seconds": round(seconds, 1)}


def main() -> None:
    """Measure every seed and write the results file."""
    cases = []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            cases.append(measure(seed, Path(folder) / "demo"))
    bundle = json.loads((demo.BUNDLE / "bundle.json").read_text())
    document = {
        "bundle_created": bundle["created"],
        "phantom_version": VERSION,
        "machine": {"processor": machine.processor(), "cores": machine.cores()},
        "versions": machine.versions(),
        "cases": cases,
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
