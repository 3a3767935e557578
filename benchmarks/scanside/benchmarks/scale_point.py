"""One image and network in a process of its own, so that the kernel's record of its memory is that of this size.

`python -m scanside.benchmarks.scale_point SETUP.json`, driven by `scale.py`.
"""

import gc
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from scanside.benchmarks.child import answering, told
from scanside.benchmarks.made import make_image
from scanside.benchmarks.processes import MIB, busy_s, high_water_mark, reset_high_water_mark
from scanside.benchmarks.warm import Stopwatch, timed_sessions
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import ScansideError
from scanside.runtime.options import Options
from scanside.runtime.pipeline import Obtained, Segmenter


def main(setup: Path) -> None:
    """Answer once: what the point took."""
    answer, _ = answering()
    asked = json.loads(setup.read_text())
    try:
        answer(_measure(asked))
    except ScansideError as error:
        answer(told(error))


def _measure(asked: dict[str, Any]) -> dict[str, Any]:
    watch = Stopwatch()
    options = Options(
        device=asked["device"], step_size=asked["step_size"], mirroring=False, threads=asked["threads"]
    )
    obtained = Obtained(asked["device"], asked["device"], "asked for", "fp32")
    with timed_sessions(watch):
        segmenter = Segmenter(open_bundle(Path(asked["bundle"])), options, obtained)
    z, y, x = asked["shape"]
    volume = make_image((z, y, x))
    gc.collect()
    reset_high_water_mark()
    baseline = high_water_mark()
    walls, networks, stages = list[float](), list[float](), dict[str, list[float]]()
    busy, cpu, begin = busy_s(), time.process_time(), time.perf_counter()
    for _ in range(asked["repeats"]):
        watch.restart()
        start = time.perf_counter()
        for _ in range(asked["studies"]):
            found = segmenter.segment(volume)
            for stage, ms in found.stages.items():
                stages.setdefault(stage, []).append(ms)
            del found
        walls.append(1000 * (time.perf_counter() - start))
        networks.append(1000 * watch.seconds)
    wall, own, total = time.perf_counter() - begin, time.process_time() - cpu, busy_s() - busy
    return {
        "wall_ms": walls,
        "network_ms": networks,
        "stages_ms": {stage: round(statistics.median(samples), 3) for stage, samples in stages.items()},
        "baseline_mib": round(baseline / MIB, 1),
        "peak_mib": round(high_water_mark() / MIB, 1),
        "other_cpu_s": max(0.0, total - own),
        "seconds": wall,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
