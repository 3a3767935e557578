"""`scanside bench appliance`: how fast a real service receives, and how long a study takes from sender to PACS.

A `scanside serve` with a data folder of its own, senders in processes of their own, and a peer in this process that
stores what comes. Moments are taken from one clock: all of it runs on this machine, over loopback and without TLS.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from statistics import median
from typing import Any

from scanside.benchmarks import conditions
from scanside.benchmarks.appliance_ends import Peer, Sender, renamed_study, write_slices
from scanside.benchmarks.appliance_results import APPLIANCE, ApplianceReport, Rate, StudyWay, WholeWay
from scanside.benchmarks.appliance_service import TITLE, Service, other_cpu, service
from scanside.benchmarks.child import Child
from scanside.benchmarks.choices import ApplianceOptions
from scanside.benchmarks.distribution import Distribution, distributions
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.sensors import Sensors, gpu_names
from scanside.benchmarks.studies import BenchStudy
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import CaseError

_NEVER = 86_400.0
"""Quiet seconds while only receiving is measured: nothing is computed meanwhile."""
_PEER_SECONDS = 30.0
_STUDY_SECONDS = 3600.0
"""A study that takes longer is an error."""
_KINDS = {"SEG": "seg", "SR": "sr", "OT": "sc", "KO": "key", "PR": "gsps"}


@dataclass(frozen=True)
class _Passage:
    """One study's way through: how long it was sent, its spans as `WholeWay` names them, and what it came to."""

    send_ms: float
    spans_ms: dict[str, float]
    stages_ms: Mapping[str, float]
    device: dict[str, str]
    result: dict[str, Any]


def run_appliance(
    bundle: Path, studies: Sequence[BenchStudy], options: ApplianceOptions, facts: Mapping[str, Any]
) -> ApplianceReport:
    """Measure receiving, then every study.

    Args:
        bundle: Its folder.
        facts: Of `environment`, taken before anything else was done.

    Raises:
        BundleError, BackendError: As `scanside serve`.
        CaseError: If the service does not start, refuses an instance or does not finish a study.
    """
    opened, remarks = open_bundle(bundle), list[str]()
    progress = Progress((options.repeats + 1) * (len(options.counts) + len(studies)))
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as temporary, Sensors() as sensors:
        folder = Path(temporary)
        rates = [_rate(folder, bundle, options, number, progress) for number in options.counts]
        measured, device, peak = _ways(folder, bundle, studies, options, progress, remarks)
    progress.say("Replaying the bundle's golden cases on this device")
    selftest = conditions.golden_cases(bundle, device["obtained"], device["precision"])
    sensed = sensors.sensed()
    for rate in rates:
        remarks += conditions.noise(f"{rate.senders} sender(s)", rate.wall_ms, rate.other_cpu_ms)
    for study in measured:
        remarks += conditions.noise(study.name, study.way.all_ms, study.way.other_cpu_ms)
    remarks += [*conditions.throttled("The whole run", sensed), *conditions.wrong(selftest)]
    return ApplianceReport.model_validate(
        {
            **facts,
            "schema": APPLIANCE,
            "gpus": gpu_names(),
            "bundle": opened.summary(),
            "synthetic": opened.manifest.synthetic,
            "device": device,
            "approximations": options.run.approximations,
            "threads": options.run.threads,
            "selftest": selftest,
            "headline": not remarks,
            "remarks": remarks,
            "quiet_seconds": options.quiet_seconds,
            "commitment": False,
            "rates": rates,
            "studies": measured,
            "peak_mib": peak,
            "sensed": sensed,
        }
    )


def _sender(folder: Path, port: int, number: int = 0) -> Child[Sender]:
    return Child("the sender", folder / f"sender-{number}.log", Sender, port, TITLE)


def _rate(folder: Path, bundle: Path, options: ApplianceOptions, senders: int, progress: Progress) -> Rate:
    """Rounds of slices from some senders at once to a fresh appliance; the first round does not count."""
    place = folder / f"rate-{senders}"
    # Nothing is computed, so nothing is sent to the peer.
    serving = service(place, bundle, options.run, quiet_seconds=_NEVER, peer_port=1)
    walls, others, responses, size = list[float](), list[float](), list[list[float]](), 0
    with serving as receiver, ExitStack() as opened:
        them = [opened.enter_context(_sender(place, receiver.port, number)) for number in range(senders)]
        for number in range(options.repeats + 1):
            inputs = [place / f"slices-{index}" for index in range(senders)]
            for index, one in enumerate(inputs):
                name = f"{senders} {number} {index} {time.time_ns()}"
                size = write_slices(one, options.instances, options.matrix, name)
            for sender, one in zip(them, inputs, strict=True):
                sender.ask(Sender.look, one)
            with other_cpu() as other:
                sending = [sender.tell(Sender.send) for sender in them]
                said = [sender.wait(one) for sender, one in zip(them, sending, strict=True)]
            walls.append(1000 * (max(one["last"] for one in said) - min(one["first"] for one in said)))
            others.append(1000 * other[0])
            responses.append([ms for one in said for ms in one["ms"]])
            for one in inputs:
                rmtree(one)
            progress.step(f"{senders} sender(s): {senders * options.instances} in {walls[-1] / 1000:.2f} s")
    rmtree(place)
    wall = Distribution.of(walls[1:])
    per_second = 1000 * senders / wall.median
    return Rate(
        senders=senders, instances=options.instances, megabytes=round(size / 1e6, 6), wall_ms=wall,
        other_cpu_ms=Distribution.of(others[1:]), instances_per_s=round(per_second * options.instances, 2),
        megabytes_per_s=round(per_second * size / 1e6, 2),
        response_ms=Distribution.of([median(one) for one in responses[1:]]),
        slowest_ms=round(max(map(max, responses[1:])), 3),
    )  # fmt: skip


def _ways(
    folder: Path,
    bundle: Path,
    studies: Sequence[BenchStudy],
    options: ApplianceOptions,
    progress: Progress,
    remarks: list[str],
) -> tuple[list[StudyWay], dict[str, str], dict[str, float]]:
    """Every study's way; the device that computed; the service's memory."""
    place, measured = folder / "whole", list[StudyWay]()
    with Peer.listening(folder / "peer") as peer:
        serving = service(
            place, bundle, options.run, quiet_seconds=options.quiet_seconds, peer_port=peer.port
        )
        with serving as running, _sender(place, running.port) as sender:
            for study in studies:
                found, instances, size = list[_Passage](), 0, 0
                for number in range(options.repeats + 1):  # the first opens the networks and does not count
                    source = place / "study"
                    uid, instances, size = renamed_study(study.path, source, f"{number} {time.time_ns()}")
                    found.append(_passage(running, peer, sender, source, uid, options.quiet_seconds))
                    rmtree(source)
                    whole = found[-1].spans_ms["whole_ms"] / 1000
                    progress.step(f"{study.name}: {whole:.2f} s from last instance to SR")
                counted = found[1:]
                way: dict[str, Any] = dict(distributions([one.spans_ms for one in counted]))
                way["stages_ms"] = distributions([one.stages_ms for one in counted])
                measured.append(
                    StudyWay(
                        name=study.name, origin=study.origin, instances=instances, megabytes=round(size / 1e6, 6),
                        send_ms=Distribution.of([one.send_ms for one in counted]), **counted[0].result,
                        way=WholeWay.model_validate(way),
                    )
                )  # fmt: skip
                remarks += conditions.changed(study.name, [one.result for one in found])
            return measured, found[-1].device, running.peak_mib()


def _passage(
    running: Service, peer: Peer, sender: Child[Sender], source: Path, uid: str, quiet: float
) -> _Passage:
    sender.ask(Sender.look, source)
    with other_cpu() as other:
        sent = sender.ask(Sender.send)
        way = running.way(uid, quiet + _STUDY_SECONDS)
        stored = peer.wait(uid, way.objects, _PEER_SECONDS)
    status, probability = way.result["status"], way.result["probability"] or {}
    reports = [one.at for one in stored if one.modality == "SR"]
    if len(stored) != way.objects or not reports:
        raise CaseError(
            f"The peer got {len(stored)} of {way.objects} objects of a study whose status is '{status}', and needs a "
            "structured report among them."
        )
    first, last, inference = float(sent["first"]), float(sent["last"]), way.inference_ms / 1000
    all_stored = max(one.at for one in stored)
    spans = {
        "whole_ms": reports[0] - last,
        "added_ms": reports[0] - last - quiet - inference,
        "inference_ms": inference,
        "completeness_ms": way.queued - last,
        "queue_ms": way.claimed - way.queued,
        "compute_ms": way.finished - way.claimed,
        "deliver_ms": reports[0] - way.finished,
        "all_stored_ms": all_stored - last,
        "other_cpu_ms": other[0],
        "all_ms": all_stored - first,
    }
    objects = sorted(_KINDS.get(one.modality, one.modality) for one in stored)
    return _Passage(
        1000 * (last - first),
        {name: 1000 * seconds for name, seconds in spans.items()},
        way.stages_ms,
        way.result["device"],
        {"status": status, "probability": probability.get("value"), "objects": objects},
    )
