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
from typing import Any

from scanside.benchmarks import conditions
from scanside.benchmarks.appliance_inputs import renamed_study, write_slices
from scanside.benchmarks.appliance_peer import TITLE as PEER
from scanside.benchmarks.appliance_peer import Peer, Stored
from scanside.benchmarks.appliance_results import APPLIANCE, ApplianceReport, Rate, StudyWay, WholeWay
from scanside.benchmarks.appliance_service import TITLE, Service, Way, service, tree_cpu_s
from scanside.benchmarks.child import Child
from scanside.benchmarks.choices import ApplianceOptions
from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.processes import busy_s
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.sender import Sender
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
    """One study's way through."""

    sent: Mapping[str, Any]
    way: Way
    stored: Sequence[Stored]
    other_cpu_s: float

    @property
    def report_at(self) -> float:
        return next(one.at for one in self.stored if one.modality == "SR")

    @property
    def last_at(self) -> float:
        return max(one.at for one in self.stored)


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
    serving = service(place, bundle, options.run, quiet_seconds=_NEVER, peer_port=1, title=PEER)
    rounds, size = list[dict[str, Any]](), 0
    with serving as receiver, ExitStack() as opened:
        them = [opened.enter_context(_sender(place, receiver.port, number)) for number in range(senders)]
        for number in range(options.repeats + 1):
            inputs = [place / f"slices-{index}" for index in range(senders)]
            for index, one in enumerate(inputs):
                name = f"{senders} {number} {index} {time.time_ns()}"
                size = write_slices(one, options.instances, options.matrix, name)
            rounds.append(_round(them, inputs))
            for one in inputs:
                rmtree(one)
            progress.step(f"{senders} sender(s): {senders * options.instances} in {rounds[-1]['wall']:.2f} s")
    rmtree(place)
    return _summed(rounds[1:], senders, options.instances, size)


def _round(senders: Sequence[Child[Sender]], inputs: Sequence[Path]) -> dict[str, Any]:
    for sender, one in zip(senders, inputs, strict=True):
        sender.ask(Sender.look, one)
    busy, own = busy_s(), tree_cpu_s()
    sending = [sender.tell(Sender.send) for sender in senders]
    said = [sender.wait(one) for sender, one in zip(senders, sending, strict=True)]
    return {
        "wall": max(one["last"] for one in said) - min(one["first"] for one in said),
        "other": max(0.0, busy_s() - busy - (tree_cpu_s() - own)),
        "ms": [ms for one in said for ms in one["ms"]],
    }


def _summed(rounds: Sequence[dict[str, Any]], senders: int, instances: int, size: int) -> Rate:
    wall = Distribution.of([1000 * one["wall"] for one in rounds])
    seconds = wall.median / 1000
    return Rate(
        senders=senders,
        instances=instances,
        megabytes=round(size / 1e6, 3),
        wall_ms=wall,
        other_cpu_ms=Distribution.of([1000 * one["other"] for one in rounds]),
        instances_per_s=round(senders * instances / seconds, 2),
        megabytes_per_s=round(senders * size / 1e6 / seconds, 2),
        response_ms=Distribution.of([Distribution.of(one["ms"]).median for one in rounds]),
        slowest_ms=round(max(max(one["ms"]) for one in rounds), 3),
    )


def _ways(
    folder: Path,
    bundle: Path,
    studies: Sequence[BenchStudy],
    options: ApplianceOptions,
    progress: Progress,
    remarks: list[str],
) -> tuple[list[StudyWay], dict[str, str], dict[str, float]]:
    """Every study's way; the device that computed; the service's memory."""
    place = folder / "whole"
    with Peer(folder / "peer") as peer:
        serving = service(
            place, bundle, options.run, quiet_seconds=options.quiet_seconds, peer_port=peer.port, title=PEER
        )
        with serving as running, _sender(place, running.port) as sender:
            measured = []
            for study in studies:
                passages, instances, size = [], 0, 0
                for number in range(options.repeats + 1):  # the first opens the networks and does not count
                    source = place / "study"
                    uid, instances, size = renamed_study(study.path, source, f"{number} {time.time_ns()}")
                    passages.append(_passage(running, peer, sender, source, uid, options))
                    rmtree(source)
                    progress.step(f"{study.name}: {_span(passages[-1]):.2f} s from last instance to SR")
                measured.append(_study_way(study, passages[1:], options.quiet_seconds, instances, size))
                results = [_result(one) for one in passages]
                remarks += conditions.changed(study.name, results)
            device = passages[-1].way.result["device"]
            return measured, device, running.peak_mib()


def _passage(
    running: Service, peer: Peer, sender: Child[Sender], source: Path, uid: str, options: ApplianceOptions
) -> _Passage:
    sender.ask(Sender.look, source)
    busy, own = busy_s(), tree_cpu_s()
    sent = sender.ask(Sender.send)
    way = running.way(uid, options.quiet_seconds + _STUDY_SECONDS)
    stored = peer.wait(uid, way.objects, _PEER_SECONDS)
    other = max(0.0, busy_s() - busy - (tree_cpu_s() - own))
    if len(stored) != way.objects or not any(one.modality == "SR" for one in stored):
        raise CaseError(
            f"The peer got {len(stored)} of {way.objects} objects of a study whose status is "
            f"'{way.result['status']}', and needs a structured report among them."
        )
    return _Passage(sent, way, stored, other)


def _span(passage: _Passage) -> float:
    return passage.report_at - float(passage.sent["last"])


def _result(passage: _Passage) -> dict[str, Any]:
    return {
        "status": passage.way.result["status"],
        "probability": (passage.way.result["probability"] or {}).get("value"),
        "objects": sorted(_KINDS.get(one.modality, one.modality) for one in passage.stored),
    }


def _study_way(
    study: BenchStudy, passages: Sequence[_Passage], quiet: float, instances: int, size: int
) -> StudyWay:
    return StudyWay.model_validate(
        {
            "name": study.name,
            "origin": study.origin,
            "instances": instances,
            "megabytes": round(size / 1e6, 3),
            "send_ms": Distribution.of([1000 * (one.sent["last"] - one.sent["first"]) for one in passages]),
            **_result(passages[0]),
            "way": _way(passages, quiet),
        }
    )


def _way(passages: Sequence[_Passage], quiet: float) -> WholeWay:
    spans: dict[str, list[float]] = {}
    stages: dict[str, list[float]] = {}
    for one in passages:
        last, way = float(one.sent["last"]), one.way
        whole, inference = one.report_at - last, way.inference_ms / 1000
        for name, seconds in {
            "whole_ms": whole,
            "added_ms": whole - quiet - inference,
            "inference_ms": inference,
            "completeness_ms": way.queued - last,
            "queue_ms": way.claimed - way.queued,
            "compute_ms": way.finished - way.claimed,
            "deliver_ms": one.report_at - way.finished,
            "all_stored_ms": one.last_at - last,
            "other_cpu_ms": one.other_cpu_s,
            "all_ms": one.last_at - float(one.sent["first"]),
        }.items():
            spans.setdefault(name, []).append(1000 * seconds)
        for stage, ms in way.stages_ms.items():
            stages.setdefault(stage, []).append(ms)
    return WholeWay(
        **{name: Distribution.of(samples) for name, samples in spans.items()},
        stages_ms={name: Distribution.of(samples) for name, samples in stages.items()},
    )
