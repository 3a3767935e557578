"""What is known of the procedure that made the models: canaries, other masks, left-out centres."""

from scanside.training.evaluation import records
from scanside.training.evaluation.power import (
    LEAKS,
    detection_power,
    smallest_leak,
    spread,
    standard_error,
)
from scanside.training.evaluation.predictions import Canary, ClassifierFacts
from scanside.training.evaluation.record_parts import Estimate


def canaries(facts: ClassifierFacts) -> list[records.Canary] | None:
    """Each with its power; None where none ran."""
    return None if facts.canaries is None else [_canary(canary) for canary in facts.canaries]


def ablation(facts: ClassifierFacts) -> list[records.MaskAblation]:
    """The selection on automatic masks and on others."""
    return [
        records.MaskAblation(
            masks=one.masks,
            auc=Estimate.of(one.auc, (one.low, one.high)),
            patients=one.patients,
            division_sd=spread(one.per_repeat),
        )
        for one in facts.ablation
    ]


def left_out(facts: ClassifierFacts) -> list[records.LeftOut]:
    """Each centre by the models of all others."""
    return [
        records.LeftOut(
            model=one.model, site=one.site, patients=one.patients, auc=Estimate.of(one.auc, one.interval)
        )
        for one in facts.left_out
    ]


def _canary(canary: Canary) -> records.Canary:
    ends = (canary.low, canary.high)
    told: dict[str, object] = {}
    if canary.runs is not None and canary.high > canary.low:
        error = standard_error(ends, canary.runs, canary.level)
        told = {
            "power": {f"{leak:g}": detection_power(error, canary.runs, canary.level, leak) for leak in LEAKS},
            "smallest_leak": smallest_leak(error, canary.runs, canary.level),
        }
    return records.Canary.model_validate(
        {
            "name": canary.name,
            "auc": canary.auc,
            "interval": ends,
            "passed": canary.passed,
            "runs": canary.runs,
            **told,
        }
    )
