"""The model card of a study's bundle: what it is for, what it was made from, how good it was, where it ends."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scanside.export.study_parts import StudyParts
from scanside.runtime.report import RESEARCH

PHANTOM = (
    "**Trained and tested on a synthetic phantom.** No patient's image was seen. Its figures say how the method works "
    "on simulated images and nothing about patients."
)


def model_card(parts: StudyParts, name: str, intended_use: str, licence: str) -> str:
    """Markdown for people who decide whether to use the bundle."""
    synthetic = parts.experiment.synthetic
    lines = [f"# {name}", "", f"**{RESEARCH}**", ""]
    if synthetic:
        lines += [PHANTOM, ""]
    lines += ["## Intended use", "", intended_use, "", f"Licence: {licence}.", "", "## Segmenters", ""]
    lines += [*_segmenters(parts), *_fusions(parts)]
    lines += ["", "## Models", "", *_models(parts), "", "## Results", ""]
    lines += list(_results(parts.report)) if parts.report else ["Not evaluated yet (`scanside evaluate`)."]
    lines += ["", "## Limits", "", *_limits(synthetic), ""]
    return "\n".join(lines)


def _segmenters(parts: StudyParts) -> Iterator[str]:
    for role, bundle in parts.segmenters.items():
        plan = bundle.manifest.segmenters[bundle.role(None)].plan
        folds = len(bundle.manifest.segmenters[bundle.role(None)].networks)
        channels = ", ".join(channel.name for channel in plan.channels)
        yield (
            f"- `{role}`: nnU-Net {plan.configuration} on {channels}, {folds} fold(s) averaged, patch "
            f"{' x '.join(map(str, plan.patch_size))} at {' x '.join(f'{mm:.2f}' for mm in plan.spacing)} mm."
        )


def _fusions(parts: StudyParts) -> Iterator[str]:
    for one in parts.fusions:
        yield ""
        yield (
            f"In a study the `{one.role}` mask is decided together with `{one.other}`: a voxel is lesion where its "
            f"log-odds plus {one.weight:g} times those of `{one.other}` at the same place, blurred by "
            f"{one.blur_mm:g} mm, exceed {one.limit:g}. `scanside segment` gives what the segmenter says alone."
        )


def _models(parts: StudyParts) -> Iterator[str]:
    if parts.agreement is not None:
        yield (
            "Lesions of two segmenters are one lesion where their nearest voxels lie within "
            f"{parts.agreement.near_mm:g} mm; where none are, no probability is given. The first model below whose "
            "conditions are met answers."
        )
    for model in (one.record for one in parts.models):
        record, (below, above) = model.classifier, model.classifier.indeterminate
        needs = [*(f"a lesion on {role}" for role in model.roles or ()), *(c.name for c in model.covariates)]
        yield ""
        yield f"### {model.name}"
        yield ""
        yield f"Needs {', '.join(needs) or 'its features'}. {record.positive} against {record.negative};"
        yield f"calibration: {record.calibration}. Threshold {record.threshold:.3f}; between {below:.3f} and"
        yield f"{above:.3f} no class is named."
        yield ""
        yield "| input | 5 % | median | 95 % |"
        yield "|---|---:|---:|---:|"
        for feature, (low, median, high) in model.signature.ranges.items():
            yield f"| {feature} | {low:.5g} | {median:.5g} | {high:.5g} |"
        for one in model.covariates:
            span = (
                f"{one.low:g} to {one.high:g} {one.unit or ''}"
                if one.values is None
                else " or ".join(one.values)
            )
            yield f"| {one.name} ({span.strip()}) | | | |"


def _results(report: Mapping[str, Any]) -> Iterator[str]:
    """Tables of the evaluation (`scanside schema evaluation`): out-of-fold and held-out patients only."""
    segmentation, classification = report.get("segmentation"), report.get("classification")
    if segmentation:
        yield "| segmenter | patients | size | n | missed | Dice (95 % interval) |"
        yield "|---|---|---|---:|---:|---:|"
        for row in segmentation["rows"]:
            if row["part"] != "resubstitution":
                scanners = "" if row["scanners"] == "all" else f", {row['scanners']} scanners"
                yield (
                    f"| {row['role']} | {row['part']}{scanners} | {row['size']} | {row['patients']} | {row['missed']} "
                    f"| {_estimate(row['dice']['value'], row['dice']['interval'])} |"
                )
        yield ""
    if classification:
        yield "| model | patients | n | AUC (95 % interval) |"
        yield "|---|---|---:|---:|"
        for model in classification["models"]:
            if model["part"] != "resubstitution":
                area = model["auc"]
                said = _estimate(area["value"], area["delong"])
                yield f"| {model['model']} | {model['part']} | {area['patients']} | {said} |"


def _estimate(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "—"
    return f"{value:.3f}" if interval is None else f"{value:.3f} ({interval[0]:.3f} to {interval[1]:.3f})"


def _limits(synthetic: bool) -> Iterator[str]:
    if synthetic:
        yield "- Anatomy, lesions and scanners are simulated; real images differ in ways no phantom knows."
    yield '- "No lesion segmented" does not mean that there is none: small lesions are missed most often.'
    yield "- Features unlike the training cohort's give no probability; new b-values may go unnoticed."
    yield "- The probability is calibrated for the training cohort's mix of diagnoses."
