"""The files of one case: checked before anything is computed, and then all of them or none."""

import io
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from scanside.runtime.errors import OutputError
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.ensemble import model_files, properties
from scanside.runtime.images.files import ALL_ENDINGS, atomic_write, ending_of
from scanside.runtime.images.load import LoadedCase
from scanside.runtime.images.write import write_mask
from scanside.runtime.labels import Roi, flat_labels, itksnap_table, slicer_fields, slicer_table
from scanside.runtime.plan import Plan
from scanside.runtime.segmenter import Segmentation, Segmenter
from scanside.runtime.volume import Geometry, picture

if TYPE_CHECKING:
    from scanside.runtime.lines import CaseLine

DICOM_SEG = ".dcm"
SLICER_SEG = ".seg.nrrd"
"""3D Slicer's own: an NRRD file whose header names the segments."""
TABLES = {"labels.txt": itksnap_table, "labels.ctbl": slicer_table}
"""Names of labels beside masks whose format has no place for them: of ITK-SNAP, of 3D Slicer."""


@dataclass(frozen=True)
class Task:
    """A case, the file its mask goes to, and what is wanted beside it.

    Attributes:
        roi: The labels that are kept; None for all.
        preview: Where a picture goes.
        named: Write names of labels into the mask's header, where the format has a place for them.
        measured: Measure sizes and intensities.
        spaced: The mask is a stack of TIFF, whose spacing goes to a file beside it.
    """

    case: CaseInput
    mask: Path
    probabilities: Path | None = None
    roi: Roi | None = None
    preview: Path | None = None
    named: bool = False
    measured: bool = False
    spaced: bool = False

    @property
    def name(self) -> str:
        """Of the case."""
        return self.case.name

    @property
    def inputs(self) -> tuple[Path, ...]:
        """A path for each channel."""
        return self.case.channels

    def absolute(self) -> "Task":
        """With paths as the nodes of a cluster find them."""
        case = replace(self.case, channels=tuple(path.absolute() for path in self.case.channels))

        def whole(path: Path | None) -> Path | None:
            return None if path is None else path.absolute()

        return replace(
            self,
            case=case,
            mask=self.mask.absolute(),
            probabilities=whole(self.probabilities),
            preview=whole(self.preview),
        )

    def kept(self, names: Collection[str]) -> tuple[Path, ...]:
        """What is wanted now; files of an earlier wish may stay."""
        return self.files

    def told(self, line: "CaseLine") -> bool:
        """Whether the line has statistics where they are wanted."""
        return not self.measured or line.statistics is not None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the case gets: the mask, what `nnUNetv2_ensemble` needs of its probabilities, the picture."""
        files = [self.mask]
        if self.spaced:
            files.append(self.mask.with_suffix(".json"))
        if self.probabilities is not None:
            files += [self.probabilities, self.probabilities.with_suffix(".pkl")]
        return (*files, self.preview) if self.preview is not None else tuple(files)


def check_outputs(task: Task, case: LoadedCase) -> None:
    """See, before the network runs, that the format can hold this case.

    Raises:
        OutputError: If it cannot.
    """
    if task.mask.suffix == DICOM_SEG:
        if case.source is None:
            raise OutputError(f"{task.mask} cannot be a DICOM SEG: the input of {case.name} is not DICOM.")
        return
    if _is_slicer_seg(task.mask) and case.volume.geometry.dimension == 2:
        raise OutputError(
            f"{task.mask} cannot be written: 3D Slicer's {SLICER_SEG} has three axes; choose .nrrd."
        )
    small = _one_voxel(case.volume.geometry)
    with TemporaryDirectory(prefix="scanside-") as folder:
        trial = Path(folder) / f"mask{_ending(task)}"
        try:
            write_mask(np.zeros(small.shape, np.uint8), small, trial)
        except OutputError as error:
            raise OutputError(str(error).replace(str(trial), str(task.mask))) from error


def _one_voxel(geometry: Geometry) -> Geometry:
    if geometry.dimension == 2:
        matrix = geometry.direction_matrix[:2, :2]
        y, x = geometry.spacing[1:]
        flat = picture((1, 1), (y, x), geometry.origin[:2], tuple(float(cosine) for cosine in matrix.ravel()))
        return replace(flat, scaled=geometry.scaled)
    return Geometry((1, 1, 1), geometry.spacing, geometry.origin, geometry.direction)


def write_outputs(segmenter: Segmenter, task: Task, case: LoadedCase, result: Segmentation) -> None:
    """Write the files of a case; where one cannot be written, none is left.

    Raises:
        OutputError: If a file cannot be written.
    """
    written: list[Path] = []
    try:
        if task.mask.suffix == DICOM_SEG:
            _write_seg(segmenter, task, case, result)
        else:
            write_mask(result.mask, case.volume.geometry, task.mask, _header(segmenter.plan, task, case))
        written += [task.mask, *([task.mask.with_suffix(".json")] if task.spaced else ())]
        if task.probabilities is not None and result.probabilities is not None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, probabilities=result.probabilities)
            _write(task.probabilities, buffer.getbuffer())
            written.append(task.probabilities)
            _write(task.probabilities.with_suffix(".pkl"), properties(case.volume.geometry))
            written.append(task.probabilities.with_suffix(".pkl"))
        if task.preview is not None:
            _write_preview(segmenter, task, case, result)
    except BaseException:
        for path in written:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise


def _is_slicer_seg(mask: Path) -> bool:
    return mask.name.lower().endswith(SLICER_SEG)


def _header(plan: Plan, task: Task, case: LoadedCase) -> dict[str, str]:
    """What an NRRD header says beside the grid."""
    if not (_is_slicer_seg(task.mask) or (task.named and _ending(task) == ".nrrd")):
        return {}
    return slicer_fields(flat_labels(plan.labels, task.roi), case.volume.geometry)


def _write_preview(segmenter: Segmenter, task: Task, case: LoadedCase, result: Segmentation) -> None:
    from scanside.runtime.study.overlay import draw_labels, write_overlay

    manifest = segmenter.bundle.manifest
    title = f"{case.name}: {manifest.name} {manifest.version}"
    named = flat_labels(segmenter.plan.labels, task.roi)
    assert task.preview is not None
    write_overlay(
        draw_labels(case.volume, result.mask, named, title, synthetic=manifest.synthetic), task.preview
    )


def write_folder_files(plan: Plan, name: str, tasks: Sequence[Task]) -> None:
    """What stands once in each folder of masks: `dataset.json` and `plans.json` beside probabilities, label names.

    Equal files are left as they are.

    Raises:
        OutputError: If other files of these names are there, or they cannot be written.
    """
    wanted: dict[Path, bytes] = {}
    for task in tasks:
        folder = task.mask.parent
        if task.probabilities is not None:
            files = model_files(plan, name, _ending(task))
            wanted |= {folder / file: content for file, content in files.items()}
        if task.named and _ending(task) not in (DICOM_SEG, ".nrrd"):
            named = flat_labels(plan.labels, task.roi)
            wanted |= {folder / file: write(named).encode() for file, write in TABLES.items()}
    for path, content in wanted.items():
        if not path.exists():
            _write(path, content)
        elif path.read_bytes() != content:
            raise OutputError(
                f"{path} belongs to another model or run; write these masks to a folder of their own."
            )


def _ending(task: Task) -> str:
    return ending_of(task.mask, ALL_ENDINGS) or task.mask.suffix


def _write(path: Path, content: bytes | memoryview) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _write_seg(segmenter: Segmenter, task: Task, case: LoadedCase, result: Segmentation) -> None:
    from scanside.runtime.dicom.seg import write_seg

    assert case.source is not None  # `check_outputs` saw to it
    manifest = segmenter.bundle.manifest
    write_seg(
        result.mask,
        flat_labels(segmenter.plan.labels, task.roi),
        case.source,
        task.mask,
        algorithm_name=manifest.name,
        algorithm_version=manifest.version,
        bundle_sha256=segmenter.bundle.sha256,
    )
