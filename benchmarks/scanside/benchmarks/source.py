"""What the peers run: a model as results folder and as a bundle that is proven to come of the same checkpoints, and
images in files that all of them read."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from scanside.benchmarks.processes import SCANSIDE, run_measured
from scanside.runtime.bundle import Bundle, open_bundle
from scanside.runtime.errors import BundleError, InputError, UsageError
from scanside.runtime.images.cases import CaseInput, find_cases
from scanside.runtime.images.files import ending_of
from scanside.runtime.images.load import load_case
from scanside.runtime.images.write import to_itk
from scanside.runtime.plan import Plan

CHECKPOINT = "checkpoint_final.pth"


@dataclass(frozen=True)
class Source:
    """A model in both forms.

    Attributes:
        folds: Names, in averaging order; the same in both.
        checkpoints: Fold → sha256 of the file that nnunetv2 loads.
    """

    model: Path
    bundle: Bundle
    plan: Plan
    role: str
    folds: tuple[str, ...]
    checkpoints: dict[str, str]

    @property
    def ending(self) -> str:
        """File ending of the images that nnunetv2 reads."""
        return self.bundle.manifest.file_ending

    def record(self, mirroring: bool) -> dict[str, Any]:
        """What the conditions of a results file say of the model."""
        return {"checkpoints": self.checkpoints, "mirroring": mirroring, "folds": list(self.folds)}


def find_source(
    model: Path,
    bundle: Path | None,
    folds: tuple[str, ...] | None,
    folder: Path,
    precisions: Sequence[str] = ("fp32",),
) -> Source:
    """Open the model in both forms; exports it to `folder` when no bundle is given.

    Args:
        folds: None for all that the bundle has.
        precisions: To export, fp32 among them.

    Raises:
        InputError: If the model is a cascade: nnunetv2 runs each of its stages by a command of its own.
        BundleError: If the bundle was not made of these checkpoints, or postprocesses, which nnunetv2's prediction
            does not.
    """
    opened = open_bundle(bundle or _export(model, folds, folder, precisions))
    role = opened.role(None)
    segmenter = opened.manifest.segmenters[role]
    if segmenter.plan.previous_stage is not None:
        raise InputError(f"{model} is the second stage of a cascade; compare single-stage models.")
    if segmenter.plan.postprocessing:
        raise BundleError(
            f"Bundle {opened.path} postprocesses its masks, which nnunetv2's prediction does not; "
            "export it with --postprocessing none."
        )
    names = tuple(network.fold for network in segmenter.networks)
    unknown = [fold for fold in folds or () if fold not in names]
    if unknown:
        raise UsageError(f"The bundle has no fold {', '.join(unknown)}; it has {', '.join(names)}.")
    chosen = folds or names
    checkpoints = {fold: _sha256(model / f"fold_{fold}" / CHECKPOINT) for fold in chosen}
    known = opened.manifest.provenance.get("stages", {}).get(role, {}).get("checkpoint_sha256", {})
    for fold, digest in checkpoints.items():
        if known.get(fold) != digest:
            raise BundleError(
                f"Bundle {opened.path} was not made of fold {fold} of {model} (its checkpoint's sha256 differs); "
                "export it again, or leave --bundle out."
            )
    return Source(model, opened, segmenter.plan, role, chosen, checkpoints)


def _export(model: Path, folds: tuple[str, ...] | None, folder: Path, precisions: Sequence[str]) -> Path:
    """Export in a process of its own, so that this one stays small."""
    print(f"Exporting {model.name} to a temporary bundle …", file=sys.stderr, flush=True)
    out = folder / "model.bundle"
    program = [*SCANSIDE, "export", "nnunet", str(model)]
    options = ["-o", str(out), "--precision", ",".join(precisions), "--postprocessing", "none"]
    if folds:
        options += ["--folds", ",".join(folds)]
    run_measured([*program, *options], folder / "export.log")
    return out


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}); give the whole results folder."
        ) from error


@dataclass(frozen=True)
class StagedCase:
    """A case both peers read from the same files.

    Attributes:
        folder: Holds this case's files and nothing else.
        files: `<case>_0000<ending>` and so on.
        converted: Whether they were written from DICOM or another format, which nnunetv2 does not read.
    """

    name: str
    folder: Path
    files: tuple[Path, ...]
    converted: bool

    @property
    def case(self) -> CaseInput:
        """The case as the runtime takes it."""
        return CaseInput(self.name, self.files)


def stage(inputs: Sequence[Path], plan: Plan, ending: str, folder: Path) -> list[StagedCase]:
    """Lay out images for both peers below `folder`.

    Args:
        inputs: What `scanside segment` takes: files, a folder of cases, DICOM series.
        ending: The file ending the model was trained with, the only one nnunetv2 reads.

    Raises:
        InputError: If there is no case, or one cannot be read.
    """
    channels = len(plan.channels)
    cases = find_cases(inputs, channels, ending)
    if not cases:
        raise InputError("There is no case in the input.")
    return [_stage(case, channels, ending, folder / case.name) for case in cases]


def _stage(case: CaseInput, channels: int, ending: str, folder: Path) -> StagedCase:
    volume = load_case(case, channels).volume  # refuses what is unsuitable before anything is timed
    folder.mkdir(parents=True)
    files = tuple(folder / f"{case.name}_{index:04d}{ending}" for index in range(channels))
    native = all(path.is_file() and ending_of(path) == ending for path in case.channels)
    for index, (file, source) in enumerate(zip(files, case.channels, strict=True)):
        if native:
            file.symlink_to(source.resolve())
        else:
            data = volume.data[index]
            whole = data.astype(np.int16)
            image = to_itk(whole if np.array_equal(whole, data) else data, volume.geometry)
            sitk.WriteImage(image, str(file), True)
    return StagedCase(case.name, folder, files, converted=not native)


def all_together(cases: Sequence[StagedCase], folder: Path) -> Path:
    """All cases' files in one folder, as links."""
    folder.mkdir(parents=True)
    for case in cases:
        for file in case.files:
            (folder / file.name).symlink_to(file)
    return folder
