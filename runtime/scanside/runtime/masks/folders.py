"""Files and folders of masks → pairs by case name → one report."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.images.files import ALL_ENDINGS, READER_ENDINGS, ending_of
from scanside.runtime.images.names import files_in, stem
from scanside.runtime.images.read import read_image
from scanside.runtime.masks.compare import as_labels, compare
from scanside.runtime.masks.report import CaseScores, LabelScores, MasksReport, foreground_dice, mean_scores
from scanside.runtime.report import RESEARCH
from scanside.runtime.volume import Measure, Volume


@dataclass(frozen=True)
class Pairs:
    """Masks matched by case name.

    Attributes:
        found: Case → prediction and reference.
        without_prediction, without_reference: Cases that only one side has.
    """

    found: Mapping[str, tuple[Path, Path]]
    without_prediction: tuple[str, ...] = ()
    without_reference: tuple[str, ...] = ()


@dataclass(frozen=True)
class Named:
    """What is compared.

    Attributes:
        labels: Name → the integers that are it; None: every label that occurs, under its number.
        ignore: Voxels with this label in the reference count nowhere.
    """

    labels: Mapping[str, tuple[int, ...]] | None = None
    ignore: int | None = None


def pair(prediction: Path, reference: Path) -> Pairs:
    """Match two folders of masks by case name; two files are one pair, whatever they are called.

    Raises:
        UsageError: If one is a file and the other a folder, or a case occurs twice.
        InputError: If one does not exist, or no case is on both sides.
    """
    for path in (prediction, reference):
        if not path.exists():
            raise InputError(f"There is no file or folder {path}; check the path.")
    if prediction.is_dir() != reference.is_dir():
        raise UsageError(
            f"{prediction} and {reference} are a file and a folder; give two files or two folders."
        )
    if not prediction.is_dir():
        return Pairs({stem(prediction): (prediction, reference)})
    predictions, references = _by_case(prediction), _by_case(reference)
    found = {name: (predictions[name], references[name]) for name in predictions if name in references}
    if not found:
        raise InputError(
            f"{prediction} and {reference} have no case in common; masks are matched by file name."
        )
    return Pairs(
        found,
        tuple(name for name in references if name not in predictions),
        tuple(name for name in predictions if name not in references),
    )


def read_labels(file: Path) -> Named:
    """Labels, regions and the ignore label of nnU-Net's dataset.json.

    Raises:
        InputError: If it is not that.
    """
    try:
        given = json.loads(file.read_text(encoding="utf-8"))["labels"]
        named = {str(name): _integers(value) for name, value in given.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} is no dataset.json with labels; give that of the model, or leave --labels out."
        ) from error
    ignore = named.pop("ignore", (None,))[0]
    return Named({name: values for name, values in named.items() if values != (0,)}, ignore)


def evaluate_masks(
    pairs: Pairs, named: Named, tolerance_mm: float, advance: Callable[[str], None] = lambda _: None
) -> MasksReport:
    """Compare all pairs, one at a time; one that is refused does not stop the others.

    Args:
        advance: Told the name of each case that is done.
    """
    cases: list[CaseScores] = []
    measures: dict[str, Measure | None] = {}
    for name, (prediction, reference) in pairs.found.items():
        reason, rows = None, None
        try:
            rows, measures[name] = _measured(prediction, reference, named, tolerance_mm)
        except InputError as error:
            reason = str(error)
        cases.append(
            CaseScores(
                name=name,
                prediction=str(prediction),
                reference=str(reference),
                status="ok" if reason is None else "refused",
                reason=reason,
                labels=rows,
            )
        )
        advance(name)
    names = tuple(named.labels) if named.labels is not None else _numbers(cases)
    whole = tuple(_with_all(case, names, measures.get(case.name)) for case in cases)
    means = mean_scores(whole, names)
    return MasksReport(
        notice=RESEARCH,
        tolerance_mm=tolerance_mm,
        cases=whole,
        mean=means,
        foreground_dice=foreground_dice(means),
        without_prediction=pairs.without_prediction,
        without_reference=pairs.without_reference,
    )


def _measured(
    prediction: Path, reference: Path, named: Named, tolerance: float
) -> tuple[tuple[LabelScores, ...], Measure | None]:
    masks = [as_labels(_read(path), path.name) for path in (prediction, reference)]
    occur = masks[0].values | masks[1].values
    labels = named.labels if named.labels is not None else {str(v): (v,) for v in sorted(occur)}
    known = {value for values in labels.values() for value in values} | {named.ignore}
    if unknown := sorted(occur - known):
        raise InputError(
            f"{prediction.name} or its reference holds label {unknown[0]}, which --labels does not name; correct one "
            "of them."
        )
    try:
        return compare(masks[0], masks[1], labels, tolerance, named.ignore), masks[1].geometry.measure
    except InputError as error:
        raise InputError(f"{prediction.name}: {error}.") from error


def _read(path: Path) -> Volume:
    if ending_of(path, READER_ENDINGS["picture"]):
        from scanside.runtime.images.pictures import read_flat_or_stack

        return read_flat_or_stack(path)
    return read_image(path)


def _numbers(cases: list[CaseScores]) -> tuple[str, ...]:
    return tuple(sorted({row.label for case in cases for row in case.labels or ()}, key=int))


def _with_all(case: CaseScores, names: tuple[str, ...], measure: Measure | None) -> CaseScores:
    """The case with a row for every label; one that neither of its masks has is absent there."""
    if case.labels is None:
        return case
    rows = {row.label: row for row in case.labels}
    ml, mm2 = (0.0 if measure == unit else None for unit in ("ml", "mm2"))
    return case.model_copy(
        update={"labels": tuple(rows.get(name) or _absent(name, ml, mm2) for name in names)}
    )


def _absent(name: str, size: float | None, area: float | None) -> LabelScores:
    return LabelScores(
        label=name,
        dice=None,
        surface_dice=None,
        hd95_mm=None,
        prediction_voxels=0,
        reference_voxels=0,
        prediction_ml=size,
        reference_ml=size,
        prediction_mm2=area,
        reference_mm2=area,
    )


def _by_case(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in (one for one in files_in(folder) if ending_of(one, ALL_ENDINGS)):
        name = stem(path)
        if name in found:
            raise UsageError(
                f"{found[name].name} and {path.name} in {folder} are both case {name}; remove one."
            )
        found[name] = path
    return found


def _integers(value: object) -> tuple[int, ...]:
    members = value if isinstance(value, list) else [value]
    if not members or not all(type(member) is int for member in members):
        raise TypeError(f"{value!r} is no label")
    return tuple(members)
