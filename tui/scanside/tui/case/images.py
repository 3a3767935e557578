"""The images of a case: which files of the spool they are, read and turned, and kept while there is room."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from scanside.runtime.appliance.store.records import Instance
from scanside.runtime.errors import InputError, ScansideError
from scanside.runtime.images.read import read_image
from scanside.runtime.study.report import StudyReport
from scanside.runtime.volume import Volume
from scanside.tui.case.stack import Spot, Stack, spots_in, stack_of
from scanside.tui.format import TITLES

if TYPE_CHECKING:
    from scanside.runtime.dicom.study import SeriesVolume

ROOM = 512 << 20
"""Bytes of images that are kept at most; the one that is looked at is always kept."""
_ON_DWI = ("b0", "adc")
"""Sequences that carry the outline of the DWI where they have none of their own."""


@dataclass(frozen=True)
class Wanted:
    """An image to show.

    Attributes:
        sequence: t2w, dwi, b0 or adc.
        series_uid, series, b: Of the volume: (0020,000E), its name as in result.json, b-value as applied.
        shape: (Z, Y, X) as in result.json; None where nothing was computed.
        files: Instances of its series in the spool.
        masks: Files that may hold the outline, the likeliest first, each with its lesions.
        note: Why this image, where no result says so.
    """

    sequence: str
    series_uid: str
    series: str
    b: float | None
    shape: tuple[int, int, int] | None
    files: tuple[Path, ...]
    masks: tuple[tuple[Path, tuple[Spot, ...]], ...] = ()
    note: str = ""

    @property
    def title(self) -> str:
        """What a person calls the sequence."""
        return TITLES.get(self.sequence, self.sequence)


@dataclass(frozen=True, eq=False)
class Shown:
    """An image, read.

    Attributes:
        caution: What is wrong with its outline, in a sentence; None where nothing is.
    """

    stack: Stack
    caution: str | None = None


def wanted_by(
    report: StudyReport, instances: Sequence[Instance], spool: Path, result: Path
) -> tuple[Wanted, ...]:
    """The images that a report names, in its order; those that were computed have no files and are left out."""
    found = []
    for used in report.sequences:
        if used.series_instance_uid is None or used.how.startswith("computed"):
            continue
        roles = (used.sequence, "dwi") if used.sequence in _ON_DWI else (used.sequence,)
        found.append(
            Wanted(
                used.sequence, used.series_instance_uid, used.series, used.b_value, used.shape,
                _files(instances, used.series_instance_uid, spool),
                tuple((result / f"{role}_mask.nii.gz", tuple(spots_in(report, role))) for role in roles),
            )
        )  # fmt: skip
    return tuple(found)


@lru_cache(maxsize=8)
def wanted_by_rules(instances: tuple[Instance, ...], spool: Path, case_id: str) -> tuple[Wanted, ...]:
    """The images that the rules would take, where there is no result yet or it names none. Reads every header.

    Raises:
        InputError: If the study cannot be read.
    """
    from scanside.runtime.study.series_list import list_series

    rows = {row.chosen: row for row in list_series(spool / case_id)}
    return tuple(
        Wanted(
            sequence, row.series_uid, row.name, row.b, None, _files(instances, row.series_uid, spool),
            note="by the rules",
        )
        for sequence in TITLES
        if (row := rows.get(sequence)) is not None
    )  # fmt: skip


def _files(instances: Sequence[Instance], series_uid: str, spool: Path) -> tuple[Path, ...]:
    return tuple(spool / one.path for one in instances if one.series_uid == series_uid)


def read_wanted(wanted: Wanted) -> Shown:
    """Read an image and its outline. An outline that is missing or does not fit leaves the image, with a caution.

    Raises:
        InputError: If the image cannot be read; one sentence, for the place where it would be.
    """
    volume = _read_volume(wanted)
    for path, spots in wanted.masks:
        if not path.exists():
            continue
        try:
            return Shown(stack_of(volume, read_image(path), spots))
        except ScansideError as error:
            return Shown(stack_of(volume), f"There is no outline: {error}")
    caution = f"There is no outline: {wanted.masks[0][0].name} is missing." if wanted.masks else None
    return Shown(stack_of(volume), caution)


def _read_volume(wanted: Wanted) -> Volume:
    from scanside.runtime.dicom.frames import frames_of
    from scanside.runtime.dicom.header import quiet, read_instance
    from scanside.runtime.dicom.read import read_frames
    from scanside.runtime.dicom.study import volumes_of

    if not wanted.files:
        raise InputError(
            f"The images of series {wanted.series} are no longer in the spool; send the study again to see them."
        )
    try:
        with quiet():
            frames = frames_of([read_instance(path) for path in wanted.files])
            volumes = volumes_of(frames, wanted.series_uid)
        volume = _the_one(volumes, wanted)
        return read_frames(list(volume.frames), volume.path)[0]
    except ScansideError as error:
        words = str(error).replace(f"{wanted.files[0].parent}/", "")
        raise InputError(f"Series {wanted.series} cannot be shown: {words}") from error
    except (OSError, MemoryError) as error:
        raise InputError(
            f"Series {wanted.series} cannot be shown ({error}); send the study again."
        ) from error


def _the_one(volumes: "Sequence[SeriesVolume]", wanted: Wanted) -> "SeriesVolume":
    """The volume of a series that was used. What the runtime's rules told apart, name, b-value and shape tell here."""

    def named(volume: "SeriesVolume") -> bool:
        return volume.name == wanted.series

    def weighted(volume: "SeriesVolume") -> bool:
        return wanted.b is None or (volume.b is not None and abs(volume.b.actual - wanted.b) < 0.5)

    def sized(volume: "SeriesVolume") -> bool:
        return volume.geometry is not None and volume.geometry.shape == wanted.shape

    found = list(volumes)
    for rule in (named, weighted, sized):
        if len(found) > 1:
            found = [volume for volume in found if rule(volume)] or found
    if len(found) > 1:
        raise InputError(
            f"its {len(found)} volumes cannot be told apart; choose the series by hand to see which one was used."
        )
    if found[0].problem is not None:
        raise InputError(found[0].problem)
    return found[0]


class ImageCache:
    """Images that were looked at last, by what they were read from. May be used from several threads."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self._kept: OrderedDict[Hashable, Shown] = OrderedDict()
        self._lock = Lock()

    def read(self, wanted: Wanted, version: Hashable) -> Shown:
        """Give an image, from the cache or from its files.

        Args:
            version: Changes when the files do.

        Raises:
            InputError: If it cannot be read.
        """
        key = (wanted, version)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = read_wanted(wanted)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > 1 and self.nbytes > self._room:
                self._kept.popitem(last=False)
        return made

    @property
    def nbytes(self) -> int:
        """What it keeps."""
        return sum(shown.stack.nbytes for shown in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)
