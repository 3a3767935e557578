"""A path → `StudyInput`: which images are the sequences, read, with where they come from."""

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from scanside.runtime.errors import ImageReadError, InputError, UsageError
from scanside.runtime.images.files import ending_of
from scanside.runtime.images.read import read_image
from scanside.runtime.remark import Remark
from scanside.runtime.study.clinical import read_clinical
from scanside.runtime.study.diffusion import fitted_adc
from scanside.runtime.study.named_folder import named_in, sidecar_b
from scanside.runtime.study.records import SEQUENCES, Considered, SequenceImage, StudyInput
from scanside.runtime.volume import Volume

if TYPE_CHECKING:
    from scanside.runtime.dicom.select import Judgement, Kind
    from scanside.runtime.dicom.study import DicomStudy, SeriesVolume

TITLES = {
    "t2w": "T2-weighted series",
    "dwi": "diffusion-weighted series with b from 700 to 1500 s/mm²",
    "b0": "low-b image",
    "adc": "ADC map",
}
COMPUTED = "computed"
"""`SequenceImage.series` of an ADC map that no scanner made."""
BY_OPERATOR = "chosen by the operator"
"""How `SequenceImage.how` and `Considered.reason` begin where a person named the series."""
_SHOWN = 6


def read_study(
    path: Path,
    needed: Collection[str],
    given: Mapping[str, Path] | None = None,
    series: Mapping[str, str] | None = None,
) -> StudyInput:
    """Read the sequences that a bundle needs.

    The path is a folder with a file or folder per sequence (`t2w.nii.gz`, `dwi.nii.gz`, `adc.nii.gz`, `b0.nii.gz`, or
    a DICOM series in `t2w/`), or a folder with a whole DICOM study, whose series are chosen by `dicom/select.py`.
    An ADC map that is missing is computed from b0 and dwi. Age and sex come from DICOM, other covariates from
    `clinical.json` in the folder.

    Args:
        needed: Names of `SEQUENCES`.
        given: Paths that override the choice, by sequence.
        series: Series of the study that override the choice, by sequence: a SeriesInstanceUID, where needed followed
            by `#b800` (the b-value) or `#2` (the volume's place in the series, from 1), as `list_series` gives them.

    Raises:
        ImageReadError: If a path does not exist or an image cannot be read.
        InputError: If a sequence is missing or cannot be told for sure, or a choice contradicts physics.
        UsageError: If an override names no sequence, or one sequence is overridden twice.
    """
    start = time.perf_counter()
    _check_overrides(given or {}, series or {})
    for one in (path, *(given or {}).values()):
        if not one.exists():
            raise ImageReadError(f"There is no file or folder {one}; check the path.")
    reader = _Reader(path, dict(given or {}), dict(series or {}), needed)
    wanted = [name for name in SEQUENCES if name in needed]
    # The DWI goes before its ADC map and low-b image, which are looked for near it.
    images = {name: image for name in wanted if (image := reader.find(name)) is not None}
    _refuse_twice(images)
    if "adc" in needed and "adc" not in images:
        images["adc"] = reader.computed_adc(images)
    missing = [name for name in wanted if name not in images]
    if missing:
        raise InputError(reader.missing(missing[0]))
    return StudyInput(
        name=path.resolve().name,
        path=path,
        images=images,
        considered=reader.considered(images),
        warnings=tuple(reader.warnings),
        read_ms=(time.perf_counter() - start) * 1000,
        covariates=read_clinical(path, images),
    )


def _check_overrides(given: Mapping[str, Path], series: Mapping[str, str]) -> None:
    unknown = [name for name in (*given, *series) if name not in SEQUENCES]
    if unknown:
        raise UsageError(f"There is no sequence '{unknown[0]}'; choose from {', '.join(SEQUENCES)}.")
    both = [name for name in given if name in series]
    if both:
        raise UsageError(f"{both[0]} is named by a path and by a series; name it once.")


def _refuse_twice(images: Mapping[str, SequenceImage]) -> None:
    """One image cannot be two sequences, whoever says so."""
    found: dict[object, str] = {}
    for name, image in images.items():
        if image.series == COMPUTED:
            continue
        key: object = image.path.resolve()
        if image.source is not None:
            key = frozenset((f.instance.path.resolve(), f.index) for f in image.source.frames)
        if key in found:
            raise InputError(
                f"{found[key]} and {name} are the same images ({image.series}); choose another series for one of them."
            )
        found[key] = name


def _first(pair: "tuple[float, SeriesVolume]") -> float:
    return pair[0]


class _Reader:
    """Finds sequences in one study; remembers what was looked at."""

    def __init__(
        self, path: Path, given: dict[str, Path], series: dict[str, str], needed: Collection[str]
    ) -> None:
        self._path, self._given, self._series = path, given, series
        # The ADC map and the low-b image may be absent, so that they do not tell a folder's layout.
        telling = set(needed) - set(given) - {"adc", "b0"}
        by_name = not path.is_file() and not series and bool(set(needed) - set(given))
        self._named = named_in(path, telling) if by_name else {}
        self._study: DicomStudy | None = None
        self._dwi: SeriesVolume | None = None
        self._beside_dwi: tuple[SeriesVolume, ...] = ()
        self._judged: dict[str, tuple[Judgement, ...]] = {}
        self.warnings: list[str] = []

    def find(self, name: str) -> SequenceImage | None:
        """The image of a sequence, or None when the study has none."""
        if name in self._given:
            return self._read(name, self._given[name], f"given with --{name}")
        if name in self._series:
            return self._by_operator(name)
        if self._named:
            return self._read(name, self._named[name], "named so") if name in self._named else None
        return self._select(name, self._index(), "chosen")

    def computed_adc(self, images: Mapping[str, SequenceImage]) -> SequenceImage:
        """ADC from the low-b image and the DWI, and from what the DWI's series holds between them."""
        high = images.get("dwi") or self.find("dwi")
        if high is None:
            raise InputError(self.missing("dwi"))
        low = images.get("b0") or self.find("b0")
        if low is None:
            raise InputError(self.missing("adc"))
        points = [(low.b, self._scaled_like(low, high)), *self._between(low, high), (high.b, high.volume)]
        volume, used = fitted_adc(points)
        listed = f"{', '.join(f'{b:g}' for b in used[:-1])} and {used[-1]:g}"
        count = "two" if len(used) == 2 else str(len(used))
        computed = f"The study has no ADC map; it was computed from b = {listed} s/mm² ({count} points)."
        self.warnings.append(Remark(computed, "adc-computed"))
        how = f"computed from b = {low.b:g} ({low.series}) and b = {high.b:g} ({high.series})"
        if used != (low.b, high.b):
            how = f"computed from b = {listed} ({high.series})"
        return replace(high, name="adc", volume=volume, series=COMPUTED, how=how, b=None)

    def _between(self, low: SequenceImage, high: SequenceImage) -> list[tuple[float | None, Volume]]:
        """Measured images of the DWI's series with other b-values up to that of the DWI, one a b-value."""
        from scanside.runtime.dicom.facts import facts_of
        from scanside.runtime.dicom.read import read_frames

        found: dict[int, list[SeriesVolume]] = {}
        for mate in self._beside_dwi:
            if mate.b is None or mate.geometry is None or mate.geometry.difference(high.volume.geometry):
                continue
            facts = facts_of(mate, self._beside_dwi)
            if not (facts.map or facts.adc or facts.computed or facts.directional):
                found.setdefault(mate.b.group, []).append(mate)
        values = [(mates[0].b.actual, mates[0]) for mates in found.values() if len(mates) == 1 and mates[0].b]
        inner = [
            (b, mate) for b, mate in values if low.b is not None and high.b is not None and low.b < b < high.b
        ]
        return [
            (b, read_frames(list(mate.frames), mate.path, mate.geometry)[0])
            for b, mate in sorted(inner, key=_first)
        ]

    def _scaled_like(self, low: SequenceImage, high: SequenceImage) -> Volume:
        """The low-b image in the units of the DWI: two series are scaled apart, and Philips says by how much."""
        from scanside.runtime.dicom.pixels import floating_scale

        if low.source is None or high.source is None:
            return low.volume
        if low.source.series_instance_uid == high.source.series_instance_uid:
            return low.volume
        mine, theirs = (floating_scale(image.source.frames) for image in (low, high) if image.source)
        if mine is None or theirs is None:
            apart = (
                f"The ADC is computed from two series ({low.series}; {high.series}), which the scanner may have "
                "scaled apart."
            )
            self.warnings.append(Remark(apart, "adc-scaled-apart"))
            return low.volume
        return Volume((low.volume.data * np.float64(mine / theirs)).astype(np.float32), low.volume.geometry)

    def missing(self, name: str) -> str:
        """The sentence for a sequence that is not there."""
        reasons = [f"{j.volume.name} {j.reason}" for j in self._judged.get(name, ())]
        seen = f" ({'; '.join(reasons[:_SHOWN])}{'; …' if len(reasons) > _SHOWN else ''})" if reasons else ""
        if self._named:
            seen = f" (found {', '.join(sorted(p.name for p in self._named.values()))})"
        option = f"or name it with --{name} PATH" if name != "b0" else "or add the ADC map"
        return f"{self._path} holds no {TITLES[name]}{seen}; add it, {option}."

    def considered(self, images: Mapping[str, SequenceImage]) -> tuple[Considered, ...]:
        """What was made of every series of a DICOM study."""
        if self._study is None:
            return ()
        rows = []
        for volume in self._study.volumes:
            words = {k: j.reason for k, judged in self._judged.items() for j in judged if j.volume is volume}
            chosen = next((n for n, image in images.items() if _is_of(image, volume)), None)
            reason = images[chosen].how if chosen else "; ".join(f"{k}: {why}" for k, why in words.items())
            rows.append(Considered(volume.name, len(volume.frames), chosen, volume.problem or reason))
        refused = [Considered(name, 0, None, why) for name, why in self._study.refused]
        return (*rows, *refused)

    def _index(self) -> "DicomStudy":
        from scanside.runtime.dicom.study import index_study

        if self._study is None:
            self._study = index_study(self._path)
        return self._study

    def _read(self, name: str, path: Path, how: str) -> SequenceImage:
        if path.is_file() and ending_of(path):
            return SequenceImage(name, read_image(path), path, path.name, how, sidecar_b(path))
        from scanside.runtime.dicom.study import index_study

        study = index_study(path)
        if len(study.volumes) == 1:
            self._check_choice(name, study.volumes[0], study, "given")
            return self._load(name, study.volumes[0], study, how)
        image = self._select(name, study, how)
        if image is None:
            reasons = "; ".join(f"{j.volume.name} {j.reason}" for j in self._judged[name][:_SHOWN])
            raise InputError(
                f"{path} holds no {TITLES[name]} ({reasons}); name another folder with --{name}."
            )
        return image

    def _by_operator(self, name: str) -> SequenceImage:
        """The volume that a person chose; of a whole series the one that the rules take."""
        from scanside.runtime.dicom.keys import volumes_named
        from scanside.runtime.dicom.select import choose_volume, judge

        study, kind = self._index(), cast("Kind", name)
        named = volumes_named(self._series[name], study.volumes)
        self._judged[name] = tuple(judge(kind, volume, study.volumes, self._dwi) for volume in study.volumes)
        if len(named) == 1:
            self._check_choice(name, named[0], study, BY_OPERATOR)
            return self._load(name, named[0], study, BY_OPERATOR)
        chosen, judged = choose_volume(kind, named, self._dwi)
        if chosen is None:
            reasons = "; ".join(f"{j.volume.name} {j.reason}" for j in judged[:_SHOWN])
            raise InputError(
                f"Series {named[0].series_name} holds no {TITLES[name]} ({reasons}); choose one of its volumes, "
                "or another series."
            )
        self.warnings += chosen.warnings
        return self._load(name, chosen.volume, study, f"{BY_OPERATOR}: {chosen.reason}")

    def _select(self, name: str, study: "DicomStudy", how: str) -> SequenceImage | None:
        from scanside.runtime.dicom.select import choose_volume

        chosen, self._judged[name] = choose_volume(cast("Kind", name), study.volumes, self._dwi)
        if chosen is None:
            return None
        self.warnings += chosen.warnings
        return self._load(name, chosen.volume, study, f"{how}: {chosen.reason}" if chosen.reason else how)

    def _check_choice(self, name: str, volume: "SeriesVolume", study: "DicomStudy", how: str) -> None:
        """The user's word goes, but for what contradicts it physically; and what the rules say otherwise is told."""
        from scanside.runtime.dicom.select import contradiction, judge

        what = f"{volume.name}, {how} as {name},"
        if (words := contradiction(cast("Kind", name), volume, study.volumes)) is not None:
            raise InputError(f"{what} {words}.")
        made = judge(cast("Kind", name), volume, study.volumes, self._dwi)
        if made.score is None and volume.problem is None:
            b = "" if volume.b is None else f", b = {volume.b.nominal:g} s/mm²"
            against = f"{what} would not have been taken by the rules: it {made.reason}{b}."
            self.warnings.append(Remark(against, "against-rules"))

    def _load(self, name: str, volume: "SeriesVolume", study: "DicomStudy", how: str) -> SequenceImage:
        from scanside.runtime.dicom.read import read_frames

        if volume.problem is not None:
            raise InputError(volume.problem)
        if name == "dwi":
            self._dwi = volume
            self._beside_dwi = tuple(
                mate for mate in study.volumes if mate.series_uid == volume.series_uid and mate is not volume
            )
        self._tell_left_out(name, volume, study)
        image, source = read_frames(list(volume.frames), volume.path, volume.geometry)
        b = volume.b.actual if volume.b is not None and name in ("dwi", "b0") else None
        return SequenceImage(name, image, volume.path, volume.name, how, b, source)

    def _tell_left_out(self, name: str, volume: "SeriesVolume", study: "DicomStudy") -> None:
        """Images of an incomplete second acquisition, at places that the volume has already, are not used: say so."""
        from scanside.runtime.dicom.duplicates import capital

        group = None if volume.b is None else volume.b.group
        rest = [
            mate for mate in study.volumes
            if mate is not volume and mate.series_uid == volume.series_uid and len(mate.frames) < len(volume.frames)
            and (None if mate.b is None else mate.b.group) == group
        ]  # fmt: skip
        if count := sum(len(mate.frames) for mate in rest):
            words = (
                f"{capital(volume.name)} holds {count} further image(s) at places that its {len(volume.frames)} images "
                f"of {name} have already, as of an acquisition that was broken off; they were left out."
            )
            self.warnings.append(Remark(words, "images-left-out"))


def _is_of(image: SequenceImage, volume: "SeriesVolume") -> bool:
    return (
        image.source is not None
        and set(image.source.frames) == set(volume.frames)
        and image.series != COMPUTED
    )
