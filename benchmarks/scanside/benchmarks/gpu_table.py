"""The table of `scanside bench gpu`."""

from scanside.benchmarks.gpu_results import GpuReport, WholeCase
from scanside.benchmarks.tables import aligned, conditions


def gpu_table(report: GpuReport) -> str:
    """Markdown that is also readable on a terminal."""
    card = report.card
    told = [f"driver {card.driver}, CUDA {card.cuda}, {card.memory_gib} GiB"] if card.driver else []
    head = ["**Dry run on a CPU: none of this says anything about a GPU.**", ""] if report.dry_run else []
    products = "; ".join(
        f"{one.what}{f' {one.precision}' if one.precision else ''} {one.value:.3g} {one.unit}"
        for one in report.ceilings
    )
    mirroring = "on" if report.mirroring else "off"
    networks = [("network alone", "tiles at once", "ms a tile", "of the peak", "Δ logits")]
    networks += [
        (
            one.engine,
            str(one.batch),
            f"{one.ms.median:.3g}",
            "" if one.fraction is None else f"{one.fraction:.1%}",
            f"{one.difference:.1g}",
        )
        for one in report.networks
    ]
    cases = [("whole case", "seconds", "× nnunetv2", "device MiB", "differing", "lowest Dice")]
    cases += [_case(one) for one in report.cases]
    return "\n".join(
        [
            *head,
            f"{card.name}: {', '.join([*told, products])}.",
            f"{report.bundle.name}, {report.tile_gflop:.4g} GFLOP for a tile of {_size(report.tile)}; image of "
            f"{_size(report.image)}, mirroring {mirroring}, folds {', '.join(report.folds)}.",
            *conditions(report),
            "",
            *aligned(networks),
            "",
            *aligned(cases),
            "",
            *_stages(report.cases),
            *_golden(report),
            *(f"- Not measured: {words}." for words in report.failed),
        ]
    ).rstrip()


def _size(shape: list[int]) -> str:
    return " × ".join(map(str, shape[1:]))


def _case(one: WholeCase) -> tuple[str, str, str, str, str, str]:
    scores = [score for score in one.dice.values() if score is not None]
    return (
        one.peer,
        f"{one.seconds.median:.3g}",
        "" if one.times is None else f"{one.times:.2f}",
        "" if one.device_memory_mib is None else f"{one.device_memory_mib:.0f}",
        str(one.differing),
        f"{min(scores):.4f}" if scores else "",
    )


def _stages(cases: list[WholeCase]) -> list[str]:
    return [
        f"- {one.peer}, ms: {', '.join(f'{name} {ms:.1f}' for name, ms in one.stages_ms.items())}."
        for one in cases
        if one.stages_ms
    ]


def _golden(report: GpuReport) -> list[str]:
    lines = []
    for pair in dict.fromkeys((one.device, one.precision) for one in report.golden):
        of = [one for one in report.golden if (one.device, one.precision) == pair]
        bad = [f"{one.case}: {one.problem}" for one in of if one.problem]
        words = f"**fails** ({'; '.join(bad)})" if bad else f"passes {len(of)} golden case(s)"
        lines.append(f"- {':'.join(pair)} {words}.")
    return lines
