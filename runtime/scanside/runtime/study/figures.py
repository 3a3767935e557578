"""What a result measures, as plain numbers: for comparing runs, and for watching an installation over months."""

from scanside.runtime.study.report import StudyReport


def figures_of(report: StudyReport) -> dict[str, tuple[float, str]]:
    """What a result.json measures: name → value and unit."""
    found: dict[str, tuple[float, str]] = {}
    for row in report.lesions or ():
        found[f"{row.role} lesion {row.number}: voxels"] = (float(row.voxels), "1")
    for label, ml in (report.labels or {}).items():
        found[f"{label}: volume"] = (float(ml), "mL")
    for name, feature in (report.signature or {}).items():
        if feature.value is not None:
            found[name] = (feature.value, "1")
    if report.probability is not None:
        found["probability"] = (report.probability.value, "1")
    return found
