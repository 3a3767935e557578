"""Lesions: the parameters a tumour draws by its diagnosis, and the shape and matter they are rendered as.

The three diagnoses overlap in every parameter. What tells them apart is rendered (size, edge, surface, texture, cysts,
capsule, T2, D, f) and only that: age and sex never reach an image.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from scanside.runtime.arrays import Float32
from scanside.training.phantom.shapes import Box, Noise

DIAGNOSES = ("PDAC", "PNEN", "SPN")
SHARES = (0.57, 0.20, 0.23)
"""132, 45 and 54 patients in Shi et al., Clin Imaging 96:15 (2023)."""

_PARAMETERS: Mapping[str, Mapping[str, tuple[float, float, float, float]]] = {
    # mean, standard deviation, lowest, highest. Size as the logarithm of mm (median 28, 20, 45 mm). T2 makes the
    # published T2WI ratios to pancreas (PDAC 1.27, PNEN 1.30, SPN 2.0; PMID 36708377); D and f near OSIPI TF2.4 and
    # PMID 24259300. The rest, and every overlap, is our assumption, set so that the classes are as hard to tell apart
    # as the reference demands (an oracle that knows all this reaches AUC 0.90 to 0.93).
    "PDAC": {
        "log_size": (3.332, 0.55, 2.08, 4.38), "t2_ms": (51.2, 6.0, 38, 75), "d": (1.10, 0.17, 0.6, 1.9),
        "f": (0.060, 0.03, 0.01, 0.25), "irregularity": (0.140, 0.047, 0.02, 0.3), "edge_mm": (3.0, 1.05, 0.5, 6),
        "texture": (0.13, 0.045, 0.02, 0.3), "grain_mm": (6.5, 1.5, 3, 12), "cystic": (-0.15, 0.15, 0, 0.4),
        "capsule": (-0.12, 0.28, 0, 1), "clot": (0.0, 0.0, 0, 0), "duct_mm": (3.6, 1.9, 1.2, 9),
    },
    "PNEN": {
        "log_size": (2.996, 0.55, 2.08, 4.38), "t2_ms": (51.2, 6.5, 38, 75), "d": (1.22, 0.19, 0.6, 1.9),
        "f": (0.078, 0.03, 0.01, 0.25), "irregularity": (0.126, 0.045, 0.02, 0.3), "edge_mm": (2.7, 1.0, 0.5, 6),
        "texture": (0.105, 0.045, 0.02, 0.3), "grain_mm": (6.0, 1.5, 3, 12), "cystic": (-0.10, 0.18, 0, 0.5),
        "capsule": (0.00, 0.28, 0, 1), "clot": (0.0, 0.0, 0, 0), "duct_mm": (2.8, 1.6, 1.2, 9),
    },
    "SPN": {
        "log_size": (3.807, 0.50, 2.20, 4.70), "t2_ms": (67.0, 9.0, 42, 100), "d": (1.02, 0.17, 0.6, 1.9),
        "f": (0.050, 0.03, 0.01, 0.25), "irregularity": (0.103, 0.040, 0.02, 0.3), "edge_mm": (2.3, 0.95, 0.5, 6),
        "texture": (0.15, 0.05, 0.02, 0.35), "grain_mm": (5.2, 1.5, 3, 12), "cystic": (0.10, 0.18, 0, 0.6),
        "capsule": (0.28, 0.32, 0, 1), "clot": (0.02, 0.08, 0, 0.25), "duct_mm": (2.4, 1.2, 1.2, 9),
    },
}  # fmt: skip

_PLACES: Mapping[str, tuple[float, float, float]] = {
    # Head, body, tail. PDAC: CURVAS-PDACVI; the others lean to body and tail (assumed).
    "PDAC": (0.65, 0.21, 0.14),
    "PNEN": (0.38, 0.29, 0.33),
    "SPN": (0.33, 0.29, 0.38),
}
_STRETCH: Mapping[str, tuple[float, float]] = {
    "head": (0.06, 0.32),
    "body": (0.45, 0.70),
    "tail": (0.74, 0.95),
}


_T2_WITH_D: Mapping[str, float] = {"PDAC": 0.6}
"""Correlation of T2 and D of the solid part; 0 where none is named.

In PDAC both fall with the share of collagen (ADC against collagen: r = −0.87, Muraoka et al., JMRI 27:1302, 2008), so
that a dark T2 comes with little diffusion and the high-b image stays bright: all 37 PDAC of Huang et al., J Dig Dis
12:401 (2011), are hyperintense at b = 1000. Means and spreads of T2 and ADC stay as they are. That T2 follows with 0.6
is our assumption.
"""


@dataclass(frozen=True)
class LesionParameters:
    """Everything that is drawn about a lesion and rendered.

    Attributes:
        diagnosis: PDAC, PNEN or SPN.
        place: head, body or tail of the pancreas.
        along: Place on the pancreas' centreline, 0 (head) to 1 (tail).
        size_mm: Longest diameter.
        t1_ms: T1 of the solid part at 3 T.
        t2_ms: T2 of the solid part at 3 T.
        d: Diffusion coefficient of the solid part, 1e-3 mm²/s.
        f: Perfusion fraction of the solid part.
        irregularity: Standard deviation of the surface as a part of the radius.
        edge_mm: Width of the rim over which tumour turns into its surroundings.
        texture: Standard deviation of log T2 (and, halved, of log D) inside.
        grain_mm: Width of a texture grain.
        cystic: Volume fraction of cysts.
        capsule: How much of a dark capsule there is, 0 to 1.
        clot: Volume fraction of old haemorrhage.
        duct_mm: Diameter of the pancreatic duct upstream.
        atrophy: By what part the pancreas upstream is thinner.
        obstruction: How far the pancreas upstream has turned into obstructive pancreatitis, 0 to 1.
    """

    diagnosis: str
    place: str
    along: float
    size_mm: float
    t1_ms: float
    t2_ms: float
    d: float
    f: float
    irregularity: float
    edge_mm: float
    texture: float
    grain_mm: float
    cystic: float
    capsule: float
    clot: float
    duct_mm: float
    atrophy: float
    obstruction: float

    def as_dict(self) -> dict[str, float | str]:
        """The parameters by name."""
        return asdict(self)


def draw_parameters(rng: np.random.Generator, diagnosis: str) -> LesionParameters:
    """Draw a lesion of a diagnosis; a value beyond its bounds is set to the bound.

    Obstruction follows the width of the duct, whatever the diagnosis, so that 46 % of the PDAC have obstructive
    pancreatitis upstream (17 of 37: Huang et al. 2011).
    """
    own = _PARAMETERS[diagnosis]
    scores = {name: float(rng.standard_normal()) for name in own}
    together = _T2_WITH_D.get(diagnosis, 0.0)
    scores["d"] = together * scores["t2_ms"] + (1 - together**2) ** 0.5 * scores["d"]
    drawn = {
        name: float(np.clip(mean + sd * scores[name], low, high))
        for name, (mean, sd, low, high) in own.items()
    }
    place = ("head", "body", "tail")[int(np.searchsorted(np.cumsum(_PLACES[diagnosis]), rng.random()))]
    along = float(rng.uniform(*_STRETCH[place]))
    size = float(np.exp(drawn.pop("log_size")))
    atrophy = float(np.clip((drawn["duct_mm"] - 2) / 9 + 0.08 * rng.standard_normal(), 0, 0.6))
    t1 = float(1350 * (1 + 0.1 * np.clip(rng.standard_normal(), -2, 2)))
    obstruction = float(np.clip(0.5 + (drawn["duct_mm"] - 3.8) / 1.6 + 0.25 * rng.standard_normal(), 0, 1))
    return LesionParameters(
        diagnosis, place, along, size, t1, **drawn, atrophy=atrophy, obstruction=obstruction
    )


@dataclass(frozen=True)
class Matter:
    """What a lesion is made of at points: arrays of one shape, units of `tissues.Tissue`; D* is 40e-3 mm²/s."""

    t1: Float32
    t2: Float32
    d: Float32
    f: Float32
    cyst: Float32
    clot: Float32


@dataclass(frozen=True, eq=False)
class Lesion:
    """A lesion in the body. A `Shape`.

    Attributes:
        parameters: What it was drawn as.
        centre: (x, y, z), mm.
        radius: mm; the scale that makes the longest diameter `size_mm`.
        axes: Semi-axes in units of the radius.
        turn: (3, 3) rotation, rows are the lesion's axes.
        surface: Bumps of the surface, and of the T2 texture.
        inside: Cysts and clots, and the texture of D.
        field_t: Tesla: T1 and T2 are given at 3 T and follow the pancreas at 1.5 T.
    """

    parameters: LesionParameters
    centre: tuple[float, float, float]
    radius: float
    axes: tuple[float, float, float]
    turn: npt.NDArray[np.float64]
    surface: Noise
    inside: Noise
    field_t: float

    @property
    def box(self) -> Box:
        """A box that holds the shape, its soft edge included."""
        reach = self.parameters.size_mm * 0.75 + self.parameters.edge_mm
        return np.subtract(self.centre, reach), np.add(self.centre, reach)

    def clip(self, low: float, high: float) -> "Lesion | None":
        """See `Shape`."""
        (_, _, lowest), (_, _, highest) = self.box
        return self if lowest < high and highest > low else None

    def distance(self, x: Float32, y: Float32, z: Float32) -> Float32:
        """See `Shape`."""
        return np.float32(self.radius) * _level(
            self._scaled(x, y, z), self.axes, self.parameters.irregularity, self.surface
        )

    def matter(self, x: Float32, y: Float32, z: Float32, distance: Float32) -> Matter:
        """What is at points; `distance` as `distance(x, y, z)` returned it."""
        own, (u, v, w) = self.parameters, self._scaled(x, y, z)
        grain = np.float32(own.texture) * self.surface.at(x, y, z, own.grain_mm)
        diffusion = np.float32(0.5 * own.texture) * self.inside.at(x, y, z, own.grain_mm)
        factor = (46 / 43.5) if self.field_t < 2 else 1.0
        t2 = np.float32(own.t2_ms * factor) * np.exp(grain)
        rim = np.exp(-(((distance + np.float32(1.2)) / np.float32(1.2)) ** 2))
        t2 *= 1 - np.float32(0.55 * own.capsule) * rim
        t1 = np.full_like(t2, own.t1_ms * (0.8 if self.field_t < 2 else 1.0))
        deep = np.clip((-distance - np.float32(1.0)) / np.float32(2.0), 0, 1)
        cyst = _patches(self.inside.at(u, v, w, 0.7), own.cystic) * deep
        clot = _patches(self.surface.at(w + np.float32(7.3), u, v, 0.6), own.clot) * deep * (1 - cyst)
        return Matter(t1, t2, np.float32(own.d) * np.exp(diffusion), np.full_like(t2, own.f), cyst, clot)

    def _scaled(self, x: Float32, y: Float32, z: Float32) -> tuple[Float32, Float32, Float32]:
        shifted = [value - np.float32(c) for value, c in zip((x, y, z), self.centre, strict=True)]
        rows = (self.turn / self.radius).astype(np.float32)
        u, v, w = (row[0] * shifted[0] + row[1] * shifted[1] + row[2] * shifted[2] for row in rows)
        return u, v, w


def make_lesion(
    rng: np.random.Generator, parameters: LesionParameters, centre: tuple[float, float, float], field_t: float
) -> Lesion:
    """Shape a lesion: a turned ellipsoid with bumps, scaled to its longest diameter exactly.

    Args:
        rng: Source of the shape and of the pattern inside.
        centre: (x, y, z), mm.
        field_t: Tesla.
    """
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    flat = rng.uniform(0.72, 0.92, 2)
    axes = (1.0, float(flat.max()), float(flat.min()))
    surface, inside = Noise.draw(rng), Noise.draw(rng)
    radius = parameters.size_mm / _diameter(axes, parameters.irregularity, surface)
    return Lesion(parameters, centre, radius, axes, turn, surface, inside, field_t)


def _level(
    scaled: tuple[Float32, Float32, Float32],
    axes: tuple[float, float, float],
    irregularity: float,
    surface: Noise,
) -> Float32:
    """Signed distance in units of the radius."""
    u, v, w = scaled
    k = np.sqrt(
        (u / np.float32(axes[0])) ** 2 + (v / np.float32(axes[1])) ** 2 + (w / np.float32(axes[2])) ** 2
    )
    lobes = np.float32(0.88) * surface.at(u, v, w, 0.85) + np.float32(0.47) * surface.at(w, u, v, 0.36)
    bumps = np.clip(lobes, -2.2, 2.2)
    return (k - 1) * np.float32(np.mean(axes)) + np.float32(irregularity) * bumps * np.minimum(k, 1)


def _diameter(axes: tuple[float, float, float], irregularity: float, surface: Noise) -> float:
    """Longest diameter for radius 1: the surface is searched outwards along 400 directions."""
    steps = np.arange(400) + 0.5
    polar, around = np.arccos(1 - 2 * steps / 400), np.pi * (1 + 5**0.5) * steps
    unit = np.stack([np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)])
    reach = np.linspace(0.2, 1.8, 81)
    points = (unit[:, :, None] * reach).astype(np.float32)
    inside = _level((points[0], points[1], points[2]), axes, irregularity, surface) < 0
    last = reach[inside.shape[1] - 1 - np.argmax(inside[:, ::-1], axis=1)]
    ends = (unit * last).T
    return float(np.sqrt(((ends[:, None] - ends[None]) ** 2).sum(-1).max()))


def _patches(noise: Float32, share: float) -> Float32:
    """Soft 0..1 patches that cover `share` of a Gaussian field's volume."""
    if share <= 0.01:
        return np.zeros_like(noise)
    return 1 / (1 + np.exp(np.clip(-(noise - np.float32(ndtri(1 - share))) / np.float32(0.12), -30, 30)))
