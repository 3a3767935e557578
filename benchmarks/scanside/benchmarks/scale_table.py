"""The table of `scanside bench scale`."""

from scanside.benchmarks.latency_table import ms
from scanside.benchmarks.scale_results import Point, ScaleReport
from scanside.benchmarks.tables import aligned


def scale_table(report: ScaleReport) -> str:
    """Every point, and how costs grow."""
    machine = report.machine
    lines = [
        f"{machine.processor}, {machine.cores} core(s), {machine.memory_gib} GiB; {report.device.obtained}.",
        f"Made network: {report.network}. No point may need more than {report.ceiling_mib:.0f} MiB: "
        f"{'none does' if report.within_ceiling else 'SOME DO'}.",
    ]
    if not report.headline:
        lines.append("NOT TO BE QUOTED: " + " ".join(report.remarks))
    rows = [("varied", "image", "classes", "tiles", "studies", "wall", "network", "peak memory", "before")]
    lines += ["", *aligned([*rows, *(_row(point) for point in report.points)]), ""]
    lines += [
        f"- With {one.axis}: time ∝ n^{one.wall:.2f}, outside the network n^{one.rest:.2f}, "
        f"memory above the start n^{one.memory:.2f}."
        for one in report.growth
    ]
    return "\n".join(lines)


def _row(point: Point) -> tuple[str, ...]:
    return (
        f"{point.axis} {point.value}", " × ".join(map(str, point.shape)), str(point.classes), str(point.tiles),
        str(point.studies), ms(point.wall_ms.median), ms(point.network_ms.median), f"{point.peak_mib:.0f} MiB",
        f"{point.baseline_mib:.0f} MiB",
    )  # fmt: skip
