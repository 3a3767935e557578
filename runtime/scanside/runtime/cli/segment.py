"""`scanside segment`: images in, masks out."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from scanside.runtime.ahead import imported_ahead
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.cli.arguments import (
    Device,
    Folds,
    NoMirroring,
    OnRejection,
    Precision,
    SkipEmptyTiles,
    StepSize,
    Threads,
    names,
    rejection,
)
from scanside.runtime.cli.progress import ProgressBars
from scanside.runtime.errors import InputError, OutputError, UsageError
from scanside.runtime.images.cases import CaseInput, find_cases
from scanside.runtime.images.files import ENDINGS, ending_of
from scanside.runtime.opening import approximations
from scanside.runtime.options import Options
from scanside.runtime.outputs import DICOM_SEG, Task, write_model_files
from scanside.runtime.remark import Remark
from scanside.runtime.report import RESEARCH, segment_report
from scanside.runtime.run import CaseResult, exit_code, run_cases

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def segment(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT...",
            help="Image file, one file a channel, a folder of <case>_0000<ending> images, or a DICOM series folder.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", metavar="OUT", help="Folder for the masks, or, for one case, the mask's file."
        ),
    ],
    device: Device = "auto",
    precision: Precision = "fp32",
    on_rejection: OnRejection = None,
    no_mirroring: NoMirroring = False,
    skip_empty_tiles: SkipEmptyTiles = False,
    step_size: StepSize = 0.5,
    folds: Folds = None,
    role: Annotated[
        str | None, typer.Option(metavar="NAME", help="Segmenter, where the bundle holds several.")
    ] = None,
    threads: Threads = None,
    ending: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="ENDING",
            help="Ending of the masks: .nii.gz, .nrrd, .mha, .dcm …; default: the input's, .dcm (DICOM SEG) for DICOM.",
        ),
    ] = None,
    save_probabilities: Annotated[
        bool,
        typer.Option(
            "--save-probabilities", help="Also write probabilities, as nnUNetv2_ensemble takes them."
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace masks that exist.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON report on stdout.")] = False,
) -> int:
    """Segment images with a bundle. Masks lie exactly on the grid of their image.

    Examples:

      scanside segment pancreas.bundle scan.nii.gz -o masks

      scanside segment pancreas.bundle dicom_series_folder -o mask.dcm --json
    """
    options = Options(
        device=device,
        precision=precision,
        mirroring=not no_mirroring,
        step_size=step_size,
        skip_empty_tiles=skip_empty_tiles,
        folds=names(folds),
        role=role,
        threads=threads,
        on_rejection=rejection(on_rejection),
    )
    opened = open_bundle(bundle)
    tasks = _tasks(opened, options, inputs, out, ending, save_probabilities)
    if not overwrite:
        _refuse_existing(tasks)
    return _run(opened, options, tasks, as_json)


def _run(bundle: Bundle, options: Options, tasks: list[Task], as_json: bool) -> int:
    """Compute, tell on stderr how each case ended, and print paths or the report on stdout."""
    with imported_ahead("scipy.ndimage", *_reading(tasks)):
        opened = open_segmenter(bundle, options, lambda words: print(f"{words} …", file=sys.stderr))
    with opened as segmenter:
        write_model_files(segmenter.plan, bundle.manifest.name, tasks)
        with ProgressBars(len(tasks)) as bars:
            results = list(run_cases(segmenter, tasks, bars))
        for result in results:
            print(_sentence(result), file=sys.stderr)
            for remark in result.remarks:
                if isinstance(remark, Remark):
                    print(f"Warning: {remark}", file=sys.stderr)
        device = segmenter.device.obtained
        print(_summary(device, approximations(options, device)), file=sys.stderr)
        if as_json:
            print(json.dumps(segment_report(segmenter, results), indent=1))
        else:
            for path in (path for result in results for path in result.outputs):
                print(path)
    return exit_code(results)


def _reading(tasks: list[Task]) -> set[str]:
    """The modules that read the images and write the masks."""
    files = [path for task in tasks for path in (*task.case.channels, task.mask)]
    return {"SimpleITK" if ending_of(path) else "scanside.runtime.dicom.read" for path in files}


def _tasks(
    bundle: Bundle, options: Options, inputs: list[Path], out: Path, ending: str | None, probabilities: bool
) -> list[Task]:
    plan = bundle.manifest.segmenters[bundle.role(options.role)].plan
    cases = find_cases(inputs, len(plan.channels), bundle.manifest.file_ending)
    if not cases:
        raise InputError("There is no case in the input.")
    if ending is not None and ending not in (*ENDINGS, DICOM_SEG):
        raise UsageError(f"There is no format '{ending}'; choose one of {', '.join((*ENDINGS, DICOM_SEG))}.")
    named = ending_of(out) or (DICOM_SEG if out.suffix == DICOM_SEG else None)
    if named and len(cases) > 1:
        raise UsageError(f"{out} is one file, but there are {len(cases)} cases; give a folder with -o.")
    if named and ending not in (None, named):
        raise UsageError(f"{out} does not end in the --format '{ending}'; leave one of them out.")
    if not named and out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file without an image ending; give a folder or an image file with -o.")
    tasks = []
    for case in cases:
        mask = out if named else out / f"{case.name}{ending or _native_ending(case)}"
        npz = (
            mask.with_name(f"{mask.name.removesuffix(ending_of(mask) or DICOM_SEG)}.npz")
            if probabilities
            else None
        )
        tasks.append(Task(case, mask, npz))
    return tasks


def _native_ending(case: CaseInput) -> str:
    first = case.channels[0]
    return (ending_of(first) if not first.is_dir() else None) or DICOM_SEG


def _refuse_existing(tasks: list[Task]) -> None:
    existing = [path for task in tasks for path in task.files if path.exists()]
    if existing:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        raise OutputError(f"{existing[0]}{more} already; add --overwrite or choose another -o.")


def _sentence(result: CaseResult) -> str:
    if result.status != "ok":
        return f"{result.name}: {result.status}: {result.reason}"
    sizes, unit = (result.labels, "ml") if result.areas_mm2 is None else (result.areas_mm2, "mm²")
    labels = ", ".join(f"{name} {size:.3g} {unit}" for name, size in (sizes or {}).items())
    return f"{result.name}: {sum(result.stages.values()) / 1000:.1f} s; {labels}"


def _summary(device: str, approximations: tuple[str, ...]) -> str:
    how = f"approximate: {', '.join(approximations)}" if approximations else "exact recipe"
    return f"Device {device}; {how}. {RESEARCH}"
