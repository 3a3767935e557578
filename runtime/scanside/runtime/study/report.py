"""`result.json`, which is also what `scanside run --json` prints; its schema is docs/run-report.schema.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scanside.runtime import machine
from scanside.runtime.bundle import Bundle
from scanside.runtime.images.orient import orientation
from scanside.runtime.manifest import StudyModel
from scanside.runtime.opening import approximations
from scanside.runtime.options import Options
from scanside.runtime.remark import code_of
from scanside.runtime.report import RESEARCH
from scanside.runtime.study.prior import Prior
from scanside.runtime.study.records import StudyResult

SCHEMA = "scanside.run/1"
LIBRARIES = ("pyradiomics-bhklab", "pillow")
NOTHING_COMPUTED = "nothing was computed"


def run_report(
    result: StudyResult, bundle: Bundle, options: Options, inputs: Sequence[Path], outputs: Sequence[Path]
) -> dict[str, Any]:
    """The document of one study. What is absent is null, never 0. `write_result` fills in the DICOM objects.

    Args:
        inputs: What the user gave, for a study that was refused before its images were known.
        outputs: The files that lie beside the document.
    """
    images = list(result.study.images.values()) if result.study else []
    device = result.device
    options = options.settled(device.precision if device else "fp32")
    computed = bool(result.roles)
    labels = {
        f"{role} {name}": ml for role, found in result.roles.items() for name, ml in found.labels.items()
    }
    return {
        "schema": SCHEMA,
        "status": result.status,
        "reason": result.reason,
        "reason_code": None if result.reason is None else code_of(result.reason),
        "notice": RESEARCH,
        "synthetic": bundle.manifest.synthetic,
        "bundle": bundle.summary(),
        "device": {
            "asked": options.device,
            "obtained": device.obtained if device else None,
            "why": device.why if device else NOTHING_COMPUTED,
            "precision": options.precision,
        },
        "approximations": list(approximations(options, device.obtained if device else None)),
        "inputs": list(dict.fromkeys(str(image.path) for image in images)) or [str(path) for path in inputs],
        "sequences": [
            {
                "sequence": image.name,
                "path": str(image.path),
                "series": image.series,
                "how": image.how,
                "b_value": image.b,
                "series_instance_uid": (image.source.series_instance_uid or None) if image.source else None,
                "shape": list(image.volume.geometry.shape),
                "spacing_mm": [round(mm, 6) for mm in image.volume.geometry.spacing],
                "orientation": orientation(image.volume.geometry),
                "computed_as": image.computed_as or orientation(image.volume.geometry),
            }
            for image in images
        ],
        "considered": [
            {"series": row.series, "images": row.images, "chosen": row.chosen, "reason": row.reason}
            for row in (result.study.considered if result.study else ())
        ],
        "outputs": [str(path) for path in outputs],
        "objects": [],
        "stages": [{"name": name, "ms": round(ms, 3)} for name, ms in result.stages.items()],
        "labels": labels if computed else None,
        "lesions": _lesions(result) if computed else None,
        "signature": _signature(result, bundle),
        "model": _model(result, bundle),
        "probability": _probability(result),
        "distance": result.classification.distance if result.classification else None,
        "warnings": list(result.warnings),
        "warning_codes": [code_of(warning) for warning in result.warnings],
        "versions": machine.versions(LIBRARIES),
    }


def prior_document(prior: Prior) -> dict[str, Any]:
    """An earlier result of the patient, of the appliance alone."""
    return {
        "day": prior.day.isoformat(),
        "algorithm": prior.algorithm,
        "same_algorithm": prior.same_algorithm,
        "sizes": [
            {
                "role": size.role,
                "volume_ml": size.volume_ml,
                "longest_diameter_mm": size.longest_diameter_mm,
            }
            for size in prior.sizes
        ],
    }


def _lesions(result: StudyResult) -> list[dict[str, Any]]:
    return [
        {
            "role": lesion.role,
            "number": lesion.number,
            "voxels": lesion.voxels,
            "volume_ml": round(lesion.volume_ml, 6),
            "longest_diameter_mm": round(lesion.longest_diameter_mm, 4),
            "centroid_mm": [round(mm, 4) for mm in lesion.centroid_mm],
            "measured": lesion.number == found.measured,
        }
        for found in result.roles.values()
        for lesion in found.lesions
    ]


def _answering(result: StudyResult, bundle: Bundle) -> StudyModel:
    """The model that answered; where none did, the one whose features were measured."""
    name = None if result.classification is None else result.classification.model
    return next((model for model in bundle.manifest.models if model.name == name), bundle.manifest.models[0])


def _model(result: StudyResult, bundle: Bundle) -> dict[str, Any] | None:
    """The model that answered, and what went into it beside the features; null where none did."""
    if result.classification is None or result.study is None:
        return None
    model = _answering(result, bundle)
    return {
        "name": model.name,
        "roles": list(model.roles) if model.roles is not None else None,
        "covariates": {one.name: result.study.covariates[one.name] for one in model.covariates},
    }


def _signature(result: StudyResult, bundle: Bundle) -> dict[str, Any] | None:
    """Each feature's value beside the 5th, 50th and 95th percentile of the training cohort."""
    if result.features is None or not bundle.manifest.models:
        return None
    ranges = _answering(result, bundle).signature.ranges
    return {
        name: {
            "value": feature.value,
            "reason": feature.reason,
            "low": ranges[name][0],
            "median": ranges[name][1],
            "high": ranges[name][2],
        }
        for name, feature in result.features.items()
    }


def _probability(result: StudyResult) -> dict[str, Any] | None:
    found = result.classification.probability if result.classification else None
    if found is None:
        return None
    return {
        "class": found.name,
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "calibrated": found.calibrated,
        "predicted": found.predicted,
    }
