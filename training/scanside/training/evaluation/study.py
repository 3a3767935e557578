"""The study's own figures, from patients, to stand beside ours.

Shi YJ, Zhang H, Wang LL et al., BMC Cancer 2025;25:1563, doi 10.1186/s12885-025-15021-y: 165 training and 89 test
patients with resected pancreatic neoplasms, T2WI and DWI. Source of every figure: its abstract. The abstract gives no
interval and does not say how its training figures were obtained; figures of a fit to the training cases stand beside
our resubstitution, which is the same kind of figure.
"""

from collections.abc import Iterable

from scanside.training.cohort.declared import DIAGNOSES, POSITIVE
from scanside.training.cohort.table import Cohort
from scanside.training.evaluation.predictions import SHARED
from scanside.training.evaluation.record_parts import Estimate
from scanside.training.evaluation.records import Classification, Published
from scanside.training.evaluation.records_segmentation import Segmentation
from scanside.training.evaluation.strata import ALL, SIZES

CITATION = "Shi YJ et al., BMC Cancer 2025;25:1563, doi 10.1186/s12885-025-15021-y"
PATIENTS = {"train": 165, "test": 89}
AUC_INTERVAL = (0.70, 0.88)
"""Ours, by Hanley & McNeil for 0.790 on 89 patients and any plausible class split; the abstract gives none."""
DICE = (
    ("t2w", "test", ALL, 0.64),
    ("dwi", "test", ALL, 0.70),
    ("t2w", "test", SIZES[0], 0.51),
    ("dwi", "test", SIZES[0], 0.62),
    ("t2w", "resubstitution", ALL, 0.82),
    ("dwi", "resubstitution", ALL, 0.91),
    ("t2w", "resubstitution", SIZES[0], 0.74),
    ("dwi", "resubstitution", SIZES[0], 0.92),
)
AUC = (("test", 0.790), ("resubstitution", 0.968))
ROLE_TITLES = {"t2w": "T2WI", "dwi": "DWI"}
_MODEL_TITLES = {
    "deployed": "all models of the bundle",
    "combined": "radiomics and clinical data",
    "volume": "volume only",
    "adc_mean": "mean ADC only",
    "clinical": "clinical data only",
    "oracle": "oracle (true parameters)",
}


def is_the_studys(cohort: Cohort) -> bool:
    """Whether a cohort asks the study's question, so that its figures may stand beside ours."""
    return cohort.positive == POSITIVE and set(cohort.declared.diagnoses) <= set(DIAGNOSES)


def model_title(model: str) -> str:
    """A model's name in words."""
    return _MODEL_TITLES.get(model, model.replace("_", " "))


def published(segmentation: Segmentation | None, classification: Classification | None) -> list[Published]:
    """The study's figures with ours where this experiment has them."""
    return [*_dice(segmentation), *_auc(classification)]


def _dice(segmentation: Segmentation | None) -> Iterable[Published]:
    rows = {
        (row.role, row.part, row.size): row
        for row in (segmentation.rows if segmentation else ())
        if row.scanners == ALL
    }
    for role, part, size, value in DICE:
        row = rows.get((role, part, size))
        lesions = "" if size == ALL else f", lesions {size}"
        yield Published(
            quantity=f"Dice {ROLE_TITLES[role]}{lesions}",
            part=part,
            published=value,
            ours=row.dice if row else None,
            patients=row.patients if row else None,
        )


def _auc(classification: Classification | None) -> Iterable[Published]:
    signature = {
        result.part: result.auc
        for result in (classification.models if classification else ())
        if result.model == SHARED
    }
    for part, value in AUC:
        found = signature.get(part)
        yield Published(
            quantity="AUC, PDAC against PNEN and SPN",
            part=part,
            published=value,
            ours=Estimate(value=found.value, interval=found.delong) if found else None,
            patients=found.patients if found else None,
        )
