"""A study → its research copy: every MR image de-identified, the rest left out with its reason."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scanside.runtime.dicom.deidentify import NotCopiedError, Secret, deidentify
from scanside.runtime.dicom.header import attribute, quiet, read_dataset, with_transfer_syntax
from scanside.runtime.dicom.select import Kind, choose_volume
from scanside.runtime.dicom.series import has_dicom_name
from scanside.runtime.dicom.study import DicomStudy, SeriesVolume, index_study
from scanside.runtime.errors import ImageReadError, InputError, OutputError
from scanside.runtime.images.names import has_dicom_mark

_KINDS: tuple[Kind, ...] = ("t2w", "dwi", "b0", "adc")


@dataclass(frozen=True)
class ResearchCopy:
    """What became of a study.

    Attributes:
        written: Files of the copy.
        left_out: Why objects are not in it → how many.
        warnings: What the user should know about it.
    """

    written: tuple[Path, ...]
    left_out: Mapping[str, int]
    warnings: tuple[str, ...]


def copy_study(
    study: Path,
    out: Path,
    secret: Secret,
    case: str | None = None,
    before: Callable[[int], None] = lambda count: None,
) -> ResearchCopy:
    """Write the research copy of a study: one folder a series, named by the new UIDs; it appears whole or not at all.

    Args:
        study: Folder with the DICOM files of one study, or one file; other files are passed over.
        out: A folder that does not exist yet.
        case: Pseudonym of the study; None to make one.
        before: Called with the number of files just before the copy appears; may raise.

    Raises:
        InputError: If nothing can be copied.
        ImageReadError: If a file that carries the mark of DICOM cannot be read.
        OutputError: If the copy cannot be written, or exists.
    """
    if out.exists():
        raise OutputError(f"{out} exists already; choose another -o.")
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    left_out: dict[str, int] = {}
    try:
        part.mkdir(parents=True)
        written = [
            file.relative_to(part)
            for source in _files_of(study)
            if (file := _copy(source, part, secret, case, left_out)) is not None
        ]
        if not written:
            raise InputError(f"{study} holds nothing that can be copied; give a study with MR images.")
        warnings = _compare(study, part)
        before(len(written))
        part.rename(out)
    except OSError as error:
        if isinstance(error, ImageReadError | OutputError):
            raise
        raise OutputError(f"{out} cannot be written ({error.strerror}); check folder and disk.") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return ResearchCopy(tuple(out / file for file in written), left_out, warnings)


def _files_of(study: Path) -> list[Path]:
    """The files below a folder, or the file."""
    if study.is_file():
        return [study]
    return sorted(path for path in study.rglob("*") if path.is_file())


def _copy(source: Path, out: Path, secret: Secret, case: str | None, left_out: dict[str, int]) -> Path | None:
    marked = has_dicom_mark(source)
    if source.name == "DICOMDIR" or not (marked or has_dicom_name(source)):
        return None
    try:
        with quiet():
            dataset = with_transfer_syntax(read_dataset(source))
            cleaned = deidentify(dataset, source, secret, case)
    except NotCopiedError as error:
        left_out[error.reason] = left_out.get(error.reason, 0) + 1
        return None
    except ImageReadError:
        raise
    except Exception as error:  # pydicom raises almost anything on damaged bytes
        if not marked:
            return None
        raise ImageReadError(f"{source} cannot be read as DICOM; copy it again, or remove it.") from error
    if not (attribute(cleaned, "SeriesInstanceUID") and attribute(cleaned, "SOPInstanceUID")):
        raise ImageReadError(f"{source} has no UIDs, perhaps since its end is missing; copy it again.")
    target = out / str(cleaned.SeriesInstanceUID) / f"{cleaned.SOPInstanceUID}.dcm"
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        raise InputError(f"Two files of the study hold the same image ({source.name}); remove one.")
    try:
        with quiet():
            cleaned.save_as(target, enforce_file_format=True)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ImageReadError(
            f"{source} cannot be written again ({type(error).__name__}); export it anew."
        ) from error
    return target


def _compare(study: Path, copy: Path) -> tuple[str, ...]:
    """Whether `scanside run` chooses the same series from the copy; warnings where it does not."""
    try:
        originals, copies = _choices(index_study(study)), _choices(index_study(copy))
    except InputError:
        return ()  # what cannot be chosen from before cannot be compared
    different = [kind for kind in _KINDS if originals[kind] != copies[kind]]
    words = "is chosen differently from the copy: a description has lost words that `scanside run` looks at."
    return tuple(f"The {kind} {words}" for kind in different)


def _choices(study: DicomStudy) -> dict[Kind, object]:
    """What is chosen of each kind, in words that do not depend on names and UIDs."""
    found: dict[Kind, object] = {}
    dwi: SeriesVolume | None = None
    for kind in _KINDS:
        try:
            chosen, _ = choose_volume(kind, study.volumes, dwi)
        except InputError:
            found[kind] = "refused"
            continue
        found[kind] = None if chosen is None else _key(chosen.volume)
        if kind == "dwi" and chosen is not None:
            dwi = chosen.volume
    return found


def _key(volume: SeriesVolume) -> tuple[object, ...]:
    header = volume.frames[0].instance.header
    b = None if volume.b is None else volume.b.group
    return (str(header.get("SeriesNumber")), b, len(volume.frames), str(header.get("InstanceNumber")))
