"""How a person names one volume of a study: `SeriesInstanceUID`, `SeriesInstanceUID#b800`, `SeriesInstanceUID#2`."""

from collections import Counter
from collections.abc import Sequence

from scanside.runtime.dicom.bvalue import BValue
from scanside.runtime.dicom.study import SeriesVolume
from scanside.runtime.errors import InputError


def key_of(volume: SeriesVolume, volumes: Sequence[SeriesVolume]) -> str:
    """The shortest key that names a volume alone: the UID; of several volumes with the b-value, or else the place.

    Args:
        volumes: All of the study, in its order.
    """
    mates = [mate for mate in volumes if mate.series_uid == volume.series_uid]
    if len(mates) == 1:
        return volume.series_uid
    groups = Counter(mate.b.group for mate in mates if mate.b is not None)
    if volume.b is not None and groups[volume.b.group] == 1:
        return f"{volume.series_uid}#b{volume.b.nominal:g}"
    return f"{volume.series_uid}#{1 + next(n for n, mate in enumerate(mates) if mate is volume)}"


def volumes_named(key: str, volumes: Sequence[SeriesVolume]) -> tuple[SeriesVolume, ...]:
    """The volumes that a key names: one, or all of a series where the key is a UID alone.

    Args:
        key: A series' UID; behind it `#b` and a b-value in s/mm², or `#` and the volume's place in the series, from 1.
        volumes: All of the study, in its order.

    Raises:
        InputError: If the study has no such series or volume, or the key makes no sense.
    """
    uid, mark, rest = key.strip().partition("#")
    mates = [volume for volume in volumes if volume.series_uid == uid]
    if not uid or not mates:
        raise InputError(
            f"The study has no series with the UID '{uid}'; choose one of those that it has ({_few(volumes)})."
        )
    if not mark:
        return tuple(mates)
    found = _by_b(rest, mates) if rest[:1] in ("b", "B") else _by_place(rest, mates)
    if len(found) != 1:
        what = "several volumes" if found else "no volume"
        raise InputError(
            f"Series {mates[0].name} has {what} '#{rest}'; choose one of {_keys(mates, volumes)}."
        )
    return tuple(found)


def _by_b(rest: str, mates: Sequence[SeriesVolume]) -> list[SeriesVolume]:
    try:
        group = BValue(float(rest[1:]), 0.0, "").group
    except (ValueError, OverflowError):
        return []
    return [mate for mate in mates if mate.b is not None and mate.b.group == group]


def _by_place(rest: str, mates: Sequence[SeriesVolume]) -> list[SeriesVolume]:
    if not (rest.isascii() and rest.isdigit()) or not 1 <= int(rest[:9]) <= len(mates):
        return []
    return [mates[int(rest) - 1]]


def _keys(mates: Sequence[SeriesVolume], volumes: Sequence[SeriesVolume], shown: int = 8) -> str:
    keys = [key_of(mate, volumes).removeprefix(mate.series_uid) or "the whole series" for mate in mates]
    return ", ".join(keys[:shown]) + (", …" if len(keys) > shown else "")


def _few(volumes: Sequence[SeriesVolume], shown: int = 8) -> str:
    names = list(dict.fromkeys(volume.series_name for volume in volumes))
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")
