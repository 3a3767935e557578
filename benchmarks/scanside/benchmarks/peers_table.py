"""The results of `scanside bench peers` as tables."""

from collections.abc import Sequence

from scanside.benchmarks.distribution import Ratio
from scanside.benchmarks.kinds import REFERENCE
from scanside.benchmarks.peers_results import Agreement, Metric, PeersReport
from scanside.benchmarks.tables import aligned, conditions, number, score

_ROWS = {
    ("together", "wall"): "one command for all cases",
    ("together", "peak_memory"): "one command, peak memory",
    ("cold", "wall"): "cold command",
    ("cold", "peak_memory"): "cold, peak memory",
    ("warm", "wall"): "warm, array to labels",
    ("warm", "network"): "warm, in the network",
    ("warm", "outside"): "warm, outside the network",
    ("warm", "peak_memory"): "warm, peak memory",
}
"""What the table shows; the results file has more."""
_SINGLY = 4
"""Cases whose labels are shown one by one; of more, all together."""


def peers_table(report: PeersReport) -> str:
    """The table of `scanside bench peers`, with its conditions above and the labels below."""
    rows: list[tuple[str, ...]] = [("case", "quantity", "peer", "median", "nnunetv2 / peer")]
    if report.together:
        rows += _rows(f"{report.together.cases} cases", report.together.metrics)
    for case in report.cases:
        rows += _rows(case.name, case.metrics)
    approximations = [
        f"{name} is an approximation" for name, peer in report.peers.items() if peer.approximation
    ]
    how = (
        f"{report.repeats} alternating round(s), medians; mirroring {'on' if report.mirroring else 'off'}; "
        f"folds {', '.join(report.folds)}. Ratios round by round: median, and "
        + ("its 95 % interval" if report.repeats >= 6 else "smallest … largest")
        + "; above 1 the peer needs less."
    )
    obtained = [
        f"{name} ran on {peer.device.obtained}."
        for name, peer in report.peers.items()
        if peer.device and peer.device.obtained != peer.device.asked
    ]
    words = [f"{'; '.join(approximations)}." if approximations else "", *obtained]
    lines = [how, *(word for word in words if word), *conditions(report)]
    lines += [f"{name} is not measured: {why}" for name, why in report.absent.items()]
    for end in report.ended:
        lines.append(
            f"{end.peer} was ended by memory ({end.mode}, {end.case or 'all cases'}): after {end.after_s:.0f} s it "
            f"held {end.held_mib / 1024:.1f} GiB, more than the ceiling of {report.memory_ceiling_mib / 1024:.1f} GiB."
        )
    lines += ["", *aligned(rows), "", *_labels(report), ""]
    if len(report.cases) <= _SINGLY:
        for case in report.cases:
            size = " × ".join(map(str, case.shape))
            lines.append(f"- {case.name}: {size} voxels, {case.tiles} tile(s).")
    unsteady = sorted({name for case in report.cases for name, same in case.repeatable.items() if not same})
    lines += [f"- {name} gave different masks in different runs." for name in unsteady]
    return "\n".join(lines).rstrip()


def _rows(case: str, metrics: Sequence[Metric]) -> list[tuple[str, ...]]:
    shown = [(metric, _ROWS.get((metric.mode, metric.name))) for metric in metrics]
    return [
        (case, title, peer, number(value, metric.unit), _ratio(metric.ratio.get(peer)))
        for metric, title in shown
        if title
        for peer, value in metric.median.items()
    ]


def _ratio(ratio: Ratio | None) -> str:
    if ratio is None:
        return ""
    low, high = (ratio.min, ratio.max) if ratio.low is None or ratio.high is None else (ratio.low, ratio.high)
    return f"{ratio.median:.2f} × ({low:.2f} … {high:.2f})"


def _labels(report: PeersReport) -> list[str]:
    """Masks against nnunetv2's, a row a case, mode and peer; many cases in one row."""
    head = ("case", "mode", "peer", "voxels that differ", "Dice", "judged by its policy")
    groups: dict[tuple[str, str, str], list[Agreement]] = {}
    together = len(report.cases) > _SINGLY
    for case in report.cases:
        for mode, peers in case.labels.items():
            for peer, found in peers.items():
                name = f"{len(report.cases)} cases" if together else case.name
                groups.setdefault((name, mode, peer), []).append(found)
    if not groups:
        return [f"Labels are not compared: {REFERENCE} gave none, or nothing else did."]
    return [
        f"Labels against {REFERENCE}'s:",
        "",
        *aligned([head, *((*key, *_agreement(found)) for key, found in groups.items())]),
    ]


def _agreement(found: Sequence[Agreement]) -> tuple[str, str, str]:
    differing, voxels = sum(one.differing for one in found), sum(one.voxels for one in found)
    values = {name: [s for one in found if (s := one.dice[name]) is not None] for name in found[0].dice}
    scores = {name: min(own, default=None) for name, own in values.items()}
    if len(scores) > 3:
        known = [value for value in scores.values() if value is not None]
        words = f"lowest of {len(known)} labels {score(min(known, default=None))}"
    else:
        words = ", ".join(f"{name} {score(value)}" for name, value in scores.items())
    problems = [one.problem for one in found if one.problem]
    judged = "accepted" if not problems else f"{len(problems)} of {len(found)} rejected: {problems[0]}"
    if len(found) == 1 and problems:
        judged = f"rejected: {problems[0]}"
    lead = "lowest: " if len(found) > 1 else ""
    return f"{differing} of {voxels}", lead + words, judged
