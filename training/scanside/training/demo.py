"""`scanside demo`: a fresh phantom study as DICOM, through the bundle that comes with Scanside, without PyTorch."""

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scanside.runtime.cli.main import require_extra, run
from scanside.runtime.errors import CaseError, ExitCode, InputError

if TYPE_CHECKING:
    from scanside.training.phantom.study import PhantomStudy

app = typer.Typer(add_completion=False, rich_markup_mode=None)
BUNDLE = Path(str(files("scanside.training"))) / "data" / "pancreas-phantom.bundle"
"""The demonstration's bundle: trained on the phantom, part of the package."""


@dataclass(frozen=True)
class Truth:
    """What is true of a demonstration's patient, and how near the masks came to it.

    Attributes:
        size_mm: Longest diameter of the lesion.
        place: Part of the pancreas.
        age: Years.
        dice: Role → Dice of its mask against the truth; without a role that has no mask.
    """

    diagnosis: str
    size_mm: float
    place: str
    age: float
    sex: str
    scanner: str
    dice: Mapping[str, float]


@app.command()
def demo(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for everything it makes.")] = Path(
        "demo-out"
    ),
    seed: Annotated[int, typer.Option(metavar="S", min=0, help="Another number, another patient.")] = 2026,
) -> None:
    """Make a synthetic patient's study as DICOM, run the main job on it, and compare with the truth.

    Needs no PyTorch, no patient data and about a minute.

    Example: scanside demo demo-out --seed 7
    """
    require_extra("study", "radiomics", "pydicom", "onnxruntime")
    from scanside.training.phantom.dicom import write_dicom_study
    from scanside.training.phantom.study import make_study

    study_folder, result_folder = out / "study", out / "result"
    _say(f"1/3  Making a synthetic patient (seed {seed}): T2WI, DWI and ADC as DICOM in {study_folder}")
    study = make_study(0, seed=seed)
    _fresh(study_folder)
    write_dicom_study(study, study_folder)
    _say("2/3  The main job: study in; masks, lesions, signature and probability out; no PyTorch")
    arguments = ["run", str(BUNDLE), str(study_folder), "-o", str(result_folder), "--overwrite"]
    _say(f"     $ scanside {' '.join(arguments)}")
    code = run(arguments)
    if code not in (ExitCode.OK, ExitCode.INPUT):  # a lesion too small to be measured is an honest result
        raise CaseError(f"`scanside run` ended with exit code {code}; see the sentence above.")
    _say("3/3  What is true of this phantom, which the program was not told")
    truth = _truth(study, result_folder)
    _tell(truth)
    (out / "truth.json").write_text(json.dumps(asdict(truth), indent=1) + "\n")
    _say(f"Study {study_folder}, results and pictures {result_folder}. Synthetic; research use only.")


def _fresh(folder: Path) -> None:
    """Empty the demonstration's own study folder; refuse one that holds anything else."""
    if not folder.exists():
        return
    if any(file.is_file() and file.suffix != ".dcm" for file in folder.rglob("*")):
        raise InputError(f"{folder} holds files that no demonstration made; choose another OUT.")
    shutil.rmtree(folder)


def _truth(study: "PhantomStudy", results: Path) -> Truth:
    import SimpleITK as sitk

    from scanside.runtime.golden import lowest_dice

    patient, lesion = study.patient, study.patient.lesion
    files = {role: results / f"{role}_mask.nii.gz" for role in study.masks}
    return Truth(
        diagnosis=lesion.diagnosis,
        size_mm=round(lesion.size_mm, 1),
        place=lesion.place,
        age=patient.age,
        sex=patient.sex,
        scanner=study.scanner.name,
        dice={
            role: round(lowest_dice(sitk.GetArrayFromImage(sitk.ReadImage(str(file))), study.masks[role]), 4)
            for role, file in files.items()
            if file.exists()
        },
    )


def _tell(truth: Truth) -> None:
    _say(f"     {truth.diagnosis}, {truth.size_mm:.0f} mm long, in the {truth.place} of the pancreas")
    _say(f"     {truth.age:.0f} years, {truth.sex}; virtual scanner {truth.scanner}")
    for role, dice in truth.dice.items():
        _say(f"     Dice of the {role} mask against the truth: {dice:.2f}")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
