"""A path → `StudyInput`: which images are the sequences, read, with where they come from."""

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from scanside.runtime.errors import ImageReadError, InputError, UsageError
from scanside.runtime.images.files import ENDINGS, ending_of
from scanside.runtime.images.names import files_in
from scanside.runtime.images.read import read_image
from scanside.runtime.study.diffusion import two_point_adc
from scanside.runtime.study.records import SEQUENCES, Considered, SequenceImage, StudyInput

if TYPE_CHECKING:
    from scanside.runtime.dicom.select import Judgement, Kind
    from scanside.runtime.dicom.study import DicomStudy, SeriesVolume

TITLES = {
    "t2w": "T2-weighted series",
    "dwi": "diffusion-weighted series with b from 700 to 1500 s/mm²",
    "b0": "low-b image",
    "adc": "ADC map",
}
_SHOWN = 6


def read_study(path: Path, needed: Collection[str], given: Mapping[str, Path] | None = None) -> StudyInput:
    """Read the sequences that a bundle needs.

    The path is a folder with a file or folder per sequence (`t2w.nii.gz`, `dwi.nii.gz`, `adc.nii.gz`, `b0.nii.gz`, or
    a DICOM series in `t2w/`), or a folder with a whole DICOM study, whose series are chosen by `dicom/select.py`.
    An ADC map that is missing is computed from b0 and dwi.

    Args:
        needed: Names of `SEQUENCES`.
        given: Paths that override the choice, by sequence.

    Raises:
        ImageReadError: If a path does not exist or an image cannot be read.
        InputError: If a sequence is missing or cannot be told for sure.
    """
    start = time.perf_counter()
    for one in (path, *(given or {}).values()):
        if not one.exists():
            raise ImageReadError(f"There is no file or folder {one}; check the path.")
    reader = _Reader(path, dict(given or {}), needed)
    wanted = [name for name in SEQUENCES if name in needed]
    # The DWI goes before its ADC map and low-b image, which are looked for near it.
    images = {name: image for name in wanted if (image := reader.find(name)) is not None}
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
    )


class _Reader:
    """Finds sequences in one study; remembers what was looked at."""

    def __init__(self, path: Path, given: dict[str, Path], needed: Collection[str]) -> None:
        self._path, self._given = path, given
        # The ADC map and the low-b image may be absent, so that they do not tell a folder's layout.
        telling = set(needed) - set(given) - {"adc", "b0"}
        self._named = {} if path.is_file() or not set(needed) - set(given) else _named_in(path, telling)
        self._study: DicomStudy | None = None
        self._dwi: SeriesVolume | None = None
        self._judged: dict[str, tuple[Judgement, ...]] = {}
        self.warnings: list[str] = []

    def find(self, name: str) -> SequenceImage | None:
        """The image of a sequence, or None when the study has none."""
        if name in self._given:
            return self._read(name, self._given[name], f"given with --{name}")
        if self._named:
            return self._read(name, self._named[name], "named so") if name in self._named else None
        return self._select(name, self._index(), "chosen")

    def computed_adc(self, images: Mapping[str, SequenceImage]) -> SequenceImage:
        """ADC from the low-b image and the DWI."""
        high = images.get("dwi") or self.find("dwi")
        if high is None:
            raise InputError(self.missing("dwi"))
        low = images.get("b0") or self.find("b0")
        if low is None:
            raise InputError(self.missing("adc"))
        volume = two_point_adc(low.volume, high.volume, low.b, high.b)
        self.warnings.append(
            f"The study has no ADC map; it was computed from b = {low.b:g} and {high.b:g} s/mm² (two points)."
        )
        how = f"computed from b = {low.b:g} ({low.series}) and b = {high.b:g} ({high.series})"
        return replace(high, name="adc", volume=volume, series="computed", how=how, b=None)

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
            return SequenceImage(name, read_image(path), path, path.name, how, _sidecar_b(path))
        from scanside.runtime.dicom.study import index_study

        study = index_study(path)
        if len(study.volumes) == 1:
            self._check_given(name, study.volumes[0])
            return self._load(name, study.volumes[0], how)
        image = self._select(name, study, how)
        if image is None:
            reasons = "; ".join(f"{j.volume.name} {j.reason}" for j in self._judged[name][:_SHOWN])
            raise InputError(
                f"{path} holds no {TITLES[name]} ({reasons}); name another folder with --{name}."
            )
        return image

    def _select(self, name: str, study: "DicomStudy", how: str) -> SequenceImage | None:
        from scanside.runtime.dicom.select import choose_volume

        chosen, self._judged[name] = choose_volume(cast("Kind", name), study.volumes, self._dwi)
        if chosen is None:
            return None
        self.warnings += chosen.warnings
        return self._load(name, chosen.volume, f"{how}: {chosen.reason}" if chosen.reason else how)

    def _check_given(self, name: str, volume: "SeriesVolume") -> None:
        """The user's word goes, but for a b-value that contradicts it."""
        from scanside.runtime.dicom.select import B_HIGH, B_LOW

        b = None if volume.b is None else volume.b.nominal
        if name == "dwi" and b is not None and not B_HIGH[0] <= b <= B_HIGH[1]:
            if b <= B_LOW:
                raise InputError(f"{volume.name}, given as dwi, has b = {b:g} s/mm²; give the high-b image.")
            self.warnings.append(
                f"{volume.name}, given as dwi, has b = {b:g} s/mm²; the model expects {B_HIGH[0]:g} to {B_HIGH[1]:g}."
            )

    def _load(self, name: str, volume: "SeriesVolume", how: str) -> SequenceImage:
        from scanside.runtime.dicom.read import read_frames

        if volume.problem is not None:
            raise InputError(volume.problem)
        if name == "dwi":
            self._dwi = volume
        image, source = read_frames(list(volume.frames), volume.path)
        b = volume.b.actual if volume.b is not None and name in ("dwi", "b0") else None
        return SequenceImage(name, image, volume.path, volume.name, how, b, source)


def _named_in(folder: Path, telling: Collection[str]) -> dict[str, Path]:
    """Sequence → its file or folder, where the folder's members carry the sequences' names.

    A DICOM study may hold a folder `ADC` among others; folders alone count when all of `telling` are there.
    """
    found: dict[str, list[Path]] = {}
    for path in files_in(folder):
        ending = ending_of(path)
        stem = path.name[: -len(ending)].lower() if ending else ""
        if stem in SEQUENCES:
            found.setdefault(stem, []).append(path)
    folders = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    if found or set(telling) <= set(folders):
        for name in (name for name in folders if name in SEQUENCES):
            found.setdefault(name, []).append(folders[name])
    for name, paths in found.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise InputError(f"{folder} holds {name} more than once ({names}); keep one.")
    if not found and (images := [path.name for path in files_in(folder) if ending_of(path)]):
        raise UsageError(
            f"The images in {folder} do not carry the names of sequences ({', '.join(images[:_SHOWN])}); rename "
            f"them to t2w{ENDINGS[0]}, dwi{ENDINGS[0]} and adc{ENDINGS[0]}, or name them with --t2w, --dwi and --adc."
        )
    return {name: paths[0] for name, paths in found.items()}


def _sidecar_b(path: Path) -> float | None:
    """The b-value in `dwi.bval` beside `dwi.nii.gz` (the one number of a file as dcm2niix writes it), or None."""
    ending = ending_of(path) or path.suffix
    sidecar = path.with_name(path.name[: -len(ending)] + ".bval")
    try:
        values = {float(word) for word in sidecar.read_text().split()}
    except (OSError, ValueError):
        return None
    return values.pop() if len(values) == 1 else None


def _is_of(image: SequenceImage, volume: "SeriesVolume") -> bool:
    return (
        image.source is not None
        and set(image.source.frames) == set(volume.frames)
        and image.how[:8] != "computed"
    )
