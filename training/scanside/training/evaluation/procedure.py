"""What is known of the procedure that made the models: canaries, other masks, left-out centres."""

from scanside.training.evaluation import records
from scanside.training.evaluation.power import (
    LEAKS,
    detection_power,
    smallest_leak,
    spread,
    standard_error,
)
from scanside.training.evaluation.record_parts import Estimate
from scanside.training.signature.document import CanaryRow, SignatureDocument


def canaries(signature: SignatureDocument | None) -> list[records.Canary] | None:
    """Each with its power; None where none ran."""
    return None if signature is None else [_canary(canary) for canary in signature.canaries]


def ablation(signature: SignatureDocument | None) -> list[records.MaskAblation]:
    """The selection on automatic masks, which come first, and on others; empty without reader's masks."""
    if signature is None or not signature.ablation:
        return []
    return [
        records.MaskAblation(
            masks=masks,
            auc=_estimate(one.auc, one.low, one.high),
            patients=one.patients,
            division_sd=spread([value for value in one.per_repeat if value is not None]),
        )
        for masks, one in {"automatic": signature.cv, **signature.ablation}.items()
    ]


def left_out(signature: SignatureDocument | None) -> list[records.LeftOut]:
    """Each centre by the models of all others."""
    return [
        records.LeftOut(
            model=one.model,
            site=one.site,
            patients=one.patients,
            auc=_estimate(one.auc, one.low, one.high),
        )
        for one in (() if signature is None else signature.left_out)
    ]


def _estimate(value: float | None, low: float | None, high: float | None) -> Estimate:
    return Estimate(value=value, interval=None if low is None or high is None else (low, high))


def _canary(canary: CanaryRow) -> records.Canary:
    ends, runs = (canary.low, canary.high), len(canary.runs)
    told: dict[str, object] = {}
    if runs > 1 and canary.high > canary.low:
        error = standard_error(ends, runs, canary.level)
        told = {
            "power": {f"{leak:g}": detection_power(error, runs, canary.level, leak) for leak in LEAKS},
            "smallest_leak": smallest_leak(error, runs, canary.level),
        }
    return records.Canary.model_validate(
        {
            "name": canary.name,
            "auc": canary.auc,
            "interval": ends,
            "passed": canary.passed,
            "runs": runs if runs > 1 else None,
            **told,
        }
    )
