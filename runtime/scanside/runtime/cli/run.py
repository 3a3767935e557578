"""`scanside run`: a study in; masks, lesions, signature, probability and pictures out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.cli import run_arguments as given
from scanside.runtime.cli.arguments import (
    Device,
    EngineAuthority,
    EngineSeconds,
    EngineUrl,
    Folds,
    NoMirroring,
    OnRejection,
    Precision,
    SkipEmptyTiles,
    StepSize,
    Threads,
    chosen_engine,
    names,
    rejection,
)
from scanside.runtime.cli.batch import JsonLines, Many, PartOption, RayOption, Resume
from scanside.runtime.cli.main import require_extra
from scanside.runtime.cli.progress import ProgressBars
from scanside.runtime.cli.run_studies import run_studies
from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.events import CaseFailed, CaseFinished, StageFinished, StageStarted
from scanside.runtime.options import Options

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from scanside.runtime.study.records import StudyInput, StudyResult
    from scanside.runtime.study.report import StudyReport

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    bundle: given.Bundle,
    study: given.Study,
    out: given.Out,
    t2w: given.T2w = None,
    dwi: given.Dwi = None,
    adc: given.Adc = None,
    series: given.Series = None,
    device: Device = "auto",
    engine: EngineUrl = None,
    engine_authority: EngineAuthority = None,
    engine_seconds: EngineSeconds = None,
    precision: Precision = "auto",
    on_rejection: OnRejection = None,
    no_mirroring: NoMirroring = False,
    skip_empty_tiles: SkipEmptyTiles = False,
    step_size: StepSize = 0.5,
    folds: Folds = None,
    threads: Threads = None,
    studies: given.Studies = False,
    part: PartOption = None,
    ray: RayOption = None,
    resume: Resume = False,
    json_lines: JsonLines = False,
    overwrite: given.Overwrite = False,
    as_json: given.AsResult = False,
) -> int:
    """Run a study through a bundle: masks, lesion table, signature, probability with its status, pictures.

    OUT gets <segmenter>_mask.nii.gz (and .dcm, DICOM SEG, for DICOM input), <segmenter>_overlay.png and result.json.
    Status is ok, indeterminate, no lesion segmented (not: negative) or unsuitable input (exit code 5).

    Examples:

      scanside run pancreas.bundle study_folder -o result

      scanside run pancreas.bundle study_folder -o result --t2w study_folder/series5 --json

      scanside run pancreas.bundle study_folder -o result --series dwi=1.2.840.99.7#b800

      scanside run pancreas.bundle folder_of_studies -o results --studies --resume --part 3/8
    """
    require_extra("study", "radiomics", "ruamel", "pydicom", "PIL")
    options = Options(
        device=device, precision=precision, mirroring=not no_mirroring, step_size=step_size,
        skip_empty_tiles=skip_empty_tiles, folds=names(folds), threads=threads,
        on_rejection=rejection(on_rejection), engine=chosen_engine(engine, engine_authority, engine_seconds),
    )  # fmt: skip
    images = {name: path for name, path in (("t2w", t2w), ("dwi", dwi), ("adc", adc)) if path is not None}
    chosen = _chosen(series or [])
    _refuse_missing(study, *images.values())
    many = Many(part, resume, json_lines, overwrite, ray)
    _refuse_mixture(study, studies, many, alone=bool(images or chosen or as_json))
    if studies:
        return run_studies(bundle, options, study, out, many)
    opened = open_bundle(bundle)
    return _run_one(opened, options, study, out, images, chosen, overwrite=overwrite, as_json=as_json)


def _refuse_missing(*paths: Path) -> None:
    for path in paths:
        if not path.exists():
            raise InputError(f"There is no file or folder {path}; check the path.")


def _refuse_mixture(study: Path, studies: bool, many: Many, *, alone: bool) -> None:
    """Refuse options of one study where there are many, and those of many where there is one."""
    if studies and alone:
        raise UsageError(
            "--studies computes many studies; --t2w, --dwi, --adc, --series and --json are for one."
        )
    if not studies and (wrong := many.given):
        raise UsageError(f"{wrong} is for many studies; add --studies where {study} is a folder of them.")


def _run_one(
    bundle: Bundle,
    options: Options,
    study: Path,
    out: Path,
    given: dict[str, Path],
    chosen: dict[str, str],
    *,
    overwrite: bool,
    as_json: bool,
) -> int:
    from scanside.runtime.study.compose import run_report
    from scanside.runtime.study.summary import summary
    from scanside.runtime.study.write import refuse_existing, write_result

    refuse_existing(out, bundle.manifest.final_roles, overwrite)
    with ProgressBars(1) as bars:
        result, channels = _compute(bundle, options, study, given, chosen, bars)
        name = study.resolve().name

        def document(final: "StudyResult", outputs: list[Path]) -> "StudyReport":
            return run_report(final, bundle, options, [study, *given.values()], outputs)

        evidence = _evidence([study, *given.values()]) if result.study is None else ()
        report = write_result(result, bundle, channels, out, document, bars, evidence)
        bars(CaseFailed(name, result.reason or "") if result.exit_code else CaseFinished(name))
    for line in summary(report, files=as_json):
        print(line, file=sys.stderr)
    if as_json:
        print(report.text(), end="")
    else:
        print("\n".join(report.outputs))
    return result.exit_code


def _chosen(series: list[str]) -> dict[str, str]:
    """Sequence → key of its series, from `SEQUENCE=UID`; `read_study` checks both."""
    chosen: dict[str, str] = {}
    for words in series:
        name, _, key = (part.strip() for part in words.partition("="))
        if not (name and key):
            raise UsageError(f"--series {words} names no series; write it as --series dwi=SeriesInstanceUID.")
        if name in chosen:
            raise UsageError(f"{name} is named by two series; name it once.")
        chosen[name] = key
    return chosen


def _compute(
    bundle: Bundle,
    options: Options,
    path: Path,
    given: dict[str, Path],
    series: dict[str, str],
    bars: ProgressBars,
) -> "tuple[StudyResult, dict[str, tuple[str, ...]]]":
    """Read the study first: one that is refused needs no network."""
    from scanside.runtime.study.pipeline import StudyRunner, read_recipe, refused

    recipe = read_recipe(bundle)
    channels = dict(recipe.channels)
    try:
        study = _read(path, recipe.needed, given, series, bars)
    except InputError as error:
        return refused(str(error)), channels
    with StudyRunner(bundle, options, lambda words: print(f"{words} …", file=sys.stderr)) as runner:
        return runner.run(study, bars), channels


def _evidence(paths: list[Path]) -> "tuple[Dataset, ...]":
    """What the report of a refused study refers to; none where it is not DICOM."""
    from scanside.runtime.dicom.evidence import read_evidence

    return read_evidence(paths)


def _read(
    path: Path, needed: tuple[str, ...], given: dict[str, Path], series: dict[str, str], bars: ProgressBars
) -> "StudyInput":
    from scanside.runtime.study.read import read_study

    name = path.resolve().name
    bars(StageStarted(name, "read"))
    study = read_study(path, needed, given, series)
    bars(StageFinished(name, "read", study.read_ms))
    return study
