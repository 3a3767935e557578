"""The table of `scanside bench run`."""

from scanside.benchmarks.latency_results import LatencyReport, SingleStream, StudyLatency
from scanside.benchmarks.tables import aligned

_MOST_STAGES = 8


def latency_table(report: LatencyReport) -> str:
    """Studies, their stages, and under which conditions."""
    libraries = ("scanside", "openvino", "onnxruntime", "numpy")
    versions = ", ".join(f"{name} {report.versions[name]}" for name in libraries if name in report.versions)
    machine = report.machine
    lines = [
        f"{machine.processor}, {machine.cores} core(s), {machine.memory_gib} GiB; {versions}.",
        f"Bundle {report.bundle.name} {report.bundle.version} on {report.device.obtained} {report.device.precision}"
        f"{': ' + ', '.join(report.approximations) if report.approximations else ''}. "
        f"Golden cases: {'passed' if report.selftest.passed else 'FAILED'}.",
    ]
    if not report.headline:
        lines.append("NOT TO BE QUOTED: " + " ".join(report.remarks))
    lines += [
        "",
        *aligned([("study", "quantity", "median", "95 % interval", "p90", "p99", "max"), *_rows(report)]),
        "",
    ]
    for study in report.studies:
        lines += _words(study)
    return "\n".join(lines)


def _rows(report: LatencyReport) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for study in report.studies:
        quantities = []
        if study.single:
            single = study.single
            quantities += [
                ("warm, files to written results", single.wall_ms),
                ("  in the network", single.network_ms),
                ("  everything else", single.rest_ms),
            ]
        if study.cold:
            quantities.append(("cold command", study.cold.wall_ms))
        for title, found in quantities:
            interval = "–" if found.low is None else f"{_ms(found.low)} … {_ms(found.high)}"
            rows.append(
                (
                    study.name,
                    title,
                    _ms(found.median),
                    interval,
                    _ms(found.p90),
                    _ms(found.p99),
                    _ms(found.max),
                )
            )
    return rows


def _words(study: StudyLatency) -> list[str]:
    size = "; ".join(f"{image.sequence} {' × '.join(map(str, image.shape))}" for image in study.images)
    lines = [
        f"- {study.name} ({study.origin}): {size}; {study.status}; writes {', '.join(study.objects) or 'no DICOM'}."
    ]
    if study.single:
        lines += _single(study.single)
    if study.cold:
        lines.append(f"  - Cold: peak memory {study.cold.peak_mib:.0f} MiB.")
    if study.offline:
        lines.append(
            f"  - Back to back: {study.offline.studies_per_hour:.0f} studies an hour, "
            f"{study.offline.against_single_stream:.2f} × as many as one after the other."
        )
    return lines


def _single(single: SingleStream) -> list[str]:
    stages = sorted(single.stages_ms.items(), key=lambda item: -item[1].median)[:_MOST_STAGES]
    words = ", ".join(f"{name} {_ms(found.median)}" for name, found in stages)
    lines = [
        f"  - Everything but the network takes {single.rest_part:.0%} of the time. Longest stages: {words}.",
        f"  - Peak memory {single.peak_mib:.0f} MiB; {len(single.wall_ms.samples)} repetitions.",
    ]
    energy = [f"{joules:.1f} J ({source})" for source, joules in single.joules_per_study.items()]
    if energy:
        lines.append(f"  - Energy a study: {', '.join(energy)}.")
    sensed = single.sensed
    if sensed.hottest_c is not None:
        lines.append(f"  - Hottest {sensed.hottest_c:.0f} °C.")
    if sensed.absent:
        lines.append(f"  - Not told by this machine: {'; '.join(sensed.absent)}.")
    return lines


def _ms(value: float | None) -> str:
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value / 1000:.2f} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
