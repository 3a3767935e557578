"""Which of a bundle's models answers for a study, decided by where lesions were segmented and what is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scanside.runtime.errors import InputError
from scanside.runtime.radiomics.config import RadiomicsConfig
from scanside.runtime.radiomics.names import sequence_of
from scanside.runtime.study_model import Covariate, StudyModel

Known = float | str
"""What a study says of a covariate: a number, or one of its two values in words."""

_FROM_DICOM = ("age", "sex")


@dataclass(frozen=True, eq=False)
class Answering:
    """A model and when it answers.

    Attributes:
        model: From the bundle.
        roles: Segmenters whose lesions it measures.
        alone: Whether it answers where these have a lesion and no other one has; else others may have one, too.
    """

    model: StudyModel
    roles: tuple[str, ...]
    alone: bool


def answering(model: StudyModel, config: RadiomicsConfig, final: Sequence[str]) -> Answering:
    """When a model answers; one before schema 3 wherever its features can be measured."""
    sequences = {sequence_of(feature) for feature in model.signature.features}
    measured = {config.sequences[name].role for name in sequences}
    roles = model.roles or tuple(role for role in final if role in measured)
    return Answering(model, roles, alone=model.roles is not None)


def choose_model(
    models: Sequence[Answering], found: Sequence[str], known: Mapping[str, Known]
) -> Answering | None:
    """The first model that answers, or None.

    Args:
        found: Segmenters with a lesion.
        known: Covariate → what the study says of it.
    """
    for one in models:
        lesions = set(one.roles) == set(found) if one.alone else set(one.roles) <= set(found)
        if lesions and all(coded(covariate, known) is not None for covariate in one.model.covariates):
            return one
    return None


def refuse_unknown_levels(models: Sequence[Answering], known: Mapping[str, Known]) -> None:
    """See that what a study says of a covariate is something that the models can take.

    Age and sex are free: DICOM knows more sexes than two, and the model without them answers then.

    Raises:
        InputError: If a value is another word than the two, or no number where a number is asked for.
    """
    for covariate in {one.name: one for model in models for one in model.model.covariates}.values():
        value = known.get(covariate.name)
        if covariate.name in _FROM_DICOM or value is None or coded(covariate, known) is not None:
            continue
        need = "a number" if covariate.values is None else " or ".join(covariate.values)
        raise InputError(
            f"The study says {covariate.name} '{value}', and the bundle's models take {need}; correct it, or leave it "
            "out where it is not known."
        )


def coded(covariate: Covariate, known: Mapping[str, Known]) -> float | None:
    """A covariate as the classifier takes it; None where it is unknown or none of its values."""
    value = known.get(covariate.name)
    if covariate.values is None:
        return float(value) if isinstance(value, float | int) else None
    return (
        float(covariate.values.index(value)) if isinstance(value, str) and value in covariate.values else None
    )
