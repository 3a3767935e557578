"""Golden cases: what nnunetv2 makes of an image, stage by stage and member by member."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from torch import nn

from scanside.export.cases import Candidate
from scanside.export.ensemble_members import ROLE, merged
from scanside.export.model_folder import ModelFolder
from scanside.export.reference import Prediction, Reference
from scanside.runtime.arrays import LabelMask
from scanside.runtime.golden import GoldenCase
from scanside.runtime.images.orient import reorient, restore_orientation
from scanside.runtime.plan import Plan
from scanside.runtime.stages.postprocess import postprocess


@dataclass(frozen=True, eq=False)
class Stage:
    """A stage of the model, ready to be exported and to serve as reference."""

    role: str
    folder: ModelFolder
    plan: Plan
    network: nn.Module = field(repr=False)


def references(
    members: Sequence[Sequence[Stage]], together: Plan | None, candidate: Candidate
) -> dict[str, tuple[GoldenCase, Prediction]]:
    """Role → golden case with nnunetv2's result, of every stage of every member, and of the ensemble."""
    if together is None:
        return _reference_cases(members[0], candidate)
    cases = [_reference_cases(stages, candidate, member=True) for stages in members]
    found = {role: case for of_member in cases for role, case in of_member.items()}
    prediction = merged([found[stages[-1].role][1] for stages in members], together)
    case = _golden_case(candidate.name, candidate, prediction, together)
    if together.reorient:
        source = candidate.volume.geometry
        oriented = reorient(candidate.volume, together.reorient)[0].geometry
        back = [restore_orientation(part, oriented, source) for part in prediction.logits]
        prediction = replace(prediction, logits=np.stack(back))
    return {**found, ROLE: (case, prediction)}


def _reference_cases(
    stages: Sequence[Stage], candidate: Candidate, *, member: bool = False
) -> dict[str, tuple[GoldenCase, Prediction]]:
    """Role → golden case of that stage with nnunetv2's result, postprocessing included.

    A second stage is given the reference's first stage, so that each stage is judged by what it does itself.
    """
    reorientation = stages[-1].plan.reorient
    volume = reorient(candidate.volume, reorientation)[0] if reorientation else candidate.volume
    previous, previous_restored, cases = None, None, {}
    for stage in stages:
        prediction = Reference(stage.folder, stage.network, stage.plan).predict(
            volume.data,
            volume.geometry.spacing,
            previous,
            probabilities=member and stage is stages[-1],
        )
        alone = stage is stages[-1] and not member
        name = candidate.name if alone else f"{candidate.name}-{stage.role}"
        case = _golden_case(name, candidate, prediction, stage.plan, previous_restored)
        cases[stage.role] = (case, prediction)
        previous, previous_restored = prediction.labels, case.labels
    return cases


def _golden_case(
    name: str,
    candidate: Candidate,
    prediction: Prediction,
    plan: Plan,
    previous: LabelMask | None = None,
) -> GoldenCase:
    """The case with the reference's labels, postprocessed, on the grid of the image."""
    labels = postprocess(prediction.labels, plan.postprocessing)
    # A voxel that the postprocessing removed has no margin of its own: which component is largest decides.
    margin = np.where(labels == prediction.labels, prediction.margin, np.float16(0))
    if plan.reorient:
        source = candidate.volume.geometry
        oriented = reorient(candidate.volume, plan.reorient)[0].geometry
        labels, margin = (restore_orientation(a, oriented, source) for a in (labels, margin))
    return GoldenCase(name, candidate.volume, labels, margin, previous)
