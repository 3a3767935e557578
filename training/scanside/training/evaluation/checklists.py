"""METRICS, CLEAR and TRIPOD+AI, filled in by the program: each row links to its artefact or says that it is not met.

The rows stand in checklists.csv, in our words: METRICS (Kocak et al. 2024, doi 10.1186/s13244-023-01572-w), CLEAR
(Kocak et al. 2023, doi 10.1186/s13244-023-01415-8), TRIPOD+AI (Collins et al. 2024, doi 10.1136/bmj-2023-078378). A row
names a fact; a fact is met where the report holds what shows it, which is looked up here. What only authors can write
is not met. No score is made of it: a program that filled in a form has not judged a study.
"""

import csv
from collections.abc import Callable, Mapping
from pathlib import Path

from scanside.training.evaluation.records import Checklist, ChecklistRow, Classification, ModelResult, Report
from scanside.training.evaluation.records_segmentation import SegmentationRow

TABLE = Path(__file__).with_name("checklists.csv")
MET, NOT_MET, NOT_APPLICABLE = "met", "not met", "not applicable"
PER_FEATURE = 10
"""Patients of the smaller class that a feature of the signature wants."""

Verdict = tuple[str, str]
"""Artefact and "", or "" and why it is not met."""


def checklists(report: Report) -> list[Checklist]:
    """The three lists for a report whose other parts are complete."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    found = []
    for name in dict.fromkeys(row["list"] for row in table):
        rows = [_row(row, report) for row in table if row["list"] == name]
        found.append(
            Checklist(
                name=name,
                rows=rows,
                met=sum(row.state == MET for row in rows),
                applicable=sum(row.state != NOT_APPLICABLE for row in rows),
            )
        )
    return found


def _row(row: Mapping[str, str], report: Report) -> ChecklistRow:
    if row["fact"] == "conditional":
        why = "the classifier takes features of a signature; nothing is learned from images end to end"
        return ChecklistRow(item=row["item"], asks=row["asks"], state=NOT_APPLICABLE, artefact=None, why=why)
    artefact, why = FACTS[row["fact"]](report)
    state = MET if artefact else NOT_MET
    return ChecklistRow(
        item=row["item"], asks=row["asks"], state=state, artefact=artefact or None, why=why or None
    )


def _shown(found: object, artefact: str, why: str) -> Verdict:
    return (artefact, "") if found else ("", why)


def _main(report: Report) -> ModelResult | None:
    """What the bundle says on the most honest part."""
    models = {r.part: r for r in (report.classification.models if report.classification else ()) if r.main}
    return models.get("test") or models.get("cross-validated")


def _models(report: Report) -> set[str]:
    return {result.model for result in (report.classification.models if report.classification else ())}


def _honest_masks(report: Report) -> list[SegmentationRow]:
    rows = report.segmentation.rows if report.segmentation else []
    return [row for row in rows if row.part != "resubstitution"]


def _authors(report: Report) -> Verdict:
    return "", "only the authors can write it"


def _checklist(report: Report) -> Verdict:
    return "report.json: checklists", ""


def _patients(report: Report) -> Verdict:
    return _shown(not report.synthetic, "report.json: cohort", "the images are a phantom's")


def _pathology(report: Report) -> Verdict:
    if report.synthetic:
        return "", "a phantom has a true diagnosis, and no pathology"
    return _shown(
        report.cohort.diagnoses, "cohort.csv: diagnosis; how it was made the authors must say", "no diagnosis"
    )


def _centres(report: Report) -> Verdict:
    sites = [c.site for c in report.frozen.centres] if report.frozen else _values(report, "site")
    if report.synthetic:
        return "", "virtual scanners are no centres"
    where = "report.json: frozen.centres" if report.frozen else "report.json: classification.models.subgroups"
    return _shown(len(set(sites) - {"unknown"}) > 1, where, "the table names fewer than two centres")


def _values(report: Report, name: str) -> list[str]:
    main = _main(report)
    return [group.value for group in (main.subgroups if main else ()) if group.property == name]


def _clusters(report: Report) -> Verdict:
    if report.frozen:
        return _shown(len(report.frozen.centres) > 1, "report.json: frozen.centres", "one cluster only")
    values = _values(report, "scanner")
    return _shown(
        len(values) > 1, "report.json: classification.models.subgroups", "one scanner, or no classifier"
    )


def _segmenter(report: Report) -> Verdict:
    if report.frozen:
        return "bundle.json: segmenters", ""
    steps = [step for step in report.records if step.startswith("segment-")]
    return _shown(steps, f"report.json: records.{', '.join(steps)}", "no segmenter was trained here")


def _recipe(report: Report) -> Verdict:
    if report.frozen:
        return "bundle: radiomics.yaml", ""
    return _shown("signature" in report.records, "signature/radiomics.yaml", "no signature was learned here")


def _software(report: Report) -> Verdict:
    known = next((f"{name} {v}" for name, v in report.versions.items() if "pyradiomics" in name), None)
    what = f"report.json: versions ({known}); `scanside radiomics conformance` compares with IBSI-1"
    return _shown(known, what, "the version of the extractor is not known")


def _step(report: Report, word: str) -> bool:
    path = (report.classification.selection_path if report.classification else None) or []
    return any(word in step for step, _ in path)


def _path(report: Report) -> Verdict:
    path = report.classification and report.classification.selection_path
    return _shown(path, "report.json: classification.selection_path", "the selection is not in this report")


def _dimensionality(report: Report) -> Verdict:
    if report.frozen or report.classification is None or not report.classification.features:
        return "", "the training patients are not in this report"
    train = report.cohort.diagnoses.get("train", {})
    positive = train.get(report.classification.positive, 0)
    smaller = min(positive, sum(train.values()) - positive - train.get("none", 0))
    each = smaller / len(report.classification.features)
    why = f"{each:.1f} patients of the smaller class a feature; {PER_FEATURE} are wanted"
    return _shown(each >= PER_FEATURE, f"report.json: cohort.diagnoses ({each:.1f} patients a feature)", why)


def _partition(report: Report) -> Verdict:
    if report.frozen:
        return "report.json: frozen.bundle; the bundle has seen none of these patients", ""
    canaries = (report.classification.canaries if report.classification else None) or []
    held = bool(report.cohort.train and report.cohort.test and canaries) and all(c.passed for c in canaries)
    return _shown(held, "report.json: cohort, classification.canaries", "no test split, or no living canary")


def _testing(report: Report) -> Verdict:
    external = _external(report)
    return external if external[0] else _internal(report)


def _internal(report: Report) -> Verdict:
    if report.frozen:
        return "", "a frozen bundle is judged on new patients; its own report holds the internal test"
    return _shown(_main(report), "report.json: classification.models", "no classifier was judged")


def _external(report: Report) -> Verdict:
    if report.synthetic:
        return "", "another phantom is no external test"
    return _shown(report.frozen, "report.json: frozen", "the patients are of the training's own cohort")


def _calibration(report: Report) -> Verdict:
    main = _main(report)
    return _shown(
        main and main.calibration,
        "report.json: classification.models.calibration; reliability.png",
        "not computed",
    )


def _data(report: Report) -> Verdict:
    return _shown(
        report.synthetic,
        "cohort.json: seed and version; `scanside phantom` makes the images again",
        "the program shares no patients",
    )


def _published(report: Report) -> Verdict:
    return "", "the program publishes no bundle; the authors may"


def _covariates(report: Report) -> Verdict:
    if report.frozen:
        return "bundle.json: models.covariates", ""
    return _shown(
        "clinical" in _models(report), "report.json: classification.models (clinical)", "none was taken"
    )


def _differences(report: Report) -> Verdict:
    if report.frozen:
        return "report.json: frozen.drift", ""
    return _shown(report.cohort.test, "report.json: cohort (by split)", "there is no test split")


def _classified(report: Report) -> Classification | None:
    return report.classification


FACTS: dict[str, Callable[[Report], Verdict]] = {
    "authors": _authors,
    "checklist": _checklist,
    "patients": _patients,
    "pathology": _pathology,
    "centres": _centres,
    "clusters": _clusters,
    "segmenter": _segmenter,
    "recipe": _recipe,
    "software": _software,
    "path": _path,
    "dimensionality": _dimensionality,
    "partition": _partition,
    "testing": _testing,
    "internal": _internal,
    "external": _external,
    "calibration": _calibration,
    "data": _data,
    "published": _published,
    "covariates": _covariates,
    "differences": _differences,
    "masks": lambda r: _shown(
        _honest_masks(r), "report.json: segmentation; cases.csv", "no reader's mask was compared"
    ),
    "automatic": lambda r: _shown(
        _honest_masks(r) or r.frozen, "masks: one automatic tool", "no mask was judged"
    ),
    "stable": lambda r: _shown(
        _step(r, "stable"), "report.json: classification.selection_path (stable)", "not in this report"
    ),
    "redundant": lambda r: _shown(
        _step(r, "redundant"),
        "report.json: classification.selection_path (not redundant)",
        "not in this report",
    ),
    "confounders": lambda r: _shown(
        {"clinical", "volume"} <= _models(r),
        "report.json: classification.models (clinical, volume)",
        "models of volume and clinical data alone are not in this report",
    ),
    "performance": lambda r: _shown(
        _main(r), "report.json: classification.models; roc.png", "no classifier was judged"
    ),
    "uncertainty": lambda r: _shown(
        (main := _main(r)) and main.auc.delong,
        "report.json: every value with its interval",
        "too few patients",
    ),
    "single": lambda r: _shown(
        {"volume", "adc_mean"} & _models(r),
        "report.json: classification.models (volume, adc_mean)",
        "no model of one parameter is in this report",
    ),
    "added": lambda r: _shown(
        (found := _classified(r)) and found.added,
        "report.json: classification.added",
        "no model of clinical data alone is in this report",
    ),
    "code": lambda r: ("scanside, Apache-2.0; report.json: versions", ""),
    "steps": lambda r: _shown(
        r.records, f"report.json: records ({', '.join(r.records)})", "the training is not in this report"
    ),
    "source": lambda r: ("report.json: cohort (name, synthetic, sha256)", ""),
    "missing": lambda r: _shown(
        _main(r), "report.json: classification.models.statuses; missing", "no classifier was judged"
    ),
    "imbalance": lambda r: _shown(
        _main(r),
        "report.json: classification.models.prevalence, average_precision",
        "no classifier was judged",
    ),
    "classifier": lambda r: _shown(
        r.frozen or "classifier" in r.records,
        "bundle.json: models" if r.frozen else "classifier/classifier.json, classifier/*.onnx",
        "no classifier was fitted",
    ),
    "comparison": lambda r: _shown(
        any(m.comparison for m in (r.classification.models if r.classification else ())),
        "report.json: classification.models.comparison (paired DeLong)",
        "there is one model only",
    ),
    "features": lambda r: _shown(
        (found := _classified(r)) and found.features, "report.json: classification.features", "no signature"
    ),
    "characteristics": lambda r: ("report.json: cohort", ""),
    "notice": lambda r: ("report.json: notice (research use only); bundle.json: intended_use", ""),
    "frozen": lambda r: _shown(
        r.frozen, "report.json: frozen; nothing was updated", "the model was made here"
    ),
    "calculated": lambda r: _shown(
        r.frozen,
        "results/<case>/result.json, by the runtime that runs at the scanner",
        "nothing but its own cohort was evaluated",
    ),
    "fairness": lambda r: _shown(
        _values(r, "sex"),
        "report.json: classification.models.subgroups; subgroups.png",
        "no sex is known, or no classifier was judged",
    ),
    "output": lambda r: _shown(
        (main := _main(r)) and main.indeterminate,
        "report.json: classification.models.indeterminate, confusion",
        "no threshold and band",
    ),
    "flow": lambda r: _shown(
        r.frozen or _main(r),
        "report.json: frozen.joined" if r.frozen else "report.json: cohort, classification.models.statuses",
        "no classifier was judged",
    ),
}
