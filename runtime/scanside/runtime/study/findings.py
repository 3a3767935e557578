"""A study's result → what its structured report says, in order. What is absent is a sentence, never a number."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from importlib.metadata import version

from scanside.runtime.bundle import Bundle
from scanside.runtime.dicom.codes import Code, anatomic_region, own_code
from scanside.runtime.dicom.feature_codes import PERCENT, feature_number
from scanside.runtime.dicom.report_codes import (
    ABSENT,
    COMMENT,
    DIAMETER,
    MM,
    MM3,
    STATUS,
    STATUSES,
    VOLUME,
    no_lesion,
)
from scanside.runtime.dicom.sr import Evaluation, LesionGroup, Number, Report, Text
from scanside.runtime.radiomics.config import RadiomicsConfig, load_config
from scanside.runtime.radiomics.names import sequence_of
from scanside.runtime.report import RESEARCH
from scanside.runtime.stages.lesions import Lesion
from scanside.runtime.study.names import spoken
from scanside.runtime.study.prior import Prior, Size, size_words
from scanside.runtime.study.records import StudyResult

REASON = own_code("REASON", "Reason of the status")
NAMED = own_code("NAMED", "Class named by the algorithm")
CLASS = own_code("CLASS", "Class that the probability is of")
LOW = own_code("PROBABILITY-LOW", "Probability, lower end of its interval")
HIGH = own_code("PROBABILITY-HIGH", "Probability, upper end of its interval")
CALIBRATION = own_code("CALIBRATION", "Calibration of the probability")
DISTANCE = own_code("DISTANCE", "Distance from the training cohort relative to the limit")
MODEL = own_code("MODEL", "Model that answered")
QUALITY: Code = ("130549", "DCM", "Imaging Study Quality")
PROBABILITY: Code = ("122157", "DCM", "Probability")
"""Not 111047 `Probability of cancer`: the classes are one cancer of the pancreas and everything else, which may be
another cancer. The class stands in a modifier."""

_UNSUITABLE = own_code("NOT-SUITABLE", "Not suitable as input of this algorithm")
_CLASSES: dict[str, Code] = {"PDAC": ("700423003", "SCT", "Adenocarcinoma of pancreas")}

Segment = tuple[tuple[str, str], tuple[str, str, int], str]
"""Tracking identifier and UID; SOP class, SOP instance and number of the segment; Series UID of the images."""


@dataclass(frozen=True)
class Beside:
    """An earlier result, and what a report needs to put it beside its own.

    Attributes:
        day: Of the study that is reported.
        uids: Role → tracking UID of the earlier lesion.
    """

    prior: Prior
    day: date
    uids: Mapping[str, str]


def report_of(
    result: StudyResult,
    bundle: Bundle,
    segments: Mapping[tuple[str, int], Segment],
    trackings: Mapping[tuple[str, int], tuple[str, str]],
    beside: Beside | None = None,
) -> Report:
    """The report of a study. One of unsuitable input says so and why, and measures nothing.

    Args:
        segments: (Role, number of the lesion) → its segment, where a Segmentation was written.
        trackings: The same for all lesions that have a group.
        beside: An earlier result of the patient.
    """
    evaluations: list[Evaluation] = [(STATUS, STATUSES[result.status])]
    if result.status == "unsuitable input":
        evaluations.append((QUALITY, _UNSUITABLE))
    numbers, texts = _probability(result, evaluations)
    suitable = result.status != "unsuitable input"
    groups = _lesions(result, bundle, segments, trackings, texts)
    if beside is not None and suitable:
        groups = (*(replace(one, time_point=(beside.day, 2)) for one in groups), *_earlier(beside))
        texts += _compared(result, beside)
    texts += [(COMMENT, f"Warning: {tidy(warning, result)}") for warning in result.warnings]
    return Report(
        evaluations=tuple(evaluations),
        numbers=tuple(numbers),
        texts=tuple((concept, spoken(words)) for concept, words in (*_notices(result, bundle), *texts)),
        lesions=tuple(_spoken(group) for group in groups),
        site=region_of(bundle) if suitable else None,
        parameters=(
            f"bundle_sha256={bundle.sha256}",
            f"scanside={version('scanside')}",
            *((f"device={result.device.obtained}",) if result.device else ()),
            *(("synthetic=true",) if bundle.manifest.synthetic else ()),
        ),
    )


def _spoken(group: LesionGroup) -> LesionGroup:
    return replace(group, texts=tuple((concept, spoken(words)) for concept, words in group.texts))


def region_of(bundle: Bundle) -> Code | None:
    """The organ that a bundle is about, by the words of its labels, name, use and classes."""
    manifest = bundle.manifest
    labels = [name for segmenter in manifest.segmenters.values() for name in segmenter.plan.labels.names]
    classes = [manifest.positive] if manifest.positive else []
    return anatomic_region([*labels, manifest.name, manifest.intended_use, *classes])


def tidy(words: str, result: StudyResult) -> str:
    """A sentence without folders of this machine: a path is no business of an archive's."""
    if result.study is not None and words.startswith(start := str(result.study.path)):
        words = f"The study{words.removeprefix(start)}"
    return re.sub(r"(?<![\w.:])/(?:[\w.+-]+/)+([\w.+-]+)", r"\1", words)


def _notices(result: StudyResult, bundle: Bundle) -> list[Text]:
    notices = [(COMMENT, f"RESEARCH USE ONLY. {RESEARCH}")]
    if bundle.manifest.synthetic:
        notices.append(
            (
                COMMENT,
                "SYNTHETIC: this model was trained on a phantom, not on patients; its results mean nothing.",
            )
        )
    if result.reason is not None:
        notices.append((REASON, tidy(result.reason, result)))
    return notices


def _probability(result: StudyResult, evaluations: list[Evaluation]) -> tuple[list[Number], list[Text]]:
    """Probability with its interval, or that there is none; the class named goes to the evaluations."""
    made = result.classification
    numbers: list[Number] = []
    if made is not None and made.distance is not None:
        numbers.append(Number(DISTANCE, made.distance, ("1", "UCUM", "no units")))
    if made is None or made.probability is None:
        return numbers, [(ABSENT, f"Probability: none is given (status: {result.status}).")]
    found = made.probability
    of = ((CLASS, _CLASSES.get(found.name) or own_code(found.name.upper(), found.name)),)
    for concept, value in ((PROBABILITY, found.value), (LOW, found.low), (HIGH, found.high)):
        numbers.append(Number(concept, 100 * value, PERCENT, of))
    named = found.predicted
    word = own_code("NONE", "no class is named") if named is None else own_code(named.upper(), named)
    evaluations.append((NAMED, word))
    return numbers, [(MODEL, made.model), (CALIBRATION, found.calibrated)]


def _lesions(
    result: StudyResult,
    bundle: Bundle,
    segments: Mapping[tuple[str, int], Segment],
    trackings: Mapping[tuple[str, int], tuple[str, str]],
    texts: list[Text],
) -> tuple[LesionGroup, ...]:
    """A group a lesion; features of roles without one, and roles without one, go to the study's texts.

    Of unsuitable input nothing is said to be a lesion; what could not be measured, and why, stays.
    """
    if not result.roles:
        return ()
    by_role = _features(result, bundle)
    groups = []
    for role, found in result.roles.items():
        numbers, absent = by_role.get(role, ([], []))
        if not found.lesions:
            texts.append((COMMENT, no_lesion(role)))
        if not found.lesions or result.status == "unsuitable input":
            texts += absent
            continue
        for lesion in found.lesions:
            key = (role, lesion.number)
            if key not in trackings:
                continue
            main = lesion.number == found.measured
            _, segment, series = segments.get(key, (None, None, ""))
            groups.append(
                LesionGroup(
                    tracking=trackings[key],
                    numbers=(*_sizes(lesion), *(numbers if main else ())),
                    texts=tuple(absent if main else ()),
                    segment=segment,
                    series_uid=series,
                )
            )
    return tuple(groups)


def _earlier(beside: Beside) -> tuple[LesionGroup, ...]:
    """The earlier lesions, each a group of the first point in time; nobody has said that it is the same lesion."""
    prior = beside.prior
    source = "" if prior.archive is None else f", as a report in the archive {prior.archive} states"
    words = (
        f"Measured on images of {prior.day.isoformat()} by {prior.algorithm}{source}. Whether it is the same lesion "
        "was not determined."
    )
    return tuple(
        LesionGroup(
            tracking=(f"{size.role} lesion of {prior.day.isoformat()}", beside.uids[size.role]),
            numbers=(
                Number(VOLUME, size.volume_ml * 1000, MM3),
                Number(DIAMETER, size.longest_diameter_mm, MM),
            ),
            texts=((COMMENT, words),),
            time_point=(prior.day, 1),
        )
        for size in prior.sizes
        if size.volume_ml is not None and size.longest_diameter_mm is not None
    )


def _compared(result: StudyResult, beside: Beside) -> list[Text]:
    """Both sizes in a sentence for each segmenter."""
    now, then = {size.role: size for size in measured_sizes(result)}, beside.prior
    other = (
        "" if then.same_algorithm else f" The earlier one was measured by another bundle, {then.algorithm}."
    )
    if then.archive is not None:
        other += f" It was read from a report in the archive {then.archive}."
    return [
        (
            COMMENT,
            f"{size.role}: {size_words(now[size.role])} on {beside.day.isoformat()}; "
            f"earlier, on {then.day.isoformat()}: {size_words(size)}.{other}",
        )
        for size in then.sizes
        if size.role in now
    ]


def measured_sizes(result: StudyResult) -> tuple[Size, ...]:
    """Of each segmenter, the lesion that was measured for the signature; where none was, the largest."""
    found = []
    for role, one in sorted(result.roles.items()):
        lesion = one.lesions[(one.measured or 1) - 1] if one.lesions else None
        found.append(
            Size(role, None, None)
            if lesion is None
            else Size(role, lesion.volume_ml, lesion.longest_diameter_mm)
        )
    return tuple(found)


def _sizes(lesion: Lesion) -> tuple[Number, ...]:
    return (
        Number(VOLUME, lesion.volume_ml * 1000, MM3),
        Number(DIAMETER, lesion.longest_diameter_mm, MM),
    )


@lru_cache(maxsize=2)
def _config(text: bytes) -> RadiomicsConfig:
    """How features are measured, read once: parsing YAML takes longer than all else in a report."""
    return load_config(text)


def _features(result: StudyResult, bundle: Bundle) -> dict[str, tuple[list[Number], list[Text]]]:
    """Values and absences of the signature, by the segmenter whose mask they were measured in."""
    assert bundle.manifest.radiomics is not None
    config = _config(bundle.read(bundle.manifest.radiomics))
    found: dict[str, tuple[list[Number], list[Text]]] = {}
    for name, feature in (result.features or {}).items():
        measured = config.sequences[sequence_of(name)]
        numbers, absent = found.setdefault(measured.role, ([], []))
        if feature.value is None:
            absent.append((ABSENT, f"{name}: {feature.reason}."))
        else:
            numbers.append(feature_number(name, feature.value, measured.normalise.method != "none"))
    return found
