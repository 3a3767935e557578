"""The same bundle per centre, and readers' decisions against pathology."""

from collections.abc import Sequence

import numpy as np

from scanside.training.cohort.table import ROLES, UNKNOWN, Cohort
from scanside.training.evaluation.bootstrap import mean_interval, stream
from scanside.training.evaluation.cases import Case
from scanside.training.evaluation.classification import auc, proportion, sample
from scanside.training.evaluation.frozen.records import Centre, DecisionRow, Reading
from scanside.training.evaluation.frozen.results import Answer
from scanside.training.evaluation.predictions import DEPLOYED, Prediction
from scanside.training.evaluation.record_parts import Estimate

UNDECIDED = "undecided"


def centres(
    cohort: Cohort,
    answers: Sequence[Answer],
    predictions: Sequence[Prediction],
    cases: Sequence[Case],
    positive: str,
    *,
    repeats: int,
    seed: int,
) -> list[Centre]:
    """A row of each centre; of everybody without one under `unknown`."""
    names = sorted({patient.site or UNKNOWN for patient in cohort.patients})
    found = []
    for name in names:
        own = {patient.patient for patient in cohort.patients if (patient.site or UNKNOWN) == name}
        rows = [row for row in predictions if row.model == DEPLOYED and row.patient in own]
        here = sample(rows, DEPLOYED, "test", positive, cohort)
        named = {row.patient: row.predicted for row in rows if row.predicted is not None}
        decided = [
            (truth, named[who] == positive)
            for who, truth in zip(here.patients, here.truth, strict=True)
            if who in named
        ]
        sick, well = (
            [said for truth, said in decided if truth],
            [said for truth, said in decided if not truth],
        )
        outlined = [case for case in cases if case.patient in own and not case.lesion_free]
        distances = [
            answer.distance for answer in answers if answer.case in own and answer.distance is not None
        ]
        found.append(
            Centre(
                site=name,
                patients=len(own),
                classified=len(rows),
                positives=int(here.truth.sum()),
                without_probability=len(rows) - len(here.scored.patients),
                named=len(decided),
                auc=auc(here.scored, repeats, seed, "centre", name),
                sensitivity=proportion(sum(sick), len(sick)),
                specificity=proportion(sum(not said for said in well), len(well)),
                unlike=proportion(sum(distance > 1 for distance in distances), len(distances)),
                dice={
                    role: _dice(outlined, role, name, repeats, seed)
                    for role in ROLES
                    if any(c.role == role for c in outlined)
                },
                missed={
                    role: sum(c.missed for c in outlined if c.role == role)
                    for role in ROLES
                    if any(c.role == role for c in outlined)
                },
            )
        )
    return found


def reading(
    answers: Sequence[Answer], predictions: Sequence[Prediction], cohort: Cohort, positive: str
) -> Reading | None:
    """What readers accepted and rejected, against pathology; None where nobody decided."""
    if not any(answer.decision for answer in answers):
        return None
    truth = {
        patient.patient: patient.diagnosis == positive for patient in cohort.patients if patient.classified
    }
    named = {row.patient: row.predicted for row in predictions if row.model == DEPLOYED}
    rows = []
    for word in sorted({answer.decision or UNDECIDED for answer in answers}):
        own = [answer.case for answer in answers if (answer.decision or UNDECIDED) == word]
        judged = [case for case in own if case in truth and named.get(case) is not None]
        right = sum((named[case] == positive) == truth[case] for case in judged)
        rows.append(
            DecisionRow(
                decision=word,
                patients=len(own),
                with_diagnosis=sum(case in truth for case in own),
                named=len(judged),
                right=right,
                wrong=len(judged) - right,
            )
        )
    wrong = sum(row.wrong for row in rows)
    caught = sum(row.wrong for row in rows if row.decision not in ("accepted", UNDECIDED))
    right = sum(row.right for row in rows)
    lost = sum(row.right for row in rows if row.decision not in ("accepted", UNDECIDED))
    return Reading(
        rows=rows, wrong_not_accepted=proportion(caught, wrong), right_not_accepted=proportion(lost, right)
    )


def _dice(cases: Sequence[Case], role: str, site: str, repeats: int, seed: int) -> Estimate:
    values = np.array([case.dice for case in cases if case.role == role], dtype=np.float64)
    return Estimate.of(
        float(values.mean()), mean_interval(values, repeats, stream(seed, role, "centre", site))
    )
