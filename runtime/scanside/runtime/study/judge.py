"""Lesions, the model that answers and what it says → status, reason and remarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scanside.runtime.classify import Classification
from scanside.runtime.outcome import Status
from scanside.runtime.radiomics.extract import FeatureValue
from scanside.runtime.remark import Remark, reworded
from scanside.runtime.study.answer import Answering, Known, choose_model, coded
from scanside.runtime.study.lesion_agreement import NEAR_MM, Regions
from scanside.runtime.study.records import RoleResult

LOOK = "look at the images and the overlays"


@dataclass(frozen=True)
class Verdict:
    """What is said of a study.

    Attributes:
        reason: Why the status is not ok; None when it is.
    """

    status: Status
    reason: str | None
    classification: Classification | None = None


def answer_of(
    models: Sequence[Answering],
    roles: Mapping[str, RoleResult],
    regions: Regions,
    known: Mapping[str, Known],
) -> Answering | None:
    """The model that answers; None where none may."""
    found = [role for role, result in roles.items() if result.lesions]
    return None if regions.apart or not found else choose_model(models, found, known)


def without_model(
    models: Sequence[Answering],
    roles: Mapping[str, RoleResult],
    regions: Regions,
    near_mm: float | None,
) -> Verdict:
    """Why no model answers."""
    empty = [role for role, result in roles.items() if not result.lesions]
    found = [role for role in roles if role not in empty]
    if not found:
        reason = f"No lesion was segmented on {_and(empty)}. This is not a negative finding: {LOOK}."
        return Verdict("no lesion segmented", Remark(reason, "no-lesion"))
    if regions.apart:
        reason = (
            f"The lesions on {_and(found)} lie {regions.gap_mm:.0f} mm apart (up to {near_mm:g} mm are accepted), so "
            f"that they do not show one lesion and no probability is given; {LOOK}."
        )
        return Verdict("indeterminate", Remark(reason, "lesions-apart"))
    lacking = [role for role in models[0].roles if role in empty]
    if lacking:
        reason = (
            f"A lesion was segmented on {_and(found)} but none on {_and(lacking)}, so that the signature cannot be "
            f"computed and no probability is given; {LOOK}."
        )
        return Verdict("indeterminate", Remark(reason, "lesion-on-one-sequence"))
    needed = sorted({c.name for one in models if set(one.roles) == set(found) for c in one.model.covariates})
    reason = f"No model of the bundle answers without {_and(needed)}, which the study does not say; add it."
    return Verdict("indeterminate", Remark(reason, "covariates-unknown"))


def explained(made: Classification, features: Mapping[str, FeatureValue]) -> str | None:
    """The classifier's reason, the reason of the first absent feature, and what to do."""
    if made.reason is None:
        return None
    absent = [value.reason for value in features.values() if value.value is None]
    why = f" ({absent[0]})" if absent else ""
    advice = (
        "Judge the lesion from the images."
        if made.status == "indeterminate"
        else "Check sequences and masks."
    )
    return reworded(made.reason, lambda words: f"{words.rstrip('.')}{why}. {advice}")


def remarks_on(roles: Mapping[str, RoleResult], regions: Regions, near_mm: float | None) -> list[str]:
    """What the user should know about the masks.

    Args:
        near_mm: None for a bundle that measures the largest lesions wherever they lie: then it is told.
    """
    remarks: list[str] = []
    for role, result in roles.items():
        if not result.lesions:
            remarks.append(Remark(f"No lesion was segmented on {role}.", "no-lesion"))
        if len(result.lesions) > 1:
            several = f"{len(result.lesions)} lesions were segmented on {role}; {_which(result, regions)} is measured."
            remarks.append(Remark(several, "several-lesions"))
        if result.main[[0, -1]].any():
            cut = f"The lesion on {role} reaches the first or last slice; it may be cut off."
            remarks.append(Remark(cut, "lesion-at-edge"))
    if near_mm is None and regions.gap_mm is not None and regions.gap_mm > NEAR_MM:
        far = (
            f"The lesions on {_and(list(regions.measured))} lie {regions.gap_mm:.0f} mm apart: they may be two "
            "lesions, and the signature mixes both; look at the overlays."
        )
        remarks.append(Remark(far, "lesions-apart"))
    return remarks


def remarks_on_covariates(
    models: Sequence[Answering], answers: Answering | None, known: Mapping[str, Known]
) -> list[str]:
    """What was taken beside the images, and what would have been if it were known."""
    if answers is None:
        return []
    remarks: list[str] = []
    taken = answers.model.covariates
    asked = dict.fromkeys(
        c.name for one in models if set(one.roles) == set(answers.roles) for c in one.model.covariates
    )
    lacking = [name for name in asked if name not in {covariate.name for covariate in taken}]
    if lacking:
        words = f"The model without {_and(lacking)} answered, since the study does not say all that the others take."
        remarks.append(Remark(words, "without-covariates"))
    for covariate in taken:
        value = coded(covariate, known)
        if covariate.values is None and value is not None and not covariate.low <= value <= covariate.high:
            span = f"{covariate.low:g} to {covariate.high:g} {covariate.unit or ''}".strip()
            words = f"The patient's {covariate.name} lies outside the training cohort's {span}."
            remarks.append(Remark(words, "covariate-range"))
    return remarks


def _which(result: RoleResult, regions: Regions) -> str:
    others = [role for role in regions.measured if role != result.role]
    if result.measured == 1 or not others:
        return "the largest one"
    return f"number {result.measured} by size, which lies where that on {_and(others)} does,"


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)
