"""A computed study → its report."""

from collections.abc import Sequence
from pathlib import Path

from scanside.runtime import machine
from scanside.runtime.bundle import Bundle
from scanside.runtime.images.orient import orientation
from scanside.runtime.options import Options
from scanside.runtime.outcome import Probability
from scanside.runtime.remark import code_of
from scanside.runtime.report import RESEARCH, DeviceUse, bundle_name, stage_times
from scanside.runtime.study.names import spoken
from scanside.runtime.study.records import SequenceImage, StudyResult
from scanside.runtime.study.report import (
    AnsweringModel,
    ConsideredSeries,
    Feature,
    LesionFound,
    SequenceUse,
    StudyReport,
)
from scanside.runtime.study_model import StudyModel

NOTHING_COMPUTED = "nothing was computed"


def run_report(
    result: StudyResult, bundle: Bundle, options: Options, inputs: Sequence[Path], outputs: Sequence[Path]
) -> StudyReport:
    """The document of one study. What is absent is null, never 0. `write_result` fills in the DICOM objects.

    Args:
        inputs: What the user gave, for a study that was refused before its images were known.
        outputs: The files that lie beside the document.
    """
    images = list(result.study.images.values()) if result.study else []
    device = result.device
    obtained = device.obtained if device else None
    options = options.settled(device.precision if device else "fp32")
    computed = bool(result.roles)
    return StudyReport(
        status=result.status,
        reason=None if result.reason is None else str(spoken(result.reason)),
        reason_code=None if result.reason is None else code_of(result.reason),
        notice=RESEARCH,
        synthetic=bundle.manifest.synthetic,
        bundle=bundle_name(bundle),
        device=DeviceUse(
            asked=options.device if options.engine is None else options.engine.url,
            obtained=obtained,
            why=device.why if device else NOTHING_COMPUTED,
            precision=options.precision,
            engine=device.engine if device else None,
        ),
        approximations=options.approximations,
        inputs=tuple(dict.fromkeys(str(image.path) for image in images)) or tuple(map(str, inputs)),
        sequences=tuple(map(_sequence, images)),
        considered=tuple(
            ConsideredSeries(
                series=row.series, images=row.images, chosen=row.chosen, reason=spoken(row.reason)
            )
            for row in (result.study.considered if result.study else ())
        ),
        outputs=tuple(map(str, outputs)),
        objects=(),
        stages=stage_times(result.stages),
        labels=_labels(result) if computed else None,
        decided_with={one.role: one.other for one in bundle.manifest.fusions} if computed else {},
        lesions=_lesions(result) if computed else None,
        signature=_signature(result, bundle),
        model=_model(result, bundle),
        probability=_probability(result),
        distance=result.classification.distance if result.classification else None,
        warnings=tuple(str(spoken(warning)) for warning in result.warnings),
        warning_codes=tuple(map(code_of, result.warnings)),
        versions=machine.versions(machine.OF_STUDIES),
    )


def _sequence(image: SequenceImage) -> SequenceUse:
    geometry = image.volume.geometry
    stored = orientation(geometry)
    z, y, x = (round(mm, 6) for mm in geometry.spacing)
    return SequenceUse(
        sequence=image.name,
        path=str(image.path),
        series=image.series,
        how=image.how,
        b_value=image.b,
        series_instance_uid=(image.source.series_instance_uid or None) if image.source else None,
        shape=geometry.shape,
        spacing_mm=(z, y, x),
        orientation=stored,
        computed_as=image.computed_as or stored,
    )


def _labels(result: StudyResult) -> dict[str, float]:
    return {f"{role} {name}": ml for role, found in result.roles.items() for name, ml in found.labels.items()}


def _lesions(result: StudyResult) -> tuple[LesionFound, ...]:
    found = []
    for role in result.roles.values():
        for lesion in role.lesions:
            x, y, z = (round(mm, 4) for mm in lesion.centroid_mm)
            found.append(
                LesionFound(
                    role=lesion.role,
                    number=lesion.number,
                    voxels=lesion.voxels,
                    volume_ml=round(lesion.volume_ml, 6),
                    longest_diameter_mm=round(lesion.longest_diameter_mm, 4),
                    centroid_mm=(x, y, z),
                    measured=lesion.number == role.measured,
                )
            )
    return tuple(found)


def _answering(result: StudyResult, bundle: Bundle) -> StudyModel:
    """The model that answered; where none did, the one whose features were measured."""
    name = None if result.classification is None else result.classification.model
    return next((model for model in bundle.manifest.models if model.name == name), bundle.manifest.models[0])


def _model(result: StudyResult, bundle: Bundle) -> AnsweringModel | None:
    """The model that answered, and what went into it beside the features; None where none did."""
    if result.classification is None or result.study is None:
        return None
    model = _answering(result, bundle)
    return AnsweringModel(
        name=model.name,
        roles=model.roles,
        covariates={one.name: result.study.covariates[one.name] for one in model.covariates},
    )


def _signature(result: StudyResult, bundle: Bundle) -> dict[str, Feature] | None:
    """Each feature's value beside the 5th, 50th and 95th percentile of the training cohort."""
    if result.features is None or not bundle.manifest.models:
        return None
    ranges = _answering(result, bundle).signature.ranges
    return {
        name: Feature(
            value=feature.value,
            reason=None if feature.reason is None else spoken(feature.reason),
            low=ranges[name][0],
            median=ranges[name][1],
            high=ranges[name][2],
        )
        for name, feature in result.features.items()
    }


def _probability(result: StudyResult) -> Probability | None:
    found = result.classification.probability if result.classification else None
    if found is None:
        return None
    return Probability(
        of=found.name,
        value=found.value,
        low=found.low,
        high=found.high,
        calibrated=found.calibrated,
        predicted=found.predicted,
    )
