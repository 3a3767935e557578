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
from scanside.benchmarks.appliance_service import TITLE, Service, other_cpu, service
from scanside.benchmarks.child import Child
from scanside.benchmarks.choices import ApplianceOptions
from scanside.benchmarks.distribution import distributions
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.results import Measured, Measurements, measured, quantity
from scanside.benchmarks.sensors import Sensors
from scanside.benchmarks.studies import BenchStudy
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import CaseError

_NEVER = 86_400.0
"""Quiet seconds while only receiving is measured: nothing is computed meanwhile."""
_PEER_SECONDS = 30.0
_STUDY_SECONDS = 3600.0
"""A study that takes longer is an error."""
_WHOLE = "last instance to report"
_GATES = (_WHOLE, "added")
_KINDS = {"SEG": "seg", "SR": "sr", "OT": "sc", "KO": "key", "PR": "gsps"}


@dataclass(frozen=True)
class _Passage:
    """One study's way through: its spans in ms by the name of the quantity, and what it came to."""

    spans_ms: dict[str, float]
    stages_ms: Mapping[str, float]
    device: dict[str, str]
    result: dict[str, Any]


def run_appliance(
    bundle: Path, studies: Sequence[BenchStudy], options: ApplianceOptions, facts: Mapping[str, Any]
) -> Measurements:
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
        ways, device, peak = _ways(folder, bundle, studies, options, progress, remarks)
    sensed = sensors.sensed()
    for one in rates:
        remarks += conditions.disturbed(one.name, one.quantities, "round")
    for one in ways:
        remarks += conditions.disturbed(one.name, one.quantities, "first request to all objects")
    remarks += conditions.throttled("The whole run", sensed)
    service_itself = measured(
        "the service", {}, [quantity(f"{name}, peak memory", "MiB", mib) for name, mib in peak.items()],
        sensed=sensed,
    )  # fmt: skip
    progress.say("Replaying the bundle's golden cases on this device")
    return conditions.whole_studies(
        "appliance", facts, opened, options.run, device, [*rates, *ways, service_itself], remarks,
        quiet_seconds=options.quiet_seconds, commitment=False,
    )  # fmt: skip


def _sender(folder: Path, port: int, number: int = 0) -> Child[Sender]:
    return Child("the sender", folder / f"sender-{number}.log", Sender, port, TITLE)


def _rate(
    folder: Path, bundle: Path, options: ApplianceOptions, senders: int, progress: Progress
) -> Measured:
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
    per_second = [1000 * senders / wall for wall in walls[1:]]
    return measured(
        f"{senders} sender(s)",
        {"senders": senders, "instances of each": options.instances, "megabytes of each": size / 1e6},
        [
            quantity("round", "ms", *walls[1:], gate=True),
            quantity("round, other programs", "CPU ms", *others[1:]),
            quantity("instances", "1/s", *(options.instances * one for one in per_second)),
            quantity("bytes", "MB/s", *(size / 1e6 * one for one in per_second)),
            quantity("acknowledged after", "ms", *(median(one) for one in responses[1:])),
            quantity("acknowledged at last after", "ms", *(max(one) for one in responses[1:])),
        ],
    )


def _ways(
    folder: Path,
    bundle: Path,
    studies: Sequence[BenchStudy],
    options: ApplianceOptions,
    progress: Progress,
    remarks: list[str],
) -> tuple[list[Measured], dict[str, str], dict[str, float]]:
    """Every study's way; the device that computed; the service's memory."""
    place, ways = folder / "whole", list[Measured]()
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
                    whole = found[-1].spans_ms[_WHOLE] / 1000
                    progress.step(f"{study.name}: {whole:.2f} s from last instance to SR")
                facts = {"origin": study.origin, "instances": instances, "megabytes": size / 1e6}
                spans = {name: [one.spans_ms[name] for one in found[1:]] for name in found[0].spans_ms}
                quantities = [
                    quantity(
                        name, "CPU ms" if "other programs" in name else "ms", *samples, gate=name in _GATES
                    )
                    for name, samples in spans.items()
                ]
                stages = distributions([one.stages_ms for one in found[1:]])
                ways.append(measured(study.name, {**facts, **found[0].result}, quantities, stages))
                remarks += conditions.changed(study.name, [one.result for one in found])
            return ways, found[-1].device, running.peak_mib()


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
        _WHOLE: reports[0] - last,
        "until complete": way.queued - last,
        "in the queue": way.claimed - way.queued,
        "computing": way.finished - way.claimed,
        "inference": inference,
        "delivering": reports[0] - way.finished,
        "added": reports[0] - last - quiet - inference,
        "last instance to all objects": all_stored - last,
        "sending": last - first,
        "first request to all objects": all_stored - first,
        "first request to all objects, other programs": other[0],
    }
    objects = sorted(_KINDS.get(one.modality, one.modality) for one in stored)
    return _Passage(
        {name: 1000 * seconds for name, seconds in spans.items()},
        way.stages_ms,
        way.result["device"],
        {"status": status, "probability": probability.get("value"), "objects": objects},
    )
