"""The result as a person reads it on a terminal. A probability never stands there without its status and interval."""

from collections.abc import Mapping, Sequence

from scanside.runtime.outcome import Probability
from scanside.runtime.study.names import TITLES
from scanside.runtime.study.report import (
    AnsweringModel,
    Feature,
    LesionFound,
    SequenceUse,
    StudyReport,
)

_SHOWN = 5
"""Lesions of a segmenter that are told one by one."""


def summary(report: StudyReport, files: bool) -> list[str]:
    """Lines for stderr.

    Args:
        files: Name the files too: not where stdout does.
    """
    lines = ["", f"Status       {report.status.upper()}"]
    if report.reason:
        lines.append(f"             {report.reason}")
    if report.synthetic:
        lines.append("             SYNTHETIC: this model was trained on a phantom, not on patients.")
    lines += _images(report.sequences)
    lines += _lesions(report.lesions)
    lines += _probability(report.probability, report.status)
    lines += _model(report.model)
    lines += _signature(report.signature)
    lines += [f"Warning      {warning}" for warning in report.warnings]
    lines += [f"{'Files' if not n else '':12} {path}" for n, path in enumerate(report.outputs) if files]
    lines.append(f"Computed     {_computed(report)}")
    lines.append(report.notice)
    return lines


def _images(sequences: Sequence[SequenceUse]) -> list[str]:
    return [
        f"{'Images' if not n else '':12} {TITLES[row.sequence]:12} {row.series}"
        for n, row in enumerate(sequences)
    ]


def _lesions(lesions: Sequence[LesionFound] | None) -> list[str]:
    if lesions is None:
        return []
    if not lesions:
        return ["Lesions      none segmented; this is not a negative finding"]
    shown = [lesion for lesion in lesions if lesion.number <= _SHOWN]
    rows = []
    for n, lesion in enumerate(shown):
        x, y, z = lesion.centroid_mm
        rows.append(
            f"{'Lesions' if not n else '':12} {TITLES.get(lesion.role, lesion.role):12} "
            f"{lesion.volume_ml:7.2f} ml {lesion.longest_diameter_mm:6.1f} mm long, centre "
            f"{_side(x, 'L', 'R')} {_side(y, 'P', 'A')} {_side(z, 'S', 'I')} mm"
        )
    if len(shown) < len(lesions):
        rows.append(f"             and {len(lesions) - len(shown)} smaller ones, which result.json lists")
    return rows


def _side(value: float, positive: str, negative: str) -> str:
    return f"{positive if value >= 0 else negative}{abs(value):.0f}"


def _probability(found: Probability | None, status: str) -> list[str]:
    if found is None:
        return ["Probability  none is given"]
    named = f"named {found.predicted}" if found.predicted else "no class is named"
    return [
        f"Probability  {found.value:.2f} of {found.of}, interval {found.low:.2f} to {found.high:.2f} "
        f"({status}; {named})",
        f"             calibrated: {found.calibrated}",
    ]


def _model(model: AnsweringModel | None) -> list[str]:
    if model is None:
        return []
    beside = "".join(f", {name} {value}" for name, value in model.covariates.items())
    return [f"Model        {model.name}{beside}"]


def _signature(signature: Mapping[str, Feature] | None) -> list[str]:
    if signature is None:
        return []
    lines = ["Signature    feature, value (5th, 50th, 95th percentile of the training cohort)"]
    for name, row in signature.items():
        usual = f"({row.low:.4g}, {row.median:.4g}, {row.high:.4g})"
        value = f"{row.value:.5g}" if row.value is not None else f"absent: {row.reason}"
        lines.append(f"             {name:52} {value:>12} {usual}")
    return lines


def _computed(report: StudyReport) -> str:
    bundle, device = report.bundle, report.device
    if device.obtained is None:
        return f"nothing; bundle {bundle.name} {bundle.version}"
    seconds = sum(stage.ms for stage in report.stages) / 1000
    how = f"approximate: {', '.join(report.approximations)}" if report.approximations else "exact recipe"
    where = device.obtained if device.engine is None else f"{device.obtained} of {device.engine}"
    how += "".join(f", {role} decided with {other}" for role, other in report.decided_with.items())
    return f"in {seconds:.1f} s on {where}, {how}; bundle {bundle.name} {bundle.version}"
