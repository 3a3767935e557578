"""Images as both peers can read them: files named as nnU-Net wants them, one folder a case."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scanside.runtime.errors import InputError
from scanside.runtime.images.cases import CaseInput, find_cases
from scanside.runtime.images.files import ending_of
from scanside.runtime.images.load import load_case
from scanside.runtime.plan import Plan
from scanside.runtime.volume import Volume


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
            _write(volume, index, file)
    return StagedCase(case.name, folder, files, converted=not native)


def _write(volume: Volume, channel: int, file: Path) -> None:
    import numpy as np
    import SimpleITK as sitk

    data = volume.data[channel]
    whole = data.astype(np.int16)
    image = sitk.GetImageFromArray(whole if np.array_equal(whole, data) else data)
    geometry = volume.geometry
    z, y, x = geometry.spacing
    image.SetSpacing((x, y, z))
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    sitk.WriteImage(image, str(file), True)


def all_together(cases: Sequence[StagedCase], folder: Path) -> Path:
    """All cases' files in one folder, as links."""
    folder.mkdir(parents=True)
    for case in cases:
        for file in case.files:
            (folder / file.name).symlink_to(file)
    return folder
