"""How a cohort's images lie: a bundle says so, and studies are brought to it before the network sees them."""

from collections import Counter
from pathlib import Path

from scanside.runtime.images.orient import orientation
from scanside.runtime.images.read import read_geometry
from scanside.training.cohort.declared import SEQUENCES
from scanside.training.cohort.table import Cohort


def cohort_orientation(cohort: Cohort) -> dict[str, list[str]]:
    """Sequence → the orientations of the training patients' images, such as `LPS`, the most frequent first.

    Raises:
        InputError: If an image cannot be read.
    """
    found: dict[str, list[str]] = {}
    for sequence in SEQUENCES:
        paths = [cohort.image(patient.patient, sequence) for patient in cohort.split("train")]
        counts = Counter(_orientation(path) for path in paths if path.exists())
        if counts:
            found[sequence] = [letters for letters, _ in counts.most_common()]
    return found


def _orientation(path: Path) -> str:
    if path.is_file():
        return orientation(read_geometry(path))
    from scanside.runtime.dicom.frames import frames_of
    from scanside.runtime.dicom.grid import regular_grid
    from scanside.runtime.dicom.series import find_series

    return orientation(regular_grid(frames_of(find_series(path)), path)[1])
