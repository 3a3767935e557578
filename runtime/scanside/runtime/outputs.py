"""The files of one case: checked before anything is computed, and then all of them or none."""

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from scanside.runtime.errors import OutputError
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.ensemble import model_files, properties
from scanside.runtime.images.files import atomic_write, ending_of
from scanside.runtime.images.load import LoadedCase
from scanside.runtime.images.write import write_mask
from scanside.runtime.pipeline import Segmentation, Segmenter
from scanside.runtime.plan import Labels, Plan
from scanside.runtime.volume import Geometry, picture

DICOM_SEG = ".dcm"


@dataclass(frozen=True)
class Task:
    """A case and the file its mask goes to."""

    case: CaseInput
    mask: Path
    probabilities: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the case gets: the mask, and what `nnUNetv2_ensemble` needs of its probabilities."""
        if self.probabilities is None:
            return (self.mask,)
        return (self.mask, self.probabilities, self.probabilities.with_suffix(".pkl"))


def check_outputs(task: Task, case: LoadedCase) -> None:
    """See, before the network runs, that the format can hold this case.

    Raises:
        OutputError: If it cannot.
    """
    if task.mask.suffix == DICOM_SEG:
        if case.source is None:
            raise OutputError(f"{task.mask} cannot be a DICOM SEG: the input of {case.name} is not DICOM.")
        return
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
        return picture((1, 1), (y, x), geometry.origin[:2], tuple(float(cosine) for cosine in matrix.ravel()))
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
            write_mask(result.mask, case.volume.geometry, task.mask)
        written.append(task.mask)
        if task.probabilities is not None and result.probabilities is not None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, probabilities=result.probabilities)
            _write(task.probabilities, buffer.getbuffer())
            written.append(task.probabilities)
            _write(task.probabilities.with_suffix(".pkl"), properties(case.volume.geometry))
    except BaseException:
        for path in written:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise


def write_model_files(plan: Plan, name: str, tasks: Sequence[Task]) -> None:
    """`dataset.json` and `plans.json` beside probabilities, once a folder; equal ones are left as they are.

    Raises:
        OutputError: If other files of these names are there, or they cannot be written.
    """
    for folder, ending in {(task.mask.parent, _ending(task)) for task in tasks if task.probabilities}:
        for file, content in model_files(plan, name, ending).items():
            path = folder / file
            if not path.exists():
                _write(path, content)
            elif path.read_bytes() != content:
                raise OutputError(
                    f"{path} belongs to another model; write these probabilities to a folder of their own."
                )


def _ending(task: Task) -> str:
    return ending_of(task.mask) or task.mask.suffix


def _write(path: Path, content: bytes | memoryview) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def _write_seg(segmenter: Segmenter, task: Task, case: LoadedCase, result: Segmentation) -> None:
    from scanside.runtime.dicom.seg import write_seg

    assert case.source is not None  # `check_outputs` saw to it
    manifest = segmenter.bundle.manifest
    write_seg(
        result.mask,
        flat_labels(segmenter.plan.labels),
        case.source,
        task.mask,
        algorithm_name=manifest.name,
        algorithm_version=manifest.version,
        bundle_sha256=segmenter.bundle.sha256,
    )


def flat_labels(labels: Labels) -> dict[str, int]:
    """A name for every value of the mask; one that occurs in regions only gets their names."""
    flat = {name: value for name, value in labels.names.items() if isinstance(value, int) and value != 0}
    for value in labels.foreground:
        if value not in flat.values():
            regions = (n for n, v in labels.names.items() if isinstance(v, tuple) and value in v)
            flat[" ∩ ".join(regions)] = value
    return flat
