"""What the rules of `select.py` look at: a volume's headers, read once, in one vocabulary for all vendors."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from scanside.runtime.dicom.bvalue import diffusion_words, is_b_range
from scanside.runtime.dicom.frames import Frame
from scanside.runtime.dicom.header import attribute
from scanside.runtime.dicom.study import SeriesVolume, directionality, gradient
from scanside.runtime.errors import InputError

B_DIFFUSION = 50.0
"""s/mm²: from here a b-value says that the series is diffusion-weighted; b = 0 stands on anything."""


@dataclass(frozen=True)
class Facts:
    """What the rules look at.

    Attributes:
        words: Description, protocol and sequence name, upper case.
        types: Image type or frame type, upper case.
        scanning: ScanningSequence, upper case; of enhanced objects the pulse sequence's name.
        echo_time, train: ms and number of echoes; None where not stated.
        axial: |cosine| between the slice normal and the body's axis; None without a grid.
        slices, step, coverage: Number, mm, mm.
        fat_sat, contrast: Fat is suppressed; contrast agent was given.
        computed: From several b-values, by the scanner.
        isotropic, directional: Trace-weighted; of one gradient direction.
        map: A map other than ADC, or no magnitude image.
        adc: An ADC map.
        diffusion: The series holds an image with b ≥ 50, or says that it is diffusion-weighted.
        b: s/mm².
        fits_dwi: Lies on the grid of the DWI that was chosen.
    """

    words: str
    types: frozenset[str]
    scanning: frozenset[str]
    echo_time: float | None
    train: float | None
    axial: float
    slices: int
    step: float
    coverage: float
    fat_sat: bool
    contrast: bool
    computed: bool
    isotropic: bool
    directional: bool
    map: bool
    adc: bool
    diffusion: bool
    b: float | None
    fits_dwi: bool

    def said(self, pattern: str) -> bool:
        """Whether the words match."""
        return re.search(pattern, self.words) is not None


def facts_of(volume: SeriesVolume, volumes: Sequence[SeriesVolume], dwi: SeriesVolume | None = None) -> Facts:
    """Collect what the rules look at.

    Args:
        volumes: All of the study: whether a series is diffusion-weighted shows in its other b-values too.
    """
    frame = volume.frames[0]
    header = frame.header
    spoken = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
    words = " | ".join(str(attribute(header, key) or "") for key in spoken).upper()
    types = frozenset(word.upper() for key in ("ImageType", "FrameType") for word in _words(frame, key))
    scanning = frozenset(
        word.upper() for key in ("ScanningSequence", "EchoPulseSequence") for word in _words(frame, key)
    )
    adc = _is_adc(types, words)
    computed = re.search(r"CALC|C_?BVAL|SYNTH|COMPUTED|\bCDWI|\bSDWI", words) is not None or is_b_range(frame)
    direction = directionality(frame)
    trace = (
        bool(types & {"TRACEW", "TRACE", "ISOTROPIC"})
        or re.search(r"TRACE|(?<![A-Z])ISO(?![A-Z])|ISOTROP", words) is not None
    )
    weighted = volume.b is not None and volume.b.nominal > 0
    geometry = volume.geometry
    return Facts(
        words=words,
        types=types,
        scanning=scanning,
        echo_time=_number(frame, "EffectiveEchoTime") or _number(frame, "EchoTime"),
        train=_number(frame, "EchoTrainLength"),
        axial=_axial(frame),
        slices=len(volume.frames),
        step=geometry.spacing[0] if geometry else 0.0,
        coverage=geometry.spacing[0] * geometry.shape[0] if geometry else 0.0,
        fat_sat=_fat_suppressed(frame, words),
        contrast=bool(attribute(header, "ContrastBolusAgent")),
        computed=computed and not adc,
        isotropic=trace or direction == "ISOTROPIC",
        directional=not trace and weighted and (direction == "DIRECTIONAL" or bool(gradient(frame))),
        map=bool(types & _MAPS) or re.search(r"\bE-?ADC\b|EXPONENTIAL|\bFA\b|FIELD.?MAP|COLFA", words) is not None,
        adc=adc,
        diffusion=_is_diffusion(volume, volumes, types),
        b=None if volume.b is None else volume.b.nominal,
        fits_dwi=dwi is not None and _same_grid(volume, dwi),
    )  # fmt: skip


_MAPS = frozenset(
    {
        "FA",
        "FRACTIONAL_ANISOTROPY",
        "TENSOR",
        "EADC",
        "EXP",
        "P",
        "P_SE",
        "PHASE",
        "PHASE_MAP",
        "VELOCITY",
        "B0",
        "I",
    }
    | {"R", "REAL", "IMAGINARY", "T1_MAP", "T1 MAP", "T2_MAP", "T2 MAP", "T2_STAR", "R2_MAP", "R2_STAR"}
)
"""Image types that are no magnitude images. (`T1` and `T2` are flavours of magnitude images: PS3.3 C.8.16.1.3.)"""


def _is_adc(types: frozenset[str], words: str) -> bool:
    exponential = re.search(r"\bE-?ADC\b|EXPONENTIAL", words) is not None or "EADC" in types
    said = re.search(r"(?<![A-Z])ADC(?![A-Z])|APPARENT DIFF", words) is not None
    return not exponential and (bool(types & {"ADC", "ADC_UNSPECIFIED", "ADC_MAP"}) or said)


def _is_diffusion(volume: SeriesVolume, volumes: Sequence[SeriesVolume], types: frozenset[str]) -> bool:
    if "DIFFUSION" in types or diffusion_words(volume.frames[0]):
        return True
    mates = [volume, *(v for v in volumes if v.series_uid and v.series_uid == volume.series_uid)]
    return any(mate.b is not None and mate.b.nominal >= B_DIFFUSION for mate in mates)


def _fat_suppressed(frame: Frame, words: str) -> bool:
    options = {word.upper() for word in _words(frame, "ScanOptions")}
    return (
        bool(options & {"FS", "FATSAT", "FAT_SAT"})
        or re.search(r"(?<![A-Z])FS(?![A-Z])|FAT.?SAT|SPAIR|SPIR|STIR", words) is not None
    )


def _same_grid(volume: SeriesVolume, other: SeriesVolume) -> bool:
    if volume.geometry is None or other.geometry is None:
        return False
    same_frame = volume.frames[0].get("FrameOfReferenceUID") == other.frames[0].get("FrameOfReferenceUID")
    return same_frame and volume.geometry.difference(other.geometry) is None


def _axial(frame: Frame) -> float:
    try:
        a, b, _, d, e, _ = frame.numbers("ImageOrientationPatient", 6)
    except InputError:
        return 1.0  # without an orientation the geometry gate refuses the series, in its own words
    return abs(a * e - b * d)


def _words(frame: Frame, keyword: str) -> tuple[str, ...]:
    value = frame.get(keyword)
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(part) for part in value)


def _number(frame: Frame, keyword: str) -> float | None:
    for group in frame.groups:
        for sequence in ("MRTimingAndRelatedParametersSequence", "MREchoSequence"):
            for item in attribute(group, sequence) or ():
                if (found := _float(attribute(item, keyword))) is not None:
                    return found
    return _float(frame.get(keyword))


def _float(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
