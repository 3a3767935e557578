"""What `scanside segment` is asked for → its tasks; what makes no sense is refused here, before any computation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scanside.runtime.bundle import Bundle
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import InputError, OutputError, UsageError
from scanside.runtime.images.cases import CaseInput, find_cases
from scanside.runtime.images.files import ALL_ENDINGS, ENDINGS, READER_ENDINGS, atomic_write, ending_of
from scanside.runtime.images.picture_cases import find_pictures
from scanside.runtime.labels import Roi, choose_roi
from scanside.runtime.options import Options
from scanside.runtime.outputs import DICOM_SEG, SLICER_SEG, Task
from scanside.runtime.plan import Reader
from scanside.runtime.report import RESEARCH
from scanside.runtime.run import CaseResult
from scanside.runtime.statistics import CaseStatistics, StatisticsReport, statistics_table

FORMATS = (*ENDINGS, SLICER_SEG, DICOM_SEG)


@dataclass(frozen=True)
class Wanted:
    """What a person wants beside masks.

    Attributes:
        ending: Of the masks; None for the input's.
        statistics: The table's file.
    """

    ending: str | None = None
    probabilities: bool = False
    roi: tuple[str, ...] | None = None
    preview: bool = False
    label_names: bool = False
    statistics: Path | None = None


def find_tasks(
    bundle: Bundle, options: Options, inputs: list[Path], out: Path, wanted: Wanted
) -> tuple[list[Task], Roi | None]:
    """The tasks, and the labels that their masks keep.

    Raises:
        UsageError: If options contradict each other, the model, or the cases.
        InputError: If there is no case.
        ExtraMissingError: If a picture is wanted and cannot be drawn here.
    """
    plan = bundle.manifest.segmenters[bundle.role(options.role)].plan
    roi = None if wanted.roi is None else choose_roi(plan.labels, wanted.roi)
    if roi is not None and wanted.probabilities:
        raise UsageError("--save-probabilities holds every label and --roi does not; leave one of them out.")
    if wanted.preview:
        require_extra("dicom", "PIL")
    if plan.reader == "itk":
        cases = find_cases(inputs, len(plan.channels), bundle.manifest.file_ending)
    else:
        require_extra("pictures")
        cases = find_pictures(inputs, bundle.manifest.file_ending, plan.reader)
    if not cases:
        raise InputError("There is no case in the input.")
    _check_format(out, wanted.ending, len(cases), plan.reader)
    tasks = []
    for case in cases:
        mask = out if is_file(out) else out / f"{case.name}{wanted.ending or _native_ending(case)}"
        stem = mask.name.removesuffix(SLICER_SEG).removesuffix(ending_of(mask, ALL_ENDINGS) or DICOM_SEG)
        tasks.append(
            Task(
                case,
                mask,
                mask.with_name(f"{stem}.npz") if wanted.probabilities else None,
                roi,
                mask.with_name(f"{stem}_preview.png") if wanted.preview else None,
                wanted.label_names,
                wanted.statistics is not None,
                plan.reader == "tiff",
            )
        )
    return tasks, roi


def _check_format(out: Path, ending: str | None, cases: int, reader: Reader) -> None:
    formats = FORMATS if reader == "itk" else READER_ENDINGS[reader]
    if ending is not None and ending not in formats:
        raise UsageError(f"There is no format '{ending}' for this model; choose one of {', '.join(formats)}.")
    named = is_file(out)
    if named and not out.name.lower().endswith(formats):
        raise UsageError(f"{out} is no mask of this model; choose one of {', '.join(formats)}, or a folder.")
    if named and cases > 1:
        raise UsageError(f"{out} is one file, but there are {cases} cases; give a folder with -o.")
    if named and ending is not None and not out.name.lower().endswith(ending):
        raise UsageError(f"{out} does not end in the --format '{ending}'; leave one of them out.")
    if not named and out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file without an image ending; give a folder or an image file with -o.")


def is_file(out: Path) -> bool:
    """Whether `-o` names one mask, not a folder."""
    return (ending_of(out, ALL_ENDINGS) is not None or out.suffix == DICOM_SEG) and not out.is_dir()


def _native_ending(case: CaseInput) -> str:
    first = case.channels[0]
    return (ending_of(first, ALL_ENDINGS) if not first.is_dir() else None) or DICOM_SEG


def check_statistics_file(path: Path | None, *, replace: bool) -> None:
    """See that a table may be written there.

    Raises:
        UsageError: If it is neither CSV nor JSON.
        OutputError: If it is there already.
    """
    if path is None:
        return
    if path.suffix.lower() not in (".csv", ".json"):
        raise UsageError(f"--statistics {path} ends neither in .csv nor in .json.")
    if path.is_dir() or (path.exists() and not replace):
        raise OutputError(f"{path} exists already; replace it with --overwrite, or choose another name.")


def write_statistics(path: Path, bundle: str, results: Sequence[CaseResult]) -> None:
    """Write what was measured, as the file's ending says.

    Args:
        bundle: sha256 of the bundle.

    Raises:
        OutputError: If it cannot be written.
    """
    cases = tuple(CaseStatistics(name=one.name, status=one.status, labels=one.statistics) for one in results)
    if path.suffix.lower() == ".csv":
        text = statistics_table(cases)
    else:
        text = StatisticsReport(notice=RESEARCH, bundle_sha256=bundle, cases=cases).text()
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode(errors="surrogateescape"))
