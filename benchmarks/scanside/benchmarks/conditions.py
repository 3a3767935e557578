"""What makes figures fit or unfit to be quoted: other programs, throttling, a median not known, a wrong answer."""

import json
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.processes import SCANSIDE
from scanside.benchmarks.results import SCHEMAS, Measured, Measurements, Quantity, Selftest
from scanside.benchmarks.sensors import Sensed, gpu_names
from scanside.runtime import machine
from scanside.runtime.bundle import Bundle
from scanside.runtime.options import Options

QUIET = 0.05
"""Part of the processor that other programs may take before a run's headline is refused."""
WIDEST = 0.1
"""Half width of the median's interval, as a part of the median, beyond which the headline is refused."""


def noise(name: str, wall: Distribution, other_cpu: Distribution | None) -> list[str]:
    """Why samples are not to be quoted, in sentences; empty where nothing speaks against it.

    Args:
        name: What was measured.
        wall: ms.
        other_cpu: CPU time of everything else, ms, sample by sample with `wall`.
    """
    remarks = []
    if other_cpu is not None:
        pairs = zip(other_cpu.samples, wall.samples, strict=True)
        remarks += crowded(name, statistics.median(other_part(a, b) for a, b in pairs))
    if wall.half_width is None or wall.half_width > WIDEST:
        remarks.append(f"{name}: the median's 95 % interval is wider than ± {WIDEST:.0%}.")
    return remarks


def disturbed(name: str, quantities: Sequence[Quantity], wall: str) -> list[str]:
    """`noise` of a quantity beside which the CPU time of `<quantity>, other programs` was taken."""
    found = {one.name: one for one in quantities}
    return noise(name, found[wall], found[f"{wall}, other programs"])


def crowded(name: str, part: float) -> list[str]:
    """A sentence where other programs took too much of the processor."""
    return [f"{name}: other programs took {part:.0%} of the processor meanwhile."] if part > QUIET else []


def other_part(other_cpu: float, wall: float) -> float:
    """CPU time of other programs as a part of all that the cores had to give."""
    return other_cpu / (wall * machine.cores()) if wall > 0 else 0.0


def throttled(name: str, sensed: Sensed) -> list[str]:
    """A sentence where clocks were held down."""
    return [f"{name}: throttled: {'; '.join(sensed.throttled)}."] if sensed.throttled else []


def changed(name: str, reports: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence where the same study did not come to the same in every run."""
    found = {(report["status"], report["probability"], tuple(report["objects"])) for report in reports}
    return [f"{name}: THE RESULT CHANGES from run to run."] if len(found) > 1 else []


def measurements(
    kind: str,
    facts: Mapping[str, Any],
    measured: Sequence[Measured],
    remarks: Sequence[str],
    *,
    faults: Sequence[str] = (),
    **fields: Any,
) -> Measurements:
    """The results file of a command, with what all of them say.

    Args:
        kind: A key of `SCHEMAS`.
        facts: Of `environment`.
        remarks: Why it is not to be quoted; what is at fault is said there too.
    """
    return Measurements.model_validate(
        {
            **facts, "schema": SCHEMAS[kind], "gpus": gpu_names(), "bundle": None, "device": None, "golden": {},
            "conditions": {}, "headline": not remarks and not faults, "remarks": [*remarks, *faults],
            "faults": list(faults), "measured": list(measured), **fields,
        }
    )  # fmt: skip


def whole_studies(
    kind: str, facts: Mapping[str, Any], bundle: Bundle, options: Options, device: Mapping[str, str],
    measured: Sequence[Measured], remarks: Sequence[str], **more: Any,
) -> Measurements:  # fmt: skip
    """The results file of a command that computed whole studies; the golden cases are replayed on its device.

    Args:
        more: Conditions beside those of the options.
    """
    where = device["obtained"], device["precision"]
    selftest = golden_cases(bundle.path, *where)
    conditions = {
        "synthetic": bundle.manifest.synthetic, "approximations": options.approximations, "threads": options.threads,
        **more,
    }  # fmt: skip
    return measurements(
        kind, facts, measured, remarks, faults=wrong(selftest), bundle=bundle.summary(), device=device,
        golden={" ".join(where): selftest}, conditions=conditions,
    )  # fmt: skip


def golden_cases(bundle: Path, device: str, precision: str) -> Selftest:
    """Replay the golden cases of every segmenter and study, as `scanside selftest` does."""
    choices = ("--device", device, "--precision", precision)
    command = [*SCANSIDE, "selftest", str(bundle.resolve()), *choices, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return Selftest(passed=False, sentences=[words[-1].replace(str(bundle.resolve()), bundle.name)])
    sentences = [
        f"{row['case']}: {row['differing']} of {row['voxels']} voxels differ" for row in document["cases"]
    ] + [
        f"{row['case']}: features differ by at most {row['feature_error']:.1e} of their value, "
        f"the probability by {row['probability_error']:.1e}"
        for row in document["studies"]
    ]
    return Selftest(passed=document["status"] == "ok", sentences=sentences)


def wrong(selftest: Selftest) -> list[str]:
    """A sentence where the golden cases did not pass."""
    if selftest.passed:
        return []
    why = "; ".join(selftest.sentences)
    return [f"The golden cases did not pass on this device ({why}): its figures are worth nothing."]


def as_arguments(options: Options) -> list[str]:
    """The choices that a benchmark takes as arguments of `scanside run`."""
    return [
        "--device", options.device, "--precision", options.precision, "--step-size", str(options.step_size),
        *(["--no-mirroring"] if not options.mirroring else []),
        *(["--folds", ",".join(options.folds)] if options.folds else []),
        *(["--threads", str(options.threads)] if options.threads else []),
        *(["--skip-empty-tiles"] if options.skip_empty_tiles else []),
    ]  # fmt: skip
