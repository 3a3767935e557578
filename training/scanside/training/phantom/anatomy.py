# ruff: noqa: RUF005  (arrays are added here, not lists)
"""The body: a list of parts in painting order, in continuous patient space, drawn per patient.

Coordinates are LPS in mm: x grows to the patient's left, y to the back, z to the head; the origin lies in the middle
of the upper abdomen, in front of the spine. Later parts lie over earlier ones.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

from scanside.training.phantom.lesion import Lesion, LesionParameters, make_lesion
from scanside.training.phantom.shapes import Above, Ellipsoid, Lobed, Noise, Rough, Shape, Trunk, Tube

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """A shape of one tissue.

    Attributes:
        tissue: Name in `tissues`.
        shape: Where it is.
        warped: Whether the patient's large-scale deformation applies.
        ripple: Standard deviation of the signal inside, as a part of it.
    """

    tissue: str
    shape: Shape
    warped: bool = True
    ripple: float = 0.04


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One patient's inside.

    Attributes:
        parts: In painting order; the lesion comes after all of them.
        lesion: The lesion.
        gas: (N, 4): x, y, z and radius of the gas that disturbs the magnetic field, mm: pockets, and both lungs' bases.
        warp: Three fields of the large-scale deformation.
        warp_mm: Its standard deviation.
        ripple: The pattern of signal inside the tissues.
        centre: (x, y, z) of the middle of the pancreas and lesion, mm: where an examination is centred.
    """

    parts: tuple[Part, ...]
    lesion: Lesion
    gas: Points
    warp: tuple[Noise, Noise, Noise]
    warp_mm: float
    ripple: Noise
    centre: tuple[float, float, float]


def make_anatomy(rng: np.random.Generator, parameters: LesionParameters, field_t: float) -> Anatomy:
    """Draw a patient's anatomy around a lesion.

    The order of draws is fixed, so the same generator state gives the same patient at every field strength.
    """
    size = float(rng.uniform(0.92, 1.08))
    bumps, ripple = Noise.draw(rng), Noise.draw(rng)
    warp = (Noise.draw(rng, 20), Noise.draw(rng, 20), Noise.draw(rng, 20))
    line, radii = _pancreas(rng, size)
    lesion = _place(rng, parameters, line, field_t)
    trunk = _trunk(rng, size)
    ribs = _ribs(rng, trunk, size)
    organs = _organs(rng, size, bumps)
    gut, gas = _gut(rng, size)
    vessels = _vessels(rng, size, line)
    gland = _gland(line, radii, lesion, bumps, float(rng.uniform(0.8, 2.2)))
    middle = line.mean(axis=0)
    centre = tuple((0.5 * (middle + np.asarray(lesion.centre))).tolist())
    return Anatomy((*trunk, *ribs, *organs, *gut, *vessels, *gland), lesion, gas, warp, 5.0, ripple, centre)


def _jitter(rng: np.random.Generator, centre: Points | tuple[float, ...], sd: float) -> Points:
    return np.asarray(centre, dtype=np.float64) + sd * np.clip(rng.standard_normal(np.shape(centre)), -2, 2)


def _ellipsoid(rng: np.random.Generator, size: float, centre: Points | tuple[float, ...],
               radii: tuple[float, float, float], sd: float = 3.0) -> Ellipsoid:  # fmt: skip
    moved = _jitter(rng, np.multiply(centre, size), sd)
    scaled = np.multiply(radii, size) * rng.uniform(0.92, 1.08, 3)
    return Ellipsoid(tuple(moved.tolist()), tuple(scaled.tolist()))


def _grown(shape: Ellipsoid, by: float) -> Ellipsoid:
    x, y, z = shape.radii
    return replace(shape, radii=(x + by, y + by, z + by))


def _tube(points: Points, radii: Points | float, count: int = 24, tall: float = 1.0) -> Tube:
    """A smooth tube through a few points."""
    along = np.linspace(0, 1, len(points))
    fine = np.linspace(0, 1, count)
    thick = np.interp(fine, np.linspace(0, 1, np.size(radii)), np.atleast_1d(radii))
    return Tube(CubicSpline(along, points)(fine), thick, tall)


def _trunk(rng: np.random.Generator, size: float) -> list[Part]:
    """Skin and subcutaneous fat, the muscle wall, visceral fat, spine and back muscles."""
    wide, deep = 168 * size * rng.uniform(0.96, 1.06), 112 * size * rng.uniform(0.94, 1.08)
    fat, wall = float(rng.uniform(8, 24)), float(rng.uniform(9, 13))
    spine = float(68 * size)
    parts = [
        Part("muscle", Trunk((0, 0), (wide, deep))),  # the skin: what is left of it after the fat
        Part("fat", Trunk((0, 0), (wide - 2.0, deep - 2.0)), ripple=0.15),
        Part("muscle", Trunk((0, 2), (wide - fat, deep - fat * 0.8)), ripple=0.08),
        Part("fat", Trunk((0, -4), (wide - fat - wall, deep - fat * 0.8 - wall)), ripple=0.25),
    ]
    for side in (-1, 1):
        back = Ellipsoid((side * 36 * size, spine + 26, 0.0), (30 * size, 19 * size, 400))
        psoas = _tube(np.array([[side * 28, spine - 2, 20], [side * 38, spine - 2, -40], [side * 48, spine - 8, -110]])
                      * [size, 1, size], np.array([8.0, 17, 22]) * size, 8)  # fmt: skip
        parts += [Part("muscle", back, ripple=0.08), Part("muscle", psoas, ripple=0.06)]
    for level in np.arange(-130, 131, 32.0) * size:
        parts.append(
            Part(
                "marrow", Ellipsoid((0, spine, float(level)), (23 * size, 19 * size, 16.5 * size)), ripple=0.1
            )
        )
        parts.append(
            Part("muscle", Ellipsoid((0, spine, float(level) + 16 * size), (20 * size, 16 * size, 4.0)))
        )
    canal = Ellipsoid((0, spine + 27 * size, 0), (9.5, 8.0, 1000))
    cord = Ellipsoid((0, spine + 27 * size, 0), (4.5, 3.8, 1000))
    bone = Ellipsoid((0, spine + 40 * size, 0), (5.0, 12.0, 1000))
    return [*parts, Part("marrow", bone), Part("csf", canal), Part("cord", cord)]


def _ribs(rng: np.random.Generator, trunk: list[Part], size: float) -> list[Part]:
    """The lower ribs in the muscle wall, from the spine down and forward: a dark rind around marrow."""
    wall, inside = (part.shape for part in trunk[2:4])
    assert isinstance(wall, Trunk) and isinstance(inside, Trunk)
    wide, deep = 0.5 * (np.array(wall.radii) + inside.radii) * 1.02
    parts = []
    for side, level in product((-1, 1), np.arange(5)):
        turn = np.linspace(0.30 + 0.03 * level, 1.9 - 0.22 * level, 9) + 0.04 * rng.standard_normal()
        height = (118 - 27 * level) * size - 44 * np.linspace(0, 1, 9) + rng.normal(0, 2)
        square = 1 + 0.16 * np.sin(2 * turn) ** 2  # the trunk's section is squarish
        line = np.stack([side * wide * square * np.sin(turn), deep * square * np.cos(turn), height], axis=1)
        outer = _tube(line, np.array([4.6, 5.2, 4.2]), 16, tall=1.5)
        parts += [
            Part("bone", outer, ripple=0),
            Part("marrow", replace(outer, radii=outer.radii - 1.8), ripple=0.15),
        ]
    return parts


def _organs(rng: np.random.Generator, size: float, bumps: Noise) -> list[Part]:
    """Liver with its veins, spleen, kidneys, gall bladder."""
    right = Rough(_ellipsoid(rng, size, (-82, 4, 45), (68, 82, 72)), bumps, 4.0, 70)
    left = Rough(_ellipsoid(rng, size, (-22, -48, 56), (66, 34, 36)), bumps, 3.0, 60)
    parts = [Part("liver", right), Part("liver", left)]
    hilum = np.array([-40, -8, 44.0]) * size
    for _ in range(9):
        way = rng.standard_normal(3) * [1, 0.9, 0.8] + [-0.7, 0.1, 0.5]
        end = hilum + way / np.linalg.norm(way) * rng.uniform(40, 70) * size
        bend = 0.5 * (hilum + end) + rng.standard_normal(3) * 7
        parts.append(Part("vein", _tube(np.stack([hilum, bend, end]), np.array([4.2, 2.6, 1.2]), 8)))
    parts.append(Part("spleen", Rough(_ellipsoid(rng, size, (112, 34, 52), (27, 45, 48)), bumps, 2.5, 50)))
    for side, height in ((-1, -24), (1, -10)):
        kidney = _ellipsoid(rng, size, (side * 64, 48, height), (25, 29, 54))
        parts.append(Part("cortex", kidney))
        inner = _grown(kidney, -7)
        parts.append(Part("medulla", Rough(inner, bumps, 4.0, 14)))
        x, y, z = kidney.centre
        parts.append(
            Part("fat", Ellipsoid((x - side * 12, y - 2, z), (13 * size, 8 * size, 24 * size)), ripple=0.2)
        )
        parts.append(Part("fluid", Ellipsoid((x - side * 10, y - 2, z), (6.5, 4.0, 15)), ripple=0.02))
    bladder = _ellipsoid(rng, size, (-62, -44, -2), (14, 15, 27), 5)
    shell = _grown(bladder, 2)
    return [*parts, Part("wall", shell), Part("bile", bladder, ripple=0.02)]


def _gut(rng: np.random.Generator, size: float) -> tuple[list[Part], Points]:
    """Stomach with fluid and gas, duodenum, colon and small bowel; and where the gas is."""
    parts: list[Part] = []
    gas: list[list[float]] = []
    way = np.array([[66, 0, 96], [70, -24, 62], [50, -56, 26], [14, -68, 4], [-22, -58, 2]]) * size
    full = float(rng.uniform(0.75, 1.15))
    stomach = _tube(_jitter(rng, way, 4), np.array([30, 31, 24, 15, 11]) * size * full, 20)
    inner = replace(stomach, radii=stomach.radii - 3.5)
    parts += [Part("wall", Rough(stomach, Noise.draw(rng, 20), 1.0, 12)), Part("fluid", inner, ripple=0.1)]
    level = float(stomach.nodes[:, 1].mean() - rng.uniform(14, 24))
    parts.append(Part("gas", Above(inner, level), ripple=0))
    front = stomach.nodes[np.argmin(stomach.nodes[:, 1] - stomach.radii)]
    gas.append([*(front + [0, -4, 0]).tolist(), float(rng.uniform(12, 20))])
    c_loop = np.array([[-26, -48, 4], [-50, -26, 0], [-56, -4, -24], [-46, 8, -52], [-8, 10, -58]]) * size
    duodenum = _tube(_jitter(rng, c_loop, 3), np.array([11, 12, 12, 11, 9.5]) * size, 20)
    parts += [
        Part("wall", duodenum),
        Part("content", replace(duodenum, radii=duodenum.radii - 3), ripple=0.3),
    ]
    colon = np.array(
        [[-122, 4, -110], [-118, -10, -60], [-104, -58, -42], [-40, -84, -48], [40, -84, -38], [98, -50, 2],
         [116, 0, -4], [122, 24, -60], [120, 24, -110]]
    ) * size  # fmt: skip
    haustra = 16 * size + 3.5 * np.sin(np.linspace(0, 30, 60) + rng.uniform(0, 6))
    bowel = _tube(_jitter(rng, colon, 7), haustra, 60)
    lumen = replace(bowel, radii=bowel.radii - 3)
    parts += [Part("wall", bowel), Part("stool", lumen, ripple=0.35)]
    for part in np.array_split(np.arange(8, 52), 4):
        if rng.random() < 0.7:
            run = slice(part[0], part[-1] + 1)
            pocket = replace(lumen, nodes=lumen.nodes[run], radii=lumen.radii[run])
            middle = pocket.nodes.mean(axis=0)
            height = float(middle[1] - rng.uniform(-2, 7))
            parts.append(Part("gas", Above(pocket, height), ripple=0))
            gas.append([middle[0], middle[1] - 6, middle[2], float(rng.uniform(8, 15))])
    for _ in range(14):
        spot = np.array([rng.uniform(-75, 85), rng.uniform(-70, -5), rng.uniform(-110, -38)]) * size
        loop = _tube(np.stack([spot, spot + rng.standard_normal(3) * 16, spot + rng.standard_normal(3) * 24]),
                     np.array([9.0, 10.5, 9.0]) * size, 8)  # fmt: skip
        kind = ("content", "content", "fluid", "stool")[int(rng.integers(4))]
        parts += [Part("wall", loop), Part(kind, replace(loop, radii=loop.radii - 2.5), ripple=0.25)]
    domes = [[-72 * size, -10, 180 * size, 56 * size], [76 * size, -8, 184 * size, 54 * size]]
    return parts, np.array([*gas, *domes])


def _vessels(rng: np.random.Generator, size: float, line: Points) -> list[Part]:
    """Aorta, vena cava, mesenteric, splenic and portal vessels."""
    aorta = Ellipsoid(tuple(_jitter(rng, (11 * size, 34 * size, 0), 2).tolist()), (9.5, 9.5, 2000))
    cava = Ellipsoid(tuple(_jitter(rng, (-20 * size, 34 * size, 0), 2).tolist()), (12.5, 9.5, 2000))
    neck, tail = line[int(0.34 * len(line))], line[-1]
    behind = neck + [0, 11, -3]
    mesenteric = _tube(
        np.stack([behind, behind + [0, 3, -40], behind + [4, -6, -110]]), np.array([6.0, 5.5, 4]), 10
    )
    artery = _tube(np.stack([np.array(aorta.centre) + [0, -6, 4], behind + [14, 7, -14], behind + [13, 0, -110]]),
                   np.array([3.8, 3.6, 3.0]), 12)  # fmt: skip
    hilum = np.array([-40, -8, 44.0]) * size
    portal = _tube(
        np.stack([behind, 0.5 * (behind + hilum) + [0, 3, 0], hilum]), np.array([6.8, 6.6, 6.0]), 12
    )
    path = line[int(0.40 * len(line)) :: 6] + [0, 9.5, 1]
    splenic = _tube(np.concatenate([[behind], path, [tail + [14, 6, 4]]]), 4.0, 30)
    branches = _branches(rng, size, behind, mesenteric, artery)
    tubes = [
        (Part("vein", portal)),
        Part("vein", mesenteric),
        Part("vein", splenic),
        Part("artery", artery),
        *branches,
    ]
    big = [Part("artery", aorta), Part("vein", cava)]
    return [replace(part, warped=False, ripple=0.1) for part in (*big, *tubes)]


def _branches(rng: np.random.Generator, size: float, behind: Points, vein: Tube, artery: Tube) -> list[Part]:
    """What runs beside the pancreas and through the mesentery: thin, winding, as bright or dark as lesions are."""

    def winding(start: Points, end: Points, thick: tuple[float, float], tissue: str) -> Part:
        way = np.linspace(start, end, 5)
        way[1:4] += rng.standard_normal((3, 3)) * 4 * size
        return Part(tissue, _tube(way, np.array(thick), 9))

    parts = []
    for _ in range(12):  # jejunal, ileal and colic pairs
        low = int(rng.integers(3, 9))
        end = vein.nodes[low] + rng.uniform([-75, -55, -45], [80, -10, 5]) * size
        parts.append(winding(vein.nodes[low], end, (2.4, 1.2), "vein"))
        parts.append(winding(artery.nodes[low + 1], end + [3, 2, 2], (1.6, 0.9), "artery"))
    trunk = behind + np.array([6, 12, 22]) * size
    parts.append(
        winding(trunk, behind + np.array([-24, -6, 4]) * size, (2.4, 2.0), "artery")
    )  # common hepatic
    parts.append(winding(behind + np.array([-20, -14, 6]) * size, behind + np.array([-30, -18, -34]) * size,
                         (1.9, 1.2), "artery"))  # gastroduodenal, in front of the head  # fmt: skip
    parts.append(winding(behind + np.array([0, 2, -14]) * size, behind + np.array([-6, -40, -24]) * size,
                         (2.6, 1.6), "vein"))  # gastrocolic  # fmt: skip
    parts.append(winding(behind + np.array([8, 2, -2]) * size, behind + np.array([34, 10, -90]) * size,
                         (2.2, 1.6), "vein"))  # inferior mesenteric  # fmt: skip
    return parts


def _pancreas(rng: np.random.Generator, size: float) -> tuple[Points, Points]:
    """Centreline head → tail, (80, 3) mm, and its radii."""
    way = np.array(
        [[-32, -4, -34], [-34, -10, -12], [-12, -24, 6], [18, -27, 14], [50, -12, 22], [84, 14, 34]]
    )
    way = _jitter(rng, way * size, 3.5) + rng.standard_normal(3) * [3, 3, 5]
    thick = np.array([8.0, 13.5, 9.0, 9.5, 9.5, 8.0]) * size * rng.uniform(0.88, 1.12)
    tube = _tube(way, thick, 80)
    return tube.nodes, tube.radii


def _place(rng: np.random.Generator, parameters: LesionParameters, line: Points, field_t: float) -> Lesion:
    """Put the lesion into the gland, off its axis; large ones grow forward, away from aorta and spine."""
    at = line[int(parameters.along * (len(line) - 1))].copy()
    at += rng.standard_normal(3) * [3, 2, 3] * min(parameters.size_mm / 30, 1.5)
    reach = 0.42 * parameters.size_mm
    at[1] = min(at[1] - 0.12 * reach, 24 - reach)
    return make_lesion(rng, parameters, (float(at[0]), float(at[1]), float(at[2])), field_t)


def _gland(line: Points, radii: Points, lesion: Lesion, bumps: Noise, lobes_mm: float) -> list[Part]:
    """The lobed pancreas, thinned upstream of the lesion and another tissue where obstructed; its duct; the bile duct.

    Obstructive pancreatitis begins in the middle of the lesion, which hides where it does.
    """
    own = lesion.parameters
    along = np.linspace(0, 1, len(line))
    upstream = 1 / (1 + np.exp(-(along - own.along) / 0.03))
    thick = radii * (1 - own.atrophy * upstream)
    duct = np.minimum(0.5 * (1.3 + (own.duct_mm - 1.3) * upstream), 0.62 * thick)
    first = 8  # the duct ends at the papilla, short of the lowest part of the head
    gland = Lobed(Tube(line, thick, 1.25), bumps, lobes_mm, 8.0)
    wide = 2.4 + (0.55 * own.duct_mm if own.place == "head" else 0.0)
    papilla = line[first] + [-8, 2, 0]
    bile = _tube(np.stack([papilla, line[22] + [-16, 6, 6], line[26] + [-26, 6, 26]]), wide, 10)
    parts = [Part("pancreas", gland, ripple=0.07)]
    behind = int(np.searchsorted(along, own.along))
    if own.obstruction > 0.05 and behind < len(line) - 2:
        beyond = replace(gland, shape=Tube(line[behind:], thick[behind:], 1.25))
        parts.append(Part("obstructed", beyond, ripple=0.09))
    parts.append(Part("bile", bile, ripple=0))
    parts.append(Part("duct", Tube(line[first:-4], duct[first:-4]), ripple=0))
    return [replace(part, warped=False) for part in parts]
