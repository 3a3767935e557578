"""Paths of pictures → cases. A file may hold several channels, so that only reading it tells how many there are."""

from collections.abc import Sequence
from pathlib import Path

from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.images.cases import CaseInput, one_ending
from scanside.runtime.images.files import READER_ENDINGS, ending_of
from scanside.runtime.images.names import case_and_channel, few, files_in, stem
from scanside.runtime.plan import Reader


def find_pictures(inputs: Sequence[Path], preferred_ending: str | None, reader: Reader) -> list[CaseInput]:
    """A folder with nnU-Net names (`<case>_0000.png`), or files: those of one case belong together by their numbers.

    Args:
        inputs: At least one path.
        preferred_ending: Which ending counts in a folder that holds several.
        reader: `picture` or `tiff`.

    Raises:
        UsageError: If names do not say which case and channel a file is.
        InputError: If a path does not exist, or is no picture that this reader takes.
    """
    endings = READER_ENDINGS[reader]
    folder = len(inputs) == 1 and inputs[0].is_dir()
    files = [one for one in files_in(inputs[0]) if ending_of(one, endings)] if folder else list(inputs)
    if not files:
        raise InputError(f"{inputs[0]} holds no picture; the model takes {', '.join(endings)}.")
    if folder:
        kept = one_ending(inputs[0], files, preferred_ending, endings)
        files = [path for path in files if ending_of(path, endings) == kept]
    found: dict[str, dict[int, Path]] = {}
    for path in files:
        _check(path, endings)
        named = case_and_channel(path)
        if named is None and folder:
            raise UsageError(f"{path} carries no channel number; rename it to <case>_0000{path.suffix}.")
        case, channel = named or (stem(path), 0)
        other = found.setdefault(case, {}).setdefault(channel, path)
        if other != path:
            raise UsageError(
                f"{other} and {path} would both be channel {channel} of case {case}; rename one."
            )
    return [_whole(case, channels) for case, channels in sorted(found.items())]


def _check(path: Path, endings: tuple[str, ...]) -> None:
    if not path.exists():
        raise InputError(f"There is no file or folder {path}; check the path.")
    if not path.is_file() or ending_of(path, endings) is None:
        raise InputError(
            f"{path} is no picture that the model takes; pass {', '.join(endings)}, or a folder of them."
        )


def _whole(case: str, channels: dict[int, Path]) -> CaseInput:
    lacking = [number for number in range(max(channels) + 1) if number not in channels]
    if lacking:
        given = few([channels[number] for number in sorted(channels)])
        raise InputError(
            f"Case {case} has {given} but no channel {lacking[0]:04d}; add it, or move the others away."
        )
    return CaseInput(case, tuple(channels[number] for number in sorted(channels)))
