"""Which volume of a study is the T2WI, the DWI, its low-b image, its ADC map: a table of rules, and a refusal in doubt.

Headers are enough only where they are clear. Every rule has words, so that a person reads why a series was taken
or left; two series that fit equally well are refused, and the user names one. What was chosen is checked on its pixels
later (`study/checks.py`).

Source of the rules: vendors' conformance statements and real files of five vendors
(tests/runtime/dicom/test_select_vendors.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scanside.runtime.dicom.facts import Facts, facts_of
from scanside.runtime.dicom.header import attribute
from scanside.runtime.dicom.study import SeriesVolume
from scanside.runtime.errors import InputError

Kind = Literal["t2w", "dwi", "b0", "adc"]

B_HIGH = (700.0, 1500.0)
"""s/mm²: what counts as the high-b image."""
B_PREFERRED = (800.0, 1000.0)
B_LOW = 100.0
"""s/mm²: up to here an image counts as the low-b image."""
ECHO_TIME = (50.0, 200.0)
"""ms: T2-weighted spin echoes of the abdomen; MRCP lies above, T1 and proton density below."""
AXIAL = 0.9
FEWEST_SLICES = 5
MARGIN = 0.5
"""Points by which a series must be better than the next one."""


@dataclass(frozen=True)
class Rule:
    """Points for a series that fulfils a test; None: it is out if it does."""

    points: float | None
    words: str
    test: Callable[[Facts], bool]


_NO_STACK = (
    Rule(None, "is a localiser", lambda f: "LOCALIZER" in f.types or f.said(r"LOCALI[SZ]ER|SCOUT|SURVEY|3.?PLANE")),
    Rule(None, "is a reformat, projection or subtraction",
         lambda f: bool(f.types & {"MPR", "MIP", "MINIP", "SUB", "SUBTRACTION", "PROJECTION IMAGE", "COMPOSED"})
         or f.said(r"\bMPR\b|\bMIP\b|SUBTR")),
    Rule(None, "is not axial", lambda f: f.axial <= AXIAL),
    Rule(None, f"has fewer than {FEWEST_SLICES} slices", lambda f: f.slices < FEWEST_SLICES),
)  # fmt: skip
_GOOD_STACK = (
    Rule(1, "15 slices or more", lambda f: f.slices >= 15),
    Rule(1, "covers 120 mm or more", lambda f: f.coverage >= 120),
    Rule(1, "slices of 8 mm or less", lambda f: f.step <= 8),
    Rule(1, "corrected for distortion", lambda f: bool(f.types & {"DIS2D", "DIS3D", "GDC"})),
)

RULES: Mapping[Kind, tuple[Rule, ...]] = {
    "t2w": (
        Rule(None, "is diffusion-weighted", lambda f: f.diffusion),
        Rule(None, "is a map or phase image, not a magnitude image", lambda f: f.map or f.adc),
        *_NO_STACK,
        Rule(None, "is an echo-planar image", lambda f: "EP" in f.scanning or f.said(r"\*?EP2D|\bEPI\b")),
        Rule(None, "is a gradient echo",
             lambda f: "SE" not in f.scanning and bool(f.scanning & {"GR", "FFE", "GRADIENT"})),
        Rule(None, "is an MRCP or a thick slab", lambda f: f.said("MRCP|CHOLANGIO") or f.step > 15),
        Rule(None, "suppresses fluid (FLAIR)", lambda f: f.said("FLAIR|DARK.?FLUID")),
        Rule(None, "says that it is T1-weighted",
             lambda f: "T1" in f.types or (f.said(r"(?<![A-Z0-9])T1(?![0-9])") and not f.said("T2"))),
        Rule(None, f"has no echo time from {ECHO_TIME[0]:g} to {ECHO_TIME[1]:g} ms",
             lambda f: f.echo_time is not None and not ECHO_TIME[0] <= f.echo_time <= ECHO_TIME[1]),
        Rule(None, "states neither an echo time nor T2",
             lambda f: f.echo_time is None and not (f.said("T2") or "T2" in f.types)),
        Rule(3, "says T2", lambda f: f.said("T2") or "T2" in f.types),
        Rule(3, "spin echo with a T2 echo time", lambda f: f.echo_time is not None),
        Rule(1, "echo train", lambda f: (f.train or 0) > 1),
        Rule(1, "fat suppressed", lambda f: f.fat_sat),
        Rule(-2, "after contrast agent", lambda f: f.contrast),
        Rule(-1, "computed by the scanner", lambda f: "DERIVED" in f.types),
        *_GOOD_STACK,
    ),
    "dwi": (
        Rule(None, "is a map, not an image", lambda f: f.map or f.adc),
        Rule(None, "is not diffusion-weighted", lambda f: not f.diffusion),
        Rule(None, "states no b-value", lambda f: f.b is None),
        Rule(None, f"has no b-value from {B_HIGH[0]:g} to {B_HIGH[1]:g} s/mm²",
             lambda f: not B_HIGH[0] <= (f.b or 0) <= B_HIGH[1]),
        *_NO_STACK,
        Rule(3, f"b from {B_PREFERRED[0]:g} to {B_PREFERRED[1]:g} s/mm²",
             lambda f: B_PREFERRED[0] <= (f.b or 0) <= B_PREFERRED[1]),
        Rule(1, f"b = {B_PREFERRED[0]:g} s/mm²", lambda f: f.b == B_PREFERRED[0]),
        Rule(2, "trace or isotropic", lambda f: f.isotropic),
        Rule(-3, "one gradient direction", lambda f: f.directional),
        Rule(-6, "computed from other b-values", lambda f: f.computed),
        *_GOOD_STACK,
    ),
    "b0": (
        Rule(None, "is a map, not an image", lambda f: f.map or f.adc),
        Rule(None, "is not diffusion imaging", lambda f: not f.diffusion),
        Rule(None, f"has no b-value up to {B_LOW:g} s/mm²", lambda f: f.b is None or f.b > B_LOW),
        Rule(None, "does not lie on the grid of the DWI", lambda f: not f.fits_dwi),
        *_NO_STACK,
        Rule(-3, "computed from other b-values", lambda f: f.computed),
    ),
    "adc": (
        Rule(None, "is not an ADC map", lambda f: not f.adc),
        *_NO_STACK,
        Rule(3, "on the grid of the DWI", lambda f: f.fits_dwi),
        Rule(1, "called ADC by its image type", lambda f: "ADC" in f.types),
        *_GOOD_STACK,
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the rules say of one volume for one sequence.

    Attributes:
        score: Points, or None when it is out.
        reason: The rules that hold, or the one that put it out.
    """

    volume: SeriesVolume
    score: float | None
    reason: str


@dataclass(frozen=True, eq=False)
class Chosen:
    """The volume taken for a sequence.

    Attributes:
        volume: It.
        reason: Why it.
        warnings: What the user should know about the choice.
    """

    volume: SeriesVolume
    reason: str
    warnings: tuple[str, ...] = ()


def choose_volume(
    kind: Kind, volumes: Sequence[SeriesVolume], dwi: SeriesVolume | None = None
) -> tuple[Chosen | None, tuple[Judgement, ...]]:
    """Choose the volume of one sequence.

    Args:
        volumes: All volumes of the study.
        dwi: The DWI chosen before: its low-b image and ADC map are looked for near it.

    Returns:
        The choice, None when nothing fits; and what was said of every volume.

    Raises:
        InputError: If two fit equally well; it names both.
    """
    judged = tuple(judge(kind, volume, volumes, dwi) for volume in volumes)
    fit = [judgement for judgement in judged if judgement.score is not None]
    ranked = sorted(fit, key=lambda judgement: -(judgement.score or 0.0))
    usable = [judgement for judgement in ranked if judgement.volume.problem is None]
    if not usable:
        if ranked:
            raise InputError(f"The only {kind} of the study cannot be used: {ranked[0].volume.problem}")
        return None, judged
    best = usable[0]
    warnings = tuple(
        f"{judgement.volume.name} would have been taken for {kind}, but: {judgement.volume.problem}"
        for judgement in ranked
        if judgement.volume.problem is not None and (judgement.score or 0) > (best.score or 0)
    )
    if kind == "b0":
        return Chosen(_lowest(usable, dwi), "lowest b-value on the grid of the DWI", warnings), judged
    rivals = [other for other in usable if (best.score or 0) - (other.score or 0) < MARGIN]
    if len(rivals) == 1:
        return Chosen(best.volume, best.reason, warnings), judged
    latest = _latest_repeat([rival.volume for rival in rivals])
    if latest is None:
        raise _ambiguous(kind, rivals[0].volume, rivals[1].volume)
    repeat = f"{kind} was taken {len(rivals)} times; the last one is used ({latest.name})."
    return Chosen(latest, f"{best.reason}; last of {len(rivals)} repeats", (*warnings, repeat)), judged


def _ambiguous(kind: Kind, first: SeriesVolume, second: SeriesVolume) -> InputError:
    if first.series_uid == second.series_uid:
        return InputError(
            f"Series {first.name} holds several volumes that fit {kind} equally well (gradient directions, time "
            f"points, repeats); choose one by its series, or name a folder with it with --{kind} PATH."
        )
    return InputError(
        f"Two series fit {kind} equally well: {first.name} and {second.name}; choose one by its series, or name it "
        f"with --{kind} PATH."
    )


def judge(
    kind: Kind, volume: SeriesVolume, volumes: Sequence[SeriesVolume], dwi: SeriesVolume | None = None
) -> Judgement:
    """Apply the rules of a sequence to one volume."""
    facts = facts_of(volume, volumes, dwi)
    for rule in RULES[kind]:
        if rule.points is None and rule.test(facts):
            return Judgement(volume, None, rule.words)
    held = [rule for rule in RULES[kind] if rule.points is not None and rule.test(facts)]
    return Judgement(volume, sum(rule.points or 0.0 for rule in held), ", ".join(rule.words for rule in held))


def contradiction(kind: Kind, volume: SeriesVolume, volumes: Sequence[SeriesVolume]) -> str | None:
    """What makes a volume impossible for a sequence, even where a person named it: what it is, and what to do."""
    b = None if volume.b is None else volume.b.nominal
    if kind != "adc" and facts_of(volume, volumes).adc:
        return "is an ADC map; give the images themselves"
    if kind == "dwi" and b is not None and b <= B_LOW:
        return f"has b = {b:g} s/mm²; give the high-b image"
    if kind == "b0" and b is not None and b > B_LOW:
        return f"has b = {b:g} s/mm²; give the low-b image"
    return None


def _lowest(usable: Sequence[Judgement], dwi: SeriesVolume | None) -> SeriesVolume:
    """The lowest b-value; of the DWI's own series if it holds one, since scanners scale series apart."""
    own = [j.volume for j in usable if dwi is not None and j.volume.series_uid == dwi.series_uid]
    return min(own or [j.volume for j in usable], key=lambda v: v.b.nominal if v.b else 0.0)


def _latest_repeat(rivals: Sequence[SeriesVolume]) -> SeriesVolume | None:
    """The last of several repeats of one protocol; None where they are not repeats, or times do not tell."""

    def protocol(volume: SeriesVolume) -> tuple[object, ...]:
        frame, geometry = volume.frames[0], volume.geometry
        grid = None if geometry is None else (geometry.shape, tuple(round(mm, 2) for mm in geometry.spacing))
        shown = ("SeriesDescription", "EchoTime", "RepetitionTime", "ImageType")
        return (*(str(frame.get(key)) for key in shown), volume.b and volume.b.group, grid)

    def when(volume: SeriesVolume) -> tuple[str, str]:
        header = volume.frames[0].instance.header
        day = (
            attribute(header, "AcquisitionDate")
            or attribute(header, "SeriesDate")
            or attribute(header, "StudyDate")
        )
        return str(day or ""), str(
            attribute(header, "AcquisitionTime") or attribute(header, "SeriesTime") or ""
        )

    times = [when(volume) for volume in rivals]
    if (
        len({protocol(volume) for volume in rivals}) > 1
        or len(set(times)) < len(times)
        or not all(t[1] for t in times)
    ):
        return None
    return max(rivals, key=when)
