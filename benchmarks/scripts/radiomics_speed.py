"""`python benchmarks/scripts/radiomics_speed.py BUNDLE OUT.json`: the radiomics stage beside plain pyradiomics.

The stage measures the signature's features, on only the filtered images and the box that they need. The peer is what a
researcher writes: `RadiomicsFeatureExtractor` with the bundle's settings, every enabled feature, the whole image, one
call a sequence. Both get the same images and masks in alternating pairs, and both compute the z-score over the body.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from scanside.benchmarks.conditions import noise
from scanside.benchmarks.distribution import Distribution, Ratio
from scanside.benchmarks.processes import busy_s
from scanside.benchmarks.progress import Progress
from scanside.benchmarks.script import facts, save, script, table, where
from scanside.benchmarks.studies import PHANTOM_SEED, BenchStudy, given_studies, phantom_studies
from scanside.export.radiomics_reference import reference_features
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import CaseError
from scanside.runtime.golden_study import FEATURE_TOLERANCE
from scanside.runtime.options import Options
from scanside.runtime.radiomics.config import RadiomicsConfig
from scanside.runtime.radiomics.extract import extract
from scanside.runtime.radiomics.names import sequence_of
from scanside.runtime.study.pipeline import StudyRunner
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyResult

Made = TypeVar("Made")


def main(
    bundle: Path, out: Path, study: Annotated[list[Path] | None, typer.Option()] = None, repeats: int = 10,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Segment each study once, by default a phantom, then measure its features by both in alternating pairs.

    The exit code is 1 when a value differs by more than 1e-6 of itself.
    """
    document, opened = facts("bench-radiomics/1", out, overwrite), open_bundle(bundle)
    with tempfile.TemporaryDirectory(prefix="scanside-bench-") as folder:
        studies = given_studies(study) if study else phantom_studies(Path(folder), ("typical",), PHANTOM_SEED)
        progress = Progress(len(studies) * repeats)
        with StudyRunner(opened, Options(), progress.say) as runner:
            recipe = runner.recipe
            results = [(one, runner.run(read_study(one.path, recipe.needed))) for one in studies]
    measured, remarks = [], list[str]()
    for one, result in results:
        measured.append(_study(one, result, recipe.config, recipe.features, repeats, progress, remarks))
    equal = all(f["error"] <= FEATURE_TOLERANCE for one in measured for f in one["features"].values())
    document |= {
        "bundle": opened.summary(), "asked": len(recipe.features),
        "enabled": _enabled(recipe.config, recipe.features), "tolerance": FEATURE_TOLERANCE, "headline": not remarks,
        "remarks": remarks, "studies": measured,
    }  # fmt: skip
    words = [
        f"Radiomics stage: {document['asked']} features of the signature, against a plain pyradiomics run of the same "
        f"parameter file, {document['enabled']} features. {repeats} pair(s); medians, and the ratio's range.",
        where(document, "pyradiomics-bhklab"),
        *(f"Not to be quoted: {remark}" for remark in remarks),
        *table(
            ("study", "scanside", "pyradiomics", "pyradiomics / scanside", "largest difference of a value"),
            [_row(one) for one in measured],
        ),
        f"The values {'agree' if equal else 'DO NOT AGREE'} to {FEATURE_TOLERANCE:g} of their value.",
    ]
    save(document, out, words)
    if not equal:
        raise CaseError(f"Features differ from pyradiomics' by more than {FEATURE_TOLERANCE:g}; see {out}.")


def _study(
    study: BenchStudy, result: StudyResult, config: RadiomicsConfig, names: Sequence[str], repeats: int,
    progress: Progress, remarks: list[str],
) -> dict[str, Any]:  # fmt: skip
    found = result.features or {}
    absent = [name for name in names if name not in found or found[name].value is None]
    if absent or result.study is None:
        why = result.reason or f"{absent[0]} is absent"
        raise CaseError(f"{study.name} cannot be measured: {why.rstrip('.')}; choose another study.")
    images = {name: image.volume for name, image in result.study.images.items()}
    masks = {role: segmented.main for role, segmented in result.roles.items()}
    ours_ms, theirs_ms, other_ms = list[float](), list[float](), list[float]()
    for pair in range(-1, repeats):
        busy, start, cpu = busy_s(), time.perf_counter(), time.process_time()
        ours, our_ms = _timed(lambda: extract(images, masks, config, names))
        theirs, their_ms = _timed(lambda: reference_features(images, masks, config, names))
        if pair >= 0:  # the first holds imports, and memory that is touched for the first time
            other = max(0.0, busy_s() - busy - (time.process_time() - cpu)) / (time.perf_counter() - start)
            ours_ms.append(our_ms)
            theirs_ms.append(their_ms)
            other_ms.append(other * their_ms)
            progress.step(f"{study.name}: {our_ms:.0f} ms, pyradiomics {their_ms:.0f} ms")
    scanside, plain = Distribution.of(ours_ms), Distribution.of(theirs_ms)
    remarks += noise(f"{study.name}, pyradiomics", plain, Distribution.of(other_ms))
    remarks += noise(f"{study.name}, scanside", scanside, None)
    return {
        "name": study.name, "origin": study.origin,
        "lesion_voxels": {role: int((mask > 0).sum()) for role, mask in masks.items()},
        "features": {name: _feature(ours[name].value, theirs[name]) for name in names},
        "scanside_ms": scanside, "pyradiomics_ms": plain,
        "ratio": Ratio.of([b / a for a, b in zip(ours_ms, theirs_ms, strict=True)]),
    }  # fmt: skip


def _timed(call: Callable[[], Made]) -> tuple[Made, float]:
    start = time.perf_counter()
    made = call()
    return made, 1000 * (time.perf_counter() - start)


def _feature(ours: float | None, theirs: float) -> dict[str, float]:
    assert ours is not None
    return {"scanside": ours, "pyradiomics": theirs, "error": abs(ours - theirs) / max(abs(theirs), 1e-300)}


def _enabled(config: RadiomicsConfig, names: Sequence[str]) -> int:
    """Features of the sequences that the signature needs; shape is measured on the original image alone."""
    recipes = [config.sequences[sequence] for sequence in dict.fromkeys(map(sequence_of, names))]
    return sum(
        len(recipe.features(kind)) * (1 if kind == "shape" else len(recipe.images()))
        for recipe in recipes
        for kind in recipe.feature_classes
    )


def _row(study: dict[str, Any]) -> tuple[str, ...]:
    name, worst = max(study["features"].items(), key=lambda pair: pair[1]["error"])
    ratio = study["ratio"]
    return (
        study["name"], f"{study['scanside_ms'].median:.0f} ms", f"{study['pyradiomics_ms'].median:.0f} ms",
        f"{ratio.median:.1f} × ({ratio.min:.1f} … {ratio.max:.1f})", f"{worst['error']:.1e} ({name})",
    )  # fmt: skip


if __name__ == "__main__":
    script(main)
