"""The table of `scanside bench run`."""

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.latency_results import LatencyReport, RunRecord, SingleStream, StudyLatency
from scanside.benchmarks.tables import aligned

_MOST_STAGES = 8
HEAD = ("median", "95 % interval", "p90", "p99", "max")


def latency_table(report: LatencyReport) -> str:
    """Studies, their stages, and under which conditions."""
    lines = [*conditions_lines(report), "", *aligned([("study", "quantity", *HEAD), *_rows(report)]), ""]
    opening = report.opening
    lines.append(
        f"- A new process: libraries {ms(opening.imports_ms)}, bundle {ms(opening.bundle_ms)}, "
        f"networks {ms(opening.networks_ms)}."
    )
    for study in report.studies:
        lines += _words(study)
    return "\n".join(lines)


def conditions_lines(report: RunRecord) -> list[str]:
    """Machine, versions, bundle and device; and whether the figures may be quoted."""
    libraries = ("scanside", "openvino", "onnxruntime", "numpy")
    versions = ", ".join(f"{name} {report.versions[name]}" for name in libraries if name in report.versions)
    machine = report.machine
    where = f"{machine.processor}, {machine.cores} core(s), {machine.memory_gib} GiB"
    approximations = f": {', '.join(report.approximations)}" if report.approximations else ""
    lines = [
        f"{'; '.join([where, *report.gpus])}; {versions}.",
        f"Bundle {report.bundle.name} {report.bundle.version} on {report.device.obtained} {report.device.precision}"
        f"{approximations}. Golden cases: {'passed' if report.selftest.passed else 'NOT PASSED'}.",
    ]
    if not report.headline:
        lines.append("NOT TO BE QUOTED: " + " ".join(report.remarks))
    return lines


def cells(found: Distribution) -> tuple[str, ...]:
    """A distribution as the cells of a row below `HEAD`."""
    interval = "–" if found.low is None else f"{ms(found.low)} … {ms(found.high)}"
    return ms(found.median), interval, ms(found.p90), ms(found.p99), ms(found.max)


def _rows(report: LatencyReport) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for study in report.studies:
        quantities = [
            ("warm, files to written results", study.single.wall_ms),
            ("  in the network", study.single.network_ms),
            ("  everything else", study.single.rest_ms),
        ]
        if study.cold:
            quantities.append(("cold command", study.cold.wall_ms))
        rows += [(study.name, title, *cells(found)) for title, found in quantities]
    return rows


def _words(study: StudyLatency) -> list[str]:
    size = "; ".join(f"{image.sequence} {' × '.join(map(str, image.shape))}" for image in study.images)
    lines = [
        f"- {study.name} ({study.origin}): {size}; {study.status}; writes {', '.join(study.objects) or 'no DICOM'}."
    ]
    lines += _single(study.single)
    if study.cold:
        lines.append(f"  - Cold: peak memory {study.cold.peak_mib:.0f} MiB.")
    if study.offline:
        lines.append(
            f"  - Back to back: {study.offline.studies_per_hour:.0f} studies an hour, "
            f"{study.offline.against_single_stream:.2f} × as many as one after the other; "
            f"peak memory {study.offline.peak_mib:.0f} MiB."
        )
    return lines


def _single(single: SingleStream) -> list[str]:
    stages = sorted(single.stages_ms.items(), key=lambda item: -item[1].median)[:_MOST_STAGES]
    words = ", ".join(f"{name} {ms(found.median)}" for name, found in stages)
    lines = [
        f"  - Everything but the network takes {single.rest_part:.0%} of the time. Longest stages: {words}.",
        f"  - Peak memory {single.peak_mib:.0f} MiB; {len(single.wall_ms.samples)} repetitions.",
    ]
    if single.split_absent:
        lines.append(f"  - Host, H2D, device and D2H are not told apart: {single.split_absent}.")
    energy = [f"{joules:.1f} J ({source})" for source, joules in single.joules_per_study.items()]
    if energy:
        lines.append(f"  - Energy a study: {', '.join(energy)}.")
    sensed = single.sensed
    if sensed.hottest_c is not None:
        lines.append(f"  - Hottest {sensed.hottest_c:.0f} °C.")
    if sensed.absent:
        lines.append(f"  - Not told by this machine: {'; '.join(sensed.absent)}.")
    return lines


def ms(value: float | None) -> str:
    """A time in words."""
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
