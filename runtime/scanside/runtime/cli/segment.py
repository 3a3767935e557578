"""`scanside segment`: images in, masks out."""

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.cli import segment_arguments as given
from scanside.runtime.cli.arguments import (
    BundleFolder,
    Device,
    EngineAuthority,
    EngineSeconds,
    EngineUrl,
    Folds,
    NoMirroring,
    OnRejection,
    Precision,
    Role,
    SkipEmptyTiles,
    StepSize,
    Threads,
    chosen_engine,
    names,
    rejection,
)
from scanside.runtime.cli.batch import Batch, JsonLines, Many, PartOption, RayOption, Resume, Told, divided
from scanside.runtime.cli.main import require_extra
from scanside.runtime.cli.segment_tasks import (
    Wanted,
    check_statistics_file,
    find_tasks,
    is_file,
    write_statistics,
)
from scanside.runtime.errors import UsageError
from scanside.runtime.images.files import ALL_ENDINGS, TIFF_ENDINGS, ending_of
from scanside.runtime.labels import Roi
from scanside.runtime.ledger import Ledger, parse_part, recipe_of
from scanside.runtime.mask_steps import MaskSteps
from scanside.runtime.options import Options
from scanside.runtime.outputs import Task, write_folder_files
from scanside.runtime.preload import imported_ahead
from scanside.runtime.report import RESEARCH, segment_report
from scanside.runtime.run import CaseResult, exit_code

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def segment(
    bundle: BundleFolder,
    inputs: given.Inputs,
    out: given.Out,
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
    role: Role = None,
    threads: Threads = None,
    ending: given.Format = None,
    save_probabilities: given.SaveProbabilities = False,
    roi: given.KeptLabels = None,
    statistics: given.Statistics = None,
    preview: given.Preview = False,
    label_names: given.LabelNames = False,
    part: PartOption = None,
    ray: RayOption = None,
    resume: Resume = False,
    overwrite: given.Overwrite = False,
    as_json: given.AsReport = False,
    json_lines: JsonLines = False,
) -> int:
    """Segment images with a bundle. Masks lie exactly on the grid of their image.

    Examples:

      scanside segment pancreas.bundle scan.nii.gz -o masks

      scanside segment pancreas.bundle dicom_series_folder -o mask.dcm --json

      scanside segment pancreas.bundle imagesTs -o masks --resume --part 3/8

      scanside segment pancreas.bundle imagesTs -o masks --roi liver --roi spleen --statistics sizes.csv --preview

      scanside segment pancreas.bundle imagesTs -o masks --engine triton://server:8000/pancreas
    """
    _refuse(out, ray, as_json=as_json, json_lines=json_lines)
    options = Options(
        device=device, precision=precision, mirroring=not no_mirroring, step_size=step_size,
        skip_empty_tiles=skip_empty_tiles, folds=names(folds), role=role, threads=threads,
        on_rejection=rejection(on_rejection), engine=chosen_engine(engine, engine_authority, engine_seconds),
    )  # fmt: skip
    kept = None if roi is None else tuple(roi)
    wanted = Wanted(ending, save_probabilities, kept, preview, label_names, statistics)
    many = Many(part, resume, json_lines, overwrite, ray)
    return _segment(bundle, options, inputs, out, wanted, many, as_json=as_json)


def _refuse(out: Path, ray: str | None, *, as_json: bool, json_lines: bool) -> None:
    """Options that contradict each other."""
    if as_json and json_lines:
        raise UsageError("--json and --json-lines both write to stdout; choose one.")
    if ray is not None:
        require_extra("ray")
        if as_json or is_file(out):
            raise UsageError(
                "--ray writes a folder of masks and lines, not one file or report; see `scanside merge`."
            )


def _segment(
    bundle: Path,
    options: Options,
    inputs: list[Path],
    out: Path,
    wanted: Wanted,
    many: Many,
    *,
    as_json: bool,
) -> int:
    """Find the tasks, do what is left of them here or on Ray, and measure; returns the exit code."""
    if options.engine is not None and many.ray is not None:
        raise UsageError("An engine computes without Ray; leave out --ray.")
    check_statistics_file(wanted.statistics, replace=many.overwrite or many.resume)
    opened = open_bundle(bundle)
    chosen = parse_part(many.part)
    tasks, kept = find_tasks(opened, options, inputs, out, wanted)
    if is_file(out) and (many.resume or chosen):
        raise UsageError(
            f"--resume and --part are for a folder of masks, but {out} is one file; give a folder with -o."
        )
    role = opened.role(options.role)
    made_by = recipe_of("segment", role, options, kept, label_names=wanted.label_names)
    ledger = Ledger(None if is_file(out) else out, opened.sha256, made_by, chosen)
    work = divided(tasks, ledger, chosen, resume=many.resume, overwrite=many.overwrite)
    told: Told = "nothing" if as_json else "lines" if many.json_lines else "paths"
    batch = Batch(work, ledger, told, _sentence)
    if not work.to_do and not as_json:
        results = batch.finished()
    elif many.ray is not None:
        write_folder_files(opened.manifest.segmenters[role].plan, opened.manifest.name, work.to_do)
        to_do = [task.absolute() for task in work.to_do]
        results = batch.run_on_ray(many.ray, "masks", opened, options, to_do)
    else:
        results = _run(opened, options, batch, kept, as_json=as_json)
    if wanted.statistics is not None:
        write_statistics(wanted.statistics, opened.sha256, results)
    return exit_code(results)


def _run(
    bundle: Bundle, options: Options, batch: Batch[Task], roi: Roi | None, *, as_json: bool
) -> list[CaseResult]:
    """Compute here, and print the report on stdout where it is wanted."""
    tasks = batch.work.to_do
    with imported_ahead("scipy.ndimage", *_reading(tasks)):
        opened = open_segmenter(bundle, options, lambda words: print(f"{words} …", file=sys.stderr))
    with opened as segmenter:
        write_folder_files(segmenter.plan, bundle.manifest.name, tasks)
        results = batch.run(MaskSteps(segmenter, hashed=True))
        alone = next((f.other for f in bundle.manifest.fusions if f.role == segmenter.role), None)
        said = _summary(segmenter.device.words, segmenter.options.approximations, alone)
        print(said, file=sys.stderr)
        if as_json:
            print(segment_report(segmenter, results, roi).text(), end="")
    return results


def _reading(tasks: Sequence[Task]) -> set[str]:
    """The modules that read the images and write the masks."""
    files = [path for task in tasks for path in (*task.case.channels, task.mask)]
    return {_reading_one(path) for path in files}


def _reading_one(path: Path) -> str:
    if ending_of(path):
        return "SimpleITK"
    picture = ending_of(path, ALL_ENDINGS)
    return (
        "tifffile" if picture in TIFF_ENDINGS else "PIL.Image" if picture else "scanside.runtime.dicom.read"
    )


def _sentence(result: CaseResult) -> str:
    if result.status != "ok":
        return f"{result.name}: {result.status}: {result.reason}"
    sizes, unit = (result.labels, "ml") if result.areas_mm2 is None else (result.areas_mm2, "mm²")
    labels = ", ".join(f"{name} {size:.3g} {unit}" for name, size in (sizes or {}).items())
    seconds = f"{result.name}: {sum(result.stages.values()) / 1000:.1f} s"
    return (
        f"{seconds}; {labels}" if sizes is not None else f"{seconds}; no sizes, for the file says no spacing"
    )


def _summary(device: str, approximations: tuple[str, ...], alone: str | None = None) -> str:
    """What is said at the end; `alone` is the segmenter that decides a study's mask together with this one."""
    how = f"approximate: {', '.join(approximations)}" if approximations else "exact recipe"
    if alone is not None:
        how += f"; these are masks of one sequence alone, where a study's are decided together with {alone}"
    return f"Device {device}; {how}. {RESEARCH}"
