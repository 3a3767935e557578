"""A frozen bundle on new patients: run or read → join → masks → probabilities → drift, centres, decisions."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.options import Options
from scanside.training.cohort.sizes import sized
from scanside.training.cohort.table import Cohort, read_cohort
from scanside.training.evaluation.cases import measure_all
from scanside.training.evaluation.classification import classification, sample
from scanside.training.evaluation.frozen import centres
from scanside.training.evaluation.frozen.drift import drift
from scanside.training.evaluation.frozen.predictions import FrozenMasks, classifier_facts, predictions
from scanside.training.evaluation.frozen.records import Frozen, FrozenBundle, FrozenModel, Joined
from scanside.training.evaluation.frozen.results import Answer, find_results, results_of_store
from scanside.training.evaluation.frozen.run import run_cohort
from scanside.training.evaluation.frozen.truth import Truth, join, read_pathology
from scanside.training.evaluation.predictions import DEPLOYED
from scanside.training.evaluation.report import Evaluated
from scanside.training.evaluation.segmentation_table import segmentation
from scanside.training.experiment import cohort_hash

RESULTS = "results"
"""Folder of the patients' results, beside the report."""
SAME_COHORT = "The bundle was trained on this very cohort: its test patients alone are judged."


@dataclass(frozen=True)
class Asked:
    """What is to be judged.

    Attributes:
        cohort: Folder with images and masks; None where results alone are judged.
        results: Folder of results that were made before; None to run the cohort.
        store: An appliance's store: which result of a case counts, and the readers' decisions.
        pathology: A CSV by case that came later.
        site: Column of the centre.
        synthetic: No image of the results shows a person; a cohort says so itself.
    """

    bundle: Path
    cohort: Path | None = None
    results: Path | None = None
    store: Path | None = None
    pathology: Path | None = None
    site: str = "site"
    synthetic: bool = False


def judge(
    asked: Asked,
    out: Path,
    options: Options,
    *,
    repeats: int,
    seed: int,
    say: Callable[[str], None],
) -> Evaluated:
    """Judge a bundle.

    Args:
        out: Folder of the report; results of patients that are run lie in it.

    Raises:
        UsageError: If neither a cohort nor results with pathology are given.
        InputError: If something cannot be read, contradicts another, or no result is of this bundle.
        BundleError: If the bundle is damaged or has no classifier.
        BackendError, CaseError: As `run_cohort`.
    """
    if asked.cohort is None and (asked.results is None or asked.pathology is None):
        raise UsageError("--bundle needs --cohort, or --results with --pathology; give one of them.")
    bundle = open_bundle(asked.bundle)
    positive = bundle.manifest.positive
    if positive is None:
        raise InputError(
            f"Bundle {asked.bundle} holds segmenters alone; give one of `scanside export bundle`."
        )
    cohort, warnings = _cohort(asked, bundle)
    every = _answers(asked, bundle, cohort, out, options, say)
    answers = [answer for answer in every if answer.sha256 == bundle.sha256]
    if not answers:
        raise InputError(
            f"None of the {len(every)} results is of bundle {asked.bundle}; give the bundle that made them."
        )
    table = None
    if asked.pathology is not None:
        table = read_pathology(asked.pathology, positive, cohort.declared if cohort else None, asked.site)
    truth = join(
        answers,
        cohort,
        table,
        path=asked.pathology or asked.cohort or out,
        synthetic=asked.synthetic,
        positive=positive,
    )
    other = sorted(answer.case for answer in every if answer.sha256 != bundle.sha256)
    return _evaluated(asked, bundle, truth, other, warnings, repeats, seed)


def _cohort(asked: Asked, bundle: Bundle) -> tuple[Cohort | None, list[str]]:
    """The cohort's patients whom the bundle has not seen, and what must be said of them."""
    if asked.cohort is None:
        return None, []
    cohort = sized(read_cohort(asked.cohort, asked.site))
    if cohort_hash(asked.cohort) != bundle.manifest.provenance.get("cohort_sha256"):
        return cohort, []
    left = cohort.split("test")
    if not left:
        raise InputError(
            f"The bundle was trained on every patient of {asked.cohort}; give a cohort that it has not seen."
        )
    return replace(cohort, patients=left), [SAME_COHORT]


def _answers(
    asked: Asked,
    bundle: Bundle,
    cohort: Cohort | None,
    out: Path,
    options: Options,
    say: Callable[[str], None],
) -> Sequence[Answer]:
    if asked.results is None:
        assert cohort is not None
        return run_cohort(bundle, cohort, cohort.patients, out / RESULTS, options, say)
    found = (
        find_results(asked.results) if asked.store is None else results_of_store(asked.store, asked.results)
    )
    if cohort is None:
        return found
    known = {patient.patient for patient in cohort.patients}
    return [answer for answer in found if answer.case in known]


def _evaluated(
    asked: Asked,
    bundle: Bundle,
    truth: Truth,
    other: list[str],
    warnings: list[str],
    repeats: int,
    seed: int,
) -> Evaluated:
    cohort, answers, masks = truth.cohort, truth.answers, FrozenMasks(bundle, truth.answers)
    facts = classifier_facts(bundle, answers, cohort)
    rows = predictions(bundle, answers, cohort)
    cases, absent = measure_all(masks, cohort)
    source = asked.pathology if asked.cohort is None else asked.cohort / "cohort.csv"
    assert source is not None
    manifest = bundle.manifest
    frozen = Frozen(
        bundle=FrozenBundle(
            name=manifest.name,
            version=manifest.version,
            sha256=bundle.sha256,
            created=manifest.created,
            synthetic=manifest.synthetic,
            models=[
                FrozenModel(
                    name=model.name, threshold=model.classifier.threshold, band=model.classifier.indeterminate
                )
                for model in manifest.models
            ],
        ),
        joined=Joined(
            results=len(answers),
            classified=sum(patient.classified for patient in cohort.patients),
            lesion_free=sum(patient.lesion_free for patient in cohort.patients),
            pending=list(truth.pending),
            without_result=list(truth.without_result),
            other_bundle=other,
            refused=dict(Counter(one.reason_code or "other" for one in answers if not one.computed)),
        ),
        site_column=asked.site,
        centres=centres.centres(cohort, answers, rows, cases, facts.positive, repeats=repeats, seed=seed),
        drift=drift(bundle, answers),
        reading=centres.reading(answers, rows, cohort, facts.positive),
    )
    return Evaluated(
        cohort=cohort,
        cohort_sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
        synthetic=cohort.synthetic,
        masks=masks,
        steps={},
        cases=cases,
        segmentation=segmentation(cases, absent, cohort, repeats=repeats, seed=seed) if cases else None,
        classification=classification(rows, facts, cohort, repeats=repeats, seed=seed) if rows else None,
        samples={"test": sample(rows, DEPLOYED, "test", facts.positive, cohort)} if rows else {},
        frozen=frozen,
        warnings=(*warnings, *_warnings(frozen)),
    )


def _warnings(frozen: Frozen) -> list[str]:
    found = []
    if frozen.bundle.synthetic:
        found.append(
            "The bundle was trained on a phantom: what it reaches on patients nobody knows before it is measured."
        )
    joined = frozen.joined
    for cases, words in (
        (joined.pending, "have a result and no diagnosis yet; they are in drift alone"),
        (joined.without_result, "have a diagnosis and no result; nothing is said of them"),
        (joined.other_bundle, "have a result of another bundle and are left out"),
    ):
        if cases:
            found.append(f"{len(cases)} cases {words}.")
    drifted = [row.feature for row in frozen.drift.features if row.drifted]
    if drifted:
        found.append(
            f"{len(drifted)} of {len(frozen.drift.features)} features have drifted from the training ranges: "
            f"{', '.join(drifted)}."
        )
    return found
