"""The report as one HTML file: no script, no link to anything outside, figures inside."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scanside.training.evaluation import records
from scanside.training.evaluation.drawing import Picture
from scanside.training.evaluation.figures_classification import honest_part
from scanside.training.evaluation.predictions import SHARED
from scanside.training.evaluation.record_parts import Auc, Estimate
from scanside.training.evaluation.records_segmentation import SegmentationRow
from scanside.training.evaluation.strata import ALL, HELD_OUT, SCANNER_GROUP, SIZES
from scanside.training.evaluation.study import (
    AUC,
    AUC_INTERVAL,
    CITATION,
    DICE,
    PATIENTS,
    ROLE_TITLES,
    model_title,
)
from scanside.training.experiment import PARTS

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATE = Path(__file__).with_name("report.html.j2")
NONE = "–"


def render(report: records.Report, figures: Sequence[Picture]) -> str:
    """The report as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        estimate=estimate,
        interval=interval,
        area=area,
        difference=difference,
        pvalue=pvalue,
        duration=duration,
        model=model_title,
    )
    found = report.classification
    return environment.get_template(TEMPLATE.name).render(
        report=report,
        kind="phantom (synthetic)" if report.synthetic else "this cohort",
        figures={picture.name: picture for picture in figures},
        sources={
            picture.name: f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"
            for picture in figures
        },
        glance=glance(report),
        parts=PARTS,
        sizes=SIZES,
        titles=ROLE_TITLES,
        citation=CITATION,
        study=PATIENTS,
        auc_interval=AUC_INTERVAL,
        honest=honest_part(found) if found else None,
        main={result.part: result for result in found.models if result.main} if found else {},
    )


def glance(report: records.Report) -> list[dict[str, Any]]:
    """The rows of the first table: one quantity, ours by part, and the study's training and test figure."""
    study = {(role, part, size): value for role, part, size, value in DICE}
    rows: list[dict[str, Any]] = []
    masks: dict[tuple[str, str, str, str], SegmentationRow] = {
        (row.role, row.part, row.scanners, row.size): row
        for row in (report.segmentation.rows if report.segmentation else ())
    }
    for size in (ALL, SIZES[0]):
        for role, title in ROLE_TITLES.items():
            found = [
                masks.get((role, part, scanners, size))
                for part, scanners in (*((part, ALL) for part in PARTS), ("test", HELD_OUT))
            ]
            rows.append(
                {
                    "name": f"Dice, {title}" + ("" if size == ALL else f", lesions {size}"),
                    "ours": [(row.dice, row.patients) if row else None for row in found],
                    "study": [
                        study[role, part, size] if report.published else None
                        for part in ("resubstitution", "test")
                    ],
                }
            )
    return rows + _areas(report)


def _areas(report: records.Report) -> list[dict[str, Any]]:
    """The study's area is that of its nine features: beside it stands ours of the features alone.

    What the bundle answers takes more, such as age and sex, and has nothing beside it.
    """
    found = report.classification.models if report.classification else ()
    models = {result.model for result in found}
    main = next((result.model for result in found if result.main), None)
    published = [dict(AUC)[part] if report.published else None for part in ("resubstitution", "test")]
    own = main if SHARED not in models else SHARED
    wanted = [(own, "features alone" if main != own else "", published)]
    if main != own:
        wanted.append((main, "as deployed", [None, None]))
    return [
        {
            "name": f"AUC, {_question(report)}" + (f", {words}" if words else ""),
            "ours": [*(_auc(report, model, part) for part in PARTS), _held_out_auc(report, model)],
            "study": study,
        }
        for model, words, study in wanted
    ]


def _question(report: records.Report) -> str:
    if report.published or report.classification is None:
        return "PDAC against PNEN and SPN" if report.published else "no classifier"
    return f"{report.classification.positive} against {report.classification.negative}"


def number(value: float | None, digits: int = 2) -> str:
    """A number, or a dash."""
    if value is None:
        return NONE
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def estimate(value: Estimate | None, digits: int = 2, scale: float = 1.0) -> "Markup":
    """A value with its interval in small print."""
    from markupsafe import Markup

    if value is None or value.value is None:
        return Markup(NONE)
    text = Markup("{}").format(number(value.value * scale, digits))
    if value.interval:
        ends = value.interval[0] * scale, value.interval[1] * scale
        text += Markup(' <span class="ci">({})</span>').format(interval(ends, digits))
    return text


def interval(ends: tuple[float, float], digits: int = 2) -> str:
    """0.70–0.88, or −0.1 to 0.2: a dash after a minus is hard to read."""
    low, high = (number(end, digits) for end in ends)
    return f"{low} to {high}" if min(ends) < 0 else f"{low}–{high}"


def area(value: Auc | None, which: str = "delong") -> "Markup":
    """An AUC with one of its intervals."""
    if value is None:
        return estimate(None)
    return estimate(Estimate(value=value.value, interval=getattr(value, which)))


def difference(value: records.Comparison | None) -> "Markup":
    """The difference of two areas with its interval."""
    if value is None:
        return estimate(None)
    return estimate(Estimate(value=value.difference, interval=value.interval))


def pvalue(value: float | None) -> str:
    """A p value; below 0.001 it only says so."""
    return "< 0.001" if value is not None and value < 0.001 else number(value, 3)


def duration(seconds: float | None) -> str:
    """Seconds as a person says them."""
    if seconds is None:
        return NONE
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _auc(report: records.Report, model: str | None, part: str) -> tuple[Estimate, int] | None:
    for result in report.classification.models if report.classification else ():
        if result.model == model and result.part == part and result.auc.value is not None:
            return Estimate(value=result.auc.value, interval=result.auc.delong), result.auc.patients
    return None


def _held_out_auc(report: records.Report, model: str | None) -> tuple[Estimate, int] | None:
    for result in report.classification.models if report.classification else ():
        for group in result.subgroups if result.model == model and result.part == "test" else ():
            if (group.property, group.value) == (
                SCANNER_GROUP,
                HELD_OUT,
            ) and group.auc.value is not None:
                return Estimate(value=group.auc.value, interval=group.auc.delong), group.auc.patients
    return None
