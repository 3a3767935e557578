"""A folder or file → the headers of its one image series."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from scanside.runtime.dicom.header import Instance, attribute, has_pixels, one_line, quiet, read_instance
from scanside.runtime.errors import InputError
from scanside.runtime.images.names import files_in, has_dicom_mark
from scanside.runtime.volume import Geometry

if TYPE_CHECKING:
    from scanside.runtime.dicom.frames import Frame

NOT_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.481.2",  # RT Dose
}
"""SOP classes that have rows and columns without being a picture to segment."""

_SHOWN = 5


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """Where a volume came from: enough to write objects that refer to it. Holds no pixels.

    Attributes:
        path: The folder or file the user gave.
        instances: The files, in the order in which their first frame appears in the volume.
        frames: One per slice, in the volume's z order.
        geometry: The grid of the volume.
    """

    path: Path
    instances: tuple[Instance, ...]
    frames: tuple["Frame", ...]
    geometry: Geometry

    @property
    def headers(self) -> tuple[Dataset, ...]:
        """Headers of `instances`."""
        return tuple(instance.header for instance in self.instances)

    @property
    def series_instance_uid(self) -> str:
        """(0020,000E), or an empty string."""
        return str(attribute(self.headers[0], "SeriesInstanceUID") or "")

    @property
    def study_instance_uid(self) -> str:
        """(0020,000D), or an empty string."""
        return str(attribute(self.headers[0], "StudyInstanceUID") or "")

    @property
    def sop_instance_uids(self) -> tuple[str, ...]:
        """(0008,0018) of `instances`."""
        return tuple(str(attribute(header, "SOPInstanceUID") or "") for header in self.headers)


def find_series(path: Path) -> list[Instance]:
    """Read the headers of the one image series at `path`.

    Objects that are not images (SR, RTSTRUCT, PR, SEG, DICOMDIR) and files whose name is not a DICOM name are
    passed over. A file that should be DICOM and cannot be read is refused, since it may be a slice.

    Args:
        path: A folder (not its sub-folders), or one file.

    Raises:
        ImageReadError: If a file is unreadable.
        InputError: If there is no image, or more than one series.
    """
    files = [path] if path.is_file() else _candidates(path)
    instances = [read_instance(file) for file in files]
    images = [instance for instance in instances if _is_image(instance.header)]
    if not images:
        kinds = sorted({one_line(attribute(instance.header, "Modality")) for instance in instances})
        what = f"only objects without images ({', '.join(kinds)})" if kinds else "no DICOM files"
        raise InputError(f"{path} holds {what}; pass the folder of one image series.")
    with quiet():
        _refuse_several_series(path, images)
    return images


def _candidates(folder: Path) -> list[Path]:
    files = [file for file in files_in(folder) if file.name != "DICOMDIR"]
    return [file for file in files if has_dicom_name(file) or has_dicom_mark(file)]


def has_dicom_name(file: Path) -> bool:
    """`IM_0001`, `x.dcm`, `x.IMA`, and names that end in a number, as GE's and those made of UIDs do."""
    suffix = file.suffix.lower().removeprefix(".")
    return suffix in ("", "dcm", "ima", "dicom") or suffix.isdigit()


def _is_image(header: Dataset) -> bool:
    return has_pixels(header) and header.SOPClassUID not in NOT_PICTURES


def _refuse_several_series(path: Path, images: list[Instance]) -> None:
    found: dict[str, list[Instance]] = {}
    for instance in images:
        found.setdefault(str(attribute(instance.header, "SeriesInstanceUID")), []).append(instance)
    if len(found) > 1:
        words = [_describe(series[0].header, len(series)) for series in list(found.values())[:_SHOWN]]
        more = ", …" if len(found) > _SHOWN else ""
        raise InputError(
            f"{path} holds {len(found)} series: {', '.join(words)}{more}; "
            "put the one to segment into a folder of its own."
        )


def _describe(header: Dataset, count: int) -> str:
    number = attribute(header, "SeriesNumber")
    description = attribute(header, "SeriesDescription") or "no description"
    return f"{'no number' if number is None else number} '{one_line(description)}' ({count} files)"
