"""The table of `scanside bench appliance`."""

from scanside.benchmarks.appliance_results import ApplianceReport, Rate, StudyWay
from scanside.benchmarks.latency_table import HEAD, cells, conditions_lines, ms
from scanside.benchmarks.tables import aligned

_PARTS = (
    ("last instance → report at the peer", "whole_ms"),
    ("  until the study is complete", "completeness_ms"),
    ("  in the queue", "queue_ms"),
    ("  computing", "compute_ms"),
    ("    of it inference", "inference_ms"),
    ("  delivering", "deliver_ms"),
    ("added: without quiet time and inference", "added_ms"),
    ("last instance → all objects at the peer", "all_stored_ms"),
)
_RATES = ("senders", "instances/s", "MB/s", "a round", "95 % interval", "acknowledged after", "at most")


def appliance_table(report: ApplianceReport) -> str:
    """Rates and ways, and under which conditions."""
    lines = [
        *conditions_lines(report),
        f"A study is complete after {report.quiet_seconds:g} quiet second(s), as configured; loopback, no TLS, no "
        "storage commitment.",
    ]
    if report.rates:
        lines += ["", *aligned([_RATES, *(_rate(rate) for rate in report.rates)])]
    rows: list[tuple[str, ...]] = [("study", "quantity", *HEAD)]
    for study in report.studies:
        rows += [(study.name, title, *cells(getattr(study.way, name))) for title, name in _PARTS]
    lines += ["", *aligned(rows), ""]
    for study in report.studies:
        lines += _words(study)
    peak = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in report.peak_mib.items())
    return "\n".join([*lines, f"- Peak memory: {peak}."])


def _rate(rate: Rate) -> tuple[str, ...]:
    wall = rate.wall_ms
    interval = "–" if wall.low is None else f"{ms(wall.low)} … {ms(wall.high)}"
    return (
        str(rate.senders), f"{rate.instances_per_s:.0f}", f"{rate.megabytes_per_s:.1f}", ms(wall.median), interval,
        ms(rate.response_ms.median), ms(rate.slowest_ms),
    )  # fmt: skip


def _words(study: StudyWay) -> list[str]:
    stages = sorted(study.way.stages_ms.items(), key=lambda item: -item[1].median)
    longest = [f"{name} {ms(found.median)}" for name, found in stages if name not in ("total", "queued")][:8]
    return [
        f"- {study.name} ({study.origin}): {study.instances} instances, {study.megabytes:.1f} MB, sent in "
        f"{ms(study.send_ms.median)}; {study.status}; the peer got {', '.join(study.objects)}.",
        f"  - Longest stages: {', '.join(longest)}.",
    ]
