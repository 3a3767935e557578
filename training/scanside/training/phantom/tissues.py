"""What tissues are made of: relaxation, diffusion and proton density, per field strength and per subject.

T1 and T2 in ms, D and D* in 1e-3 mm²/s, f and proton density as fractions. Each subject draws its own values around
the means, with the spread that population studies report (5 to 10 %).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Tissue:
    """One tissue at one field strength.

    Attributes:
        t1: ms.
        t2: ms.
        density: Proton density relative to water; for flowing blood, what is left after flow voids.
        d: Diffusion coefficient, 1e-3 mm²/s.
        f: Perfusion fraction.
        d_star: Pseudo-diffusion coefficient, 1e-3 mm²/s.
        fat: Fraction of the signal that is fat: what fat suppression takes away.
    """

    t1: float
    t2: float
    density: float
    d: float
    f: float = 0.0
    d_star: float = 0.0
    fat: float = 0.0


_AT_3T: Mapping[str, Tissue] = {
    # T1, T2: de Bazelaire 2004 (3 T column) unless said otherwise. IVIM: OSIPI TF2.4 abdominal phantom, set so that
    # ADC(0, 800) is pancreas 1.5, spleen 0.9, liver 1.4, fluid 2.8. Proton densities are our assumption.
    "pancreas": Tissue(760, 43.5, 0.90, 1.30, 0.15, 10),
    "liver": Tissue(809, 34, 0.80, 1.24, 0.12, 60),
    "spleen": Tissue(1328, 61, 0.85, 0.83, 0.06, 30),
    "cortex": Tissue(1142, 76, 0.85, 1.75, 0.14, 20),
    "medulla": Tissue(1545, 81, 0.85, 1.65, 0.10, 20),
    "muscle": Tissue(1100, 31, 0.80, 1.37, 0.10, 30),
    "fat": Tissue(382, 68, 1.00, 0.06, fat=1.0),
    "marrow": Tissue(586, 49, 0.55, 0.45, 0.05, 20, fat=0.60),
    "artery": Tissue(1664, 147, 0.05, 3.0, 1.0, 100),
    "vein": Tissue(1584, 66, 0.18, 3.0, 1.0, 100),
    "fluid": Tissue(4000, 900, 0.95, 2.8),
    "bile": Tissue(3000, 600, 0.95, 2.75),
    "duct": Tissue(3500, 700, 0.95, 2.8),
    "csf": Tissue(4300, 1500, 1.0, 2.9),
    "cord": Tissue(993, 78, 0.75, 0.9),
    "wall": Tissue(1200, 58, 0.80, 1.35, 0.12, 20),
    "content": Tissue(1800, 130, 0.70, 1.5, 0.05, 20),
    "stool": Tissue(900, 55, 0.45, 1.2),
    "gas": Tissue(1000, 10, 0.0, 1.0),
    "cyst": Tissue(3200, 420, 0.95, 2.6),
    "blood_clot": Tissue(950, 38, 0.85, 0.85),
    "bone": Tissue(1000, 5, 0.15, 0.3),
}

_AT_1_5T: Mapping[str, tuple[float, float]] = {
    # T1, T2 in ms at 1.5 T, same sources.
    "pancreas": (584, 46),
    "liver": (576, 46),
    "spleen": (1057, 79),
    "cortex": (966, 87),
    "medulla": (1412, 85),
    "muscle": (950, 36),
    "fat": (312, 80),
    "marrow": (549, 49),
    "artery": (1585, 254),
    "vein": (1582, 181),
    "wall": (1000, 62),
}

TISSUES = tuple(_AT_3T)
"""Names of all tissues, in a fixed order: draws depend on it."""

_SPREAD = {"t1": 0.06, "t2": 0.06, "density": 0.03, "d": 0.06, "f": 0.15}
"""Standard deviation between subjects, as a fraction of the mean."""


def draw_tissues(rng: np.random.Generator, field_t: float) -> dict[str, Tissue]:
    """Draw one subject's tissues at a field strength.

    The same generator state gives the same subject at every field: only the means differ.

    Args:
        rng: Source of the subject's deviations.
        field_t: 1.5 or 3.0, tesla.
    """
    drawn = {}
    for name in TISSUES:
        base = at_field(name, field_t)
        factors = {
            key: 1 + sd * float(np.clip(rng.standard_normal(), -2.5, 2.5)) for key, sd in _SPREAD.items()
        }
        drawn[name] = replace(base, **{key: getattr(base, key) * factor for key, factor in factors.items()})
    content = 0.55 + 0.45 * float(rng.random())
    for name in ("fluid", "content"):  # what a stomach holds is rarely pure water
        drawn[name] = replace(drawn[name], density=drawn[name].density * content)
    return drawn


def at_field(name: str, field_t: float) -> Tissue:
    """The mean values of a tissue at 1.5 or 3.0 tesla."""
    tissue = _AT_3T[name]
    if field_t < 2 and name in _AT_1_5T:
        t1, t2 = _AT_1_5T[name]
        return replace(tissue, t1=t1, t2=t2)
    return tissue


def obstructed(pancreas: Tissue, level: float) -> Tissue:
    """Pancreas upstream of a closed duct: obstructive pancreatitis.

    At b = 1000 it is brighter than healthy pancreas, and so hides tumours: of 80 PDAC 12 are isointense and 4
    hypointense against the pancreas around them, 26 have no clear border upstream; the ADC there is 1.24 against 1.33
    on the other side (Fukukura et al., Radiology 263:732, 2012) or 1.44 against 1.47 (Huang et al., J Dig Dis 12:401,
    2011). T1 and T2 grow with oedema; by how much is our assumption, set so that these shares come out.

    Args:
        pancreas: The subject's own.
        level: 0 for healthy, 1 for fully obstructed.
    """
    return replace(
        pancreas,
        t1=pancreas.t1 * (1 + 0.25 * level),
        t2=pancreas.t2 * (1 + 0.15 * level),
        d=pancreas.d * (1 - 0.06 * level),
        f=pancreas.f * (1 - 0.2 * level),
    )
