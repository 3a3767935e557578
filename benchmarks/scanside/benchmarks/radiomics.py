"""`scanside bench radiomics`: the radiomics stage against a plain pyradiomics run of the same parameter file.

The stage measures the signature's features, on only the filtered images and the box that they need. The peer is what a
researcher writes: `RadiomicsFeatureExtractor` with the bundle's settings, every enabled feature, the whole image, one
call a sequence. (The settings hold `preCrop`: pyradiomics itself filters only around the lesion then.) Images in
memory and masks are the same; the z-score over the body, which pyradiomics does not know, is computed by both.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from pydantic import Field

from scanside.benchmarks.conditions import noise
from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.peers_results import Ratio
from scanside.benchmarks.processes import busy_s
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.results import BundleId, Part, Run
from scanside.benchmarks.studies import BenchStudy
from scanside.benchmarks.tables import aligned
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import CaseError
from scanside.runtime.golden_study import FEATURE_TOLERANCE
from scanside.runtime.options import Options
from scanside.runtime.radiomics.config import RadiomicsConfig
from scanside.runtime.radiomics.names import sequence_of
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyResult

RADIOMICS = "scanside.bench-radiomics/1"
Made = TypeVar("Made")


class Feature(Part):
    """One feature by both."""

    scanside: float
    pyradiomics: float
    error: float
    """Relative to pyradiomics' value."""


class StudyRadiomics(Part):
    """One study."""

    name: str
    origin: Literal["phantom", "given"]
    lesion_voxels: dict[str, int]
    """By segmenter, on the image's grid."""
    features: dict[str, Feature]
    scanside_ms: Distribution
    pyradiomics_ms: Distribution
    ratio: Ratio
    """pyradiomics / scanside, pair by pair."""


class RadiomicsReport(Run):
    """`scanside bench radiomics`."""

    schema_: Literal["scanside.bench-radiomics/1"] = Field(alias="schema")
    bundle: BundleId
    asked: int
    """Features of the signature, which scanside computes."""
    enabled: int
    """Features of the parameter file, which pyradiomics computes."""
    tolerance: float
    """Largest relative difference that is allowed."""
    headline: bool
    """Whether the figures may be quoted; `remarks` says why not."""
    remarks: list[str]
    studies: list[StudyRadiomics]

    @property
    def equal(self) -> bool:
        """Whether every value agrees."""
        return all(one.error <= self.tolerance for study in self.studies for one in study.features.values())


def run_radiomics(
    bundle_path: Any, studies: Sequence[BenchStudy], repeats: int, facts: Mapping[str, Any]
) -> RadiomicsReport:
    """Segment each study once, then measure its features by both in alternating pairs.

    Args:
        bundle_path: Folder of a bundle with radiomics and signature.
        repeats: Pairs a study; one untimed pair comes before.
        facts: Of `environment`.

    Raises:
        BundleError: If the bundle has no signature.
        CaseError: If a study has no lesion that the signature can be measured in.
    """
    bundle = open_bundle(bundle_path)
    progress = Progress(len(studies) * repeats)
    with StudyRunner(bundle, Options(), progress.say) as runner:
        recipe = runner.recipe
        results = [(study, runner.run(read_study(study.path, recipe.needed))) for study in studies]
    measured, remarks = [], []
    for study, result in results:
        found, said = _study(study, result, recipe.config, recipe.features, repeats, progress)
        measured.append(found)
        remarks += said
    return RadiomicsReport.model_validate(
        {
            **{name: facts[name] for name in ("created", "command", "machine", "versions", "git")},
            "schema": RADIOMICS,
            "bundle": bundle.summary(),
            "asked": len(recipe.features),
            "enabled": _enabled(recipe.config, recipe.features),
            "tolerance": FEATURE_TOLERANCE,
            "headline": not remarks,
            "remarks": remarks,
            "studies": measured,
        }
    )


def _study(
    study: BenchStudy,
    result: StudyResult,
    config: RadiomicsConfig,
    names: Sequence[str],
    repeats: int,
    progress: Progress,
) -> tuple[StudyRadiomics, list[str]]:
    from scanside.export.radiomics_reference import reference_features
    from scanside.runtime.radiomics.extract import extract

    found = result.features or {}
    absent = [name for name in names if name not in found or found[name].value is None]
    if absent or result.study is None:
        why = result.reason or f"{absent[0]} is absent"
        raise CaseError(
            f"{study.name} cannot be measured: {why.rstrip('.')}; choose another study or --seed."
        )
    images = {name: image.volume for name, image in result.study.images.items()}
    masks = {role: segmented.main for role, segmented in result.roles.items()}
    ours_ms, theirs_ms, other_ms = [], [], []
    for pair in range(-1, repeats):
        busy, start, cpu = busy_s(), time.perf_counter(), time.process_time()
        ours, our_ms = _timed(lambda: extract(images, masks, config, names))
        theirs, their_ms = _timed(lambda: reference_features(images, masks, config, names))
        if pair < 0:  # imports, and memory that is touched for the first time
            continue
        other = max(0.0, busy_s() - busy - (time.process_time() - cpu)) / (time.perf_counter() - start)
        ours_ms.append(our_ms)
        theirs_ms.append(their_ms)
        other_ms.append(other * their_ms)
        progress.step(f"{study.name}: {our_ms:.0f} ms, pyradiomics {their_ms:.0f} ms")
    scanside, plain = Distribution.of(ours_ms), Distribution.of(theirs_ms)
    features = {name: _feature(ours[name].value, theirs[name]) for name in names}
    remarks = noise(f"{study.name}, pyradiomics", plain, Distribution.of(other_ms))
    remarks += noise(f"{study.name}, scanside", scanside, None)
    made = StudyRadiomics(
        name=study.name,
        origin=study.origin,
        lesion_voxels={role: int((mask > 0).sum()) for role, mask in masks.items()},
        features=features,
        scanside_ms=scanside,
        pyradiomics_ms=plain,
        ratio=Ratio.of([b / a for a, b in zip(ours_ms, theirs_ms, strict=True)]),
    )
    return made, remarks


def _timed(call: Callable[[], Made]) -> tuple[Made, float]:
    start = time.perf_counter()
    made = call()
    return made, 1000 * (time.perf_counter() - start)


def _feature(ours: float | None, theirs: float) -> Feature:
    assert ours is not None
    return Feature(scanside=ours, pyradiomics=theirs, error=abs(ours - theirs) / max(abs(theirs), 1e-300))


def _enabled(config: RadiomicsConfig, names: Sequence[str]) -> int:
    """Features of the sequences that the signature needs; shape is measured on the original image alone."""
    total = 0
    for sequence in dict.fromkeys(map(sequence_of, names)):
        recipe = config.sequences[sequence]
        for kind in recipe.feature_classes:
            total += len(recipe.features(kind)) * (1 if kind == "shape" else len(recipe.images()))
    return total


def radiomics_table(report: RadiomicsReport) -> str:
    """The table of `scanside bench radiomics`."""
    machine, versions = report.machine, report.versions
    rows = [("study", "scanside", "pyradiomics", "pyradiomics / scanside", "largest difference of a value")]
    for study in report.studies:
        name, error = max(
            ((name, one.error) for name, one in study.features.items()), key=lambda pair: pair[1]
        )
        ratio, low = study.ratio, study.ratio.low is not None
        around = (ratio.low, ratio.high) if low else (ratio.min, ratio.max)
        rows.append(
            (
                study.name,
                f"{study.scanside_ms.median:.0f} ms",
                f"{study.pyradiomics_ms.median:.0f} ms",
                f"{ratio.median:.1f} × ({around[0]:.1f} … {around[1]:.1f})",
                f"{error:.1e} ({name})",
            )
        )
    samples = len(report.studies[0].scanside_ms.samples)
    verdict = "agree" if report.equal else "DO NOT AGREE"
    lines = [
        f"Radiomics stage: {report.asked} features of the signature, against a plain pyradiomics run of the same "
        f"parameter file, {report.enabled} features. {samples} alternating pair(s); medians, ratio with its "
        f"{'95 % interval' if samples >= 6 else 'range'}.",
        f"{machine.processor}, {machine.cores} core(s); scanside {versions.get('scanside', '?')}, "
        f"pyradiomics {versions['pyradiomics-bhklab']}.",
        *(f"Not to be quoted: {remark}" for remark in report.remarks),
        "",
        *aligned(rows),
        "",
        f"The {report.asked} values {verdict} to {report.tolerance:g} of their value.",
    ]
    return "\n".join(lines)
