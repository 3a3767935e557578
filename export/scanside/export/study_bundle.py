"""`scanside export bundle`: an experiment folder becomes the bundle of a study, proven at every hop.

Every segmenter was exported and judged before (`scanside export nnunet`); its files are taken over byte by byte with
their parity report. What is new here, and judged here, are the hops after the masks: features and probability.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from scanside.export.model_card import model_card
from scanside.export.study_cases import golden_studies
from scanside.export.study_parts import ModelParts, StudyParts, read_parts
from scanside.export.writer import BundleWriter
from scanside.runtime import machine
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.classify import ClassifierSession
from scanside.runtime.errors import BundleError
from scanside.runtime.golden_study import PROBABILITY_TOLERANCE, StudyComparison, replay_study
from scanside.runtime.manifest import SCHEMA, FileEntry, Golden, GoldenStudy, Manifest, Segmenter

Say = Callable[[str], None]
INTENDED_USE = (
    "Research use only: outlines solid pancreatic lesions on T2WI and DWI, gives the probability of PDAC."
)
PACKAGES = ("pyradiomics-bhklab", "scikit-learn", "skl2onnx")


@dataclass(frozen=True)
class StudyBundleOptions:
    """Choices of an export.

    Attributes:
        studies: Golden studies besides the synthetic one, each a folder that `scanside run` takes. Their images
            are stored in the bundle: never give a patient's.
    """

    name: str = "pancreas-mri"
    version: str = "1"
    intended_use: str = INTENDED_USE
    licence: str = "not stated"
    studies: tuple[Path, ...] = ()
    overwrite: bool = False


def export_study_bundle(experiment: Path, out: Path, options: StudyBundleOptions, say: Say) -> dict[str, Any]:
    """Make the bundle of an experiment, or raise and leave nothing behind.

    Args:
        experiment: Folder of `scanside train` with segmenters, signature and classifier.
        out: The bundle folder to make.
        say: Receives progress, a sentence at a time.

    Returns:
        The parity report of every hop.

    Raises:
        InputError: If a part of the experiment is missing.
        BundleError: If a part is damaged or a hop fails its parity gate.
        OutputError: If the bundle cannot be written.
    """
    parts = read_parts(experiment)
    with BundleWriter(out, overwrite=options.overwrite) as writer:
        taken = [_take_segmenter(role, bundle, writer) for role, bundle in parts.segmenters.items()]
        writer.add("radiomics.yaml", parts.radiomics)
        for model in parts.models:
            writer.add(model.record.classifier.file, model.onnx)
        card = model_card(parts, options.name, options.intended_use, options.licence)
        writer.add("model_card.md", card.encode())
        say("Measuring golden studies with pyradiomics, classifying them with scikit-learn's coefficients")
        cases = golden_studies(parts, options.studies)
        for case in cases:
            writer.add(f"golden/{case.name}.npz", case.encode())
        manifest = _manifest(parts, taken, [case.name for case in cases], options, writer.files)
        bundle = open_bundle(writer.write_manifest(manifest))
        say("Comparing features with pyradiomics and probabilities with scikit-learn")
        studies = [replay_study(bundle, case) for case in cases]
        errors = {model.record.name: _probability_error(bundle, model) for model in parts.models}
        _require(studies, errors)
        report = _report([segmenter.parity for segmenter in taken], studies, errors, parts)
        writer.add("parity.json", json.dumps(report, indent=1).encode())
        writer.write_manifest(manifest)
        writer.commit()
    return report


@dataclass(frozen=True)
class _Taken:
    """A segmenter that was taken over: its records, and its parity report with the cases under their new names."""

    segmenters: Mapping[str, Segmenter]
    golden: tuple[Golden, ...]
    parity: Mapping[str, Any]


def _take_segmenter(role: str, bundle: Bundle, writer: BundleWriter) -> _Taken:
    """Copy a segmenter's files and records; its final stage becomes `role`, an earlier one `role-<stage>`."""
    manifest, final = bundle.manifest, bundle.role(None)
    names = {old: role if old == final else f"{role}-{old}" for old in manifest.segmenters}
    segmenters, golden = {}, []
    for old, segmenter in manifest.segmenters.items():
        networks = []
        for network in segmenter.networks:
            files = {p: f"segmenters/{names[old]}/{Path(file).name}" for p, file in network.files.items()}
            for precision, target in files.items():
                writer.add(target, bundle.read(network.files[precision]))
            networks.append(network.model_copy(update={"files": files}))
        previous = segmenter.plan.previous_stage
        plan = segmenter.plan.model_copy(update={"previous_stage": names[previous] if previous else None})
        segmenters[names[old]] = Segmenter(plan=plan, networks=tuple(networks))
    for case in manifest.golden:
        name = f"{role}-{case.name}"
        writer.add(f"golden/{name}.npz", bundle.read(case.file))
        update = {"name": name, "role": names[case.role], "file": f"golden/{name}.npz"}
        golden.append(case.model_copy(update=update))
    report = json.loads(bundle.read("parity.json"))
    report["cases"] = [{**case, "name": f"{role}-{case['name']}"} for case in report["cases"]]
    for rows in ("hops", "accuracy"):
        report[rows] = [{**row, "case": f"{role}-{row['case']}"} for row in report.get(rows, [])]
    report["ranges"] = [{**row, "role": names[row["role"]]} for row in report.get("ranges", [])]
    return _Taken(segmenters, tuple(golden), report)


def _manifest(
    parts: StudyParts,
    taken: Sequence[_Taken],
    studies: Sequence[str],
    options: StudyBundleOptions,
    files: dict[str, FileEntry],
) -> Manifest:
    return Manifest(
        schema=SCHEMA,
        name=options.name,
        version=options.version,
        intended_use=options.intended_use,
        licence=options.licence,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        file_ending=".nii.gz",
        segmenters={role: record for part in taken for role, record in part.segmenters.items()},
        golden=tuple(case for part in taken for case in part.golden),
        synthetic=parts.experiment.synthetic,
        radiomics="radiomics.yaml",
        agreement=parts.agreement,
        fusions=parts.fusions,
        models=tuple(model.record for model in parts.models),
        studies=tuple(GoldenStudy(name=name, file=f"golden/{name}.npz") for name in studies),
        orientation=parts.experiment.orientation,
        provenance={
            "source": "scanside experiment",
            "cohort_sha256": parts.experiment.cohort_sha256,
            "segmenters": {role: bundle.manifest.provenance for role, bundle in parts.segmenters.items()},
            "exported_with": {name: version(name) for name in ("scanside", *PACKAGES)},
        },
        files=files,
    )


def _probability_error(bundle: Bundle, model: ModelParts) -> float:
    """Largest difference between an exported classifier and scikit-learn over the training patients."""
    session = ClassifierSession(bundle, model.record)
    ours = np.array([session.probability(row) for row in model.reference.features])
    return float(np.abs(ours - model.reference.probabilities).max())


def _require(studies: Sequence[StudyComparison], errors: Mapping[str, float]) -> None:
    for study in studies:
        if study.problem:
            raise BundleError(
                f"No bundle was written: golden study {study.case} is not the reference's: {study.problem}."
            )
    for name, error in errors.items():
        if not error <= PROBABILITY_TOLERANCE:
            raise BundleError(
                f"No bundle was written: probabilities of the model '{name}' differ by {error:.2g} from scikit-learn; "
                "run `scanside train classifier` again."
            )


def _report(
    segmenters: Sequence[Mapping[str, Any]],
    studies: Sequence[StudyComparison],
    errors: Mapping[str, float],
    parts: StudyParts,
) -> dict[str, Any]:
    """The content of parity.json: the segmenters' own reports, then features and probability."""
    first = segmenters[0]
    return {
        "schema": "scanside.parity/1",
        "reference": f"{first['reference']}; pyradiomics; scikit-learn",
        "policies": first["policies"],
        "cases": [case for report in segmenters for case in report["cases"]],
        "hops": [hop for report in segmenters for hop in report["hops"]],
        "accuracy": [row for report in segmenters for row in report["accuracy"]],
        "ranges": [row for report in segmenters for row in report["ranges"]],
        "studies": [asdict(study) for study in studies],
        "probability": {
            "patients": max(len(model.reference.features) for model in parts.models),
            "largest_difference": max(errors.values()),
            "models": errors,
        },
        "machine": {"processor": machine.processor(), "cores": machine.cores()},
        "versions": {**first["versions"], **machine.versions(PACKAGES)},
    }
