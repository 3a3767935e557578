"""What the user passed → cases: which files or DICOM folders are the channels of which case."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.images.files import ENDINGS, ending_of
from scanside.runtime.images.names import case_and_channel, case_name, few, files_in, images_in, is_dicom


@dataclass(frozen=True)
class CaseInput:
    """One case to compute.

    Attributes:
        name: Stem of its result files.
        channels: One path per channel, in the bundle's order: an image file, or a folder or file with one
            DICOM series. An expected path that does not exist is refused when the case is loaded, not before.
    """

    name: str
    channels: tuple[Path, ...]


def find_cases(inputs: Sequence[Path], channels: int, preferred_ending: str | None) -> list[CaseInput]:
    """Turn the paths on the command line into cases.

    One folder with nnU-Net names (`<case>_0000.nii.gz`) gives a case per id. Otherwise every path is one
    channel (an image file, a DICOM folder, a DICOM file): as many paths as channels are one case; for a
    one-channel bundle every path is a case.

    Args:
        inputs: At least one path.
        channels: How many image channels the bundle needs.
        preferred_ending: Which ending counts in a folder that holds several.

    Raises:
        UsageError: If names or numbers do not fit the bundle.
        InputError: If a path does not exist or holds no image.
    """
    for path in inputs:
        if not path.exists():
            raise InputError(f"There is no file or folder {path}; check the path.")
        if not path.is_file() and not path.is_dir():
            raise InputError(
                f"{path} is neither a file nor a folder but a pipe, socket or device; save the image to a file first."
            )
    if len(inputs) == 1 and inputs[0].is_dir() and images_in(inputs[0]):
        return _cases_of_folder(inputs[0], channels, preferred_ending)
    for path in inputs:
        _check_channel(path)
    _refuse_slices_of_one_series(inputs)
    if channels > 1 and len(inputs) == channels:
        _check_channel_order(inputs)
        return [CaseInput(case_name(inputs[0]), tuple(inputs))]
    if channels == 1 and inputs:
        return _distinct([CaseInput(case_name(path), (path,)) for path in inputs])
    raise UsageError(
        f"The bundle needs {channels} channel(s) per case, but {len(inputs)} were given ({few(inputs)}); "
        "pass one file or DICOM folder per channel, in the bundle's order."
    )


def _cases_of_folder(folder: Path, channels: int, preferred_ending: str | None) -> list[CaseInput]:
    images = images_in(folder)
    if not any(case_and_channel(path) for path in images):
        raise UsageError(
            f"The images in {folder} carry no channel number ({few(images)}); rename them to "
            "<case>_0000<ending>, or pass the files one by one."
        )
    ending = one_ending(folder, images, preferred_ending)
    found: dict[str, dict[int, Path]] = {}
    for path in (path for path in images if ending_of(path) == ending):
        name = case_and_channel(path)
        if name is None:
            raise UsageError(
                f"{path} carries no channel number; rename it to <case>_0000{ending} or move it away."
            )
        found.setdefault(name[0], {})[name[1]] = path
    cases = []
    for case, files in sorted(found.items()):
        # The expected paths, whether they exist or not, then what is there too many.
        expected = [files.get(i, folder / f"{case}_{i:04d}{ending}") for i in range(channels)]
        cases.append(CaseInput(case, (*expected, *(files[i] for i in sorted(files) if i >= channels))))
    return cases


def one_ending(
    folder: Path, images: list[Path], preferred: str | None, known: tuple[str, ...] = ENDINGS
) -> str:
    """The ending that counts in a folder.

    Raises:
        UsageError: If there are several and none is preferred.
    """
    endings = sorted({ending for path in images if (ending := ending_of(path, known))})
    if len(endings) == 1:
        return endings[0]
    if preferred in endings:
        return str(preferred)
    raise UsageError(
        f"{folder} holds images with several endings ({', '.join(endings)}); "
        "keep one kind in a folder of its own."
    )


def _check_channel(path: Path) -> None:
    """Refuse what cannot be one channel."""
    if path.is_file():
        if ending_of(path) is None and not is_dicom(path):
            raise InputError(f"{path} is neither DICOM nor an image; pass one of {', '.join(ENDINGS)}.")
        return
    if images_in(path):
        raise UsageError(f"{path} is a folder of images; pass it alone, or pass its files one by one.")
    if any(is_dicom(file) for file in files_in(path)):
        return
    folders = sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))
    if folders:
        raise InputError(f"{path} holds folders, not images ({few(folders)}); pass one series folder.")
    raise InputError(
        f"{path} holds no DICOM files and no images; pass a folder with one series or with images."
    )


def _refuse_slices_of_one_series(inputs: Sequence[Path]) -> None:
    """Several files of one series (`dir/*.dcm`) are one volume, not several."""
    files = [path for path in inputs if path.is_file() and ending_of(path) is None]
    if len(files) < 2:
        return
    from scanside.runtime.dicom.header import attribute, read_instance

    seen: dict[str, Path] = {}
    for path in files:
        uid = str(attribute(read_instance(path).header, "SeriesInstanceUID") or path)
        if uid in seen:
            raise UsageError(
                f"{seen[uid].name} and {path.name} belong to one DICOM series; "
                f"pass the folder {path.parent} instead."
            )
        seen[uid] = path


def _check_channel_order(inputs: Sequence[Path]) -> None:
    """A file that says which channel it is must stand in that place."""
    for place, path in enumerate(inputs):
        name = case_and_channel(path) if ending_of(path) else None
        if name and name[1] != place:
            raise UsageError(
                f"{path.name} calls itself channel {name[1]} but was given as channel {place}; "
                "pass the channels of one case in the bundle's order."
            )


def _distinct(cases: list[CaseInput]) -> list[CaseInput]:
    seen: dict[str, CaseInput] = {}
    for case in cases:
        if case.name in seen:
            raise UsageError(
                f"{seen[case.name].channels[0]} and {case.channels[0]} would both be case {case.name}; "
                "rename one or run them apart."
            )
        seen[case.name] = case
    return cases
