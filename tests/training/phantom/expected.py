"""What drawn parameters should measure, in closed form: no rendering, so thousands of patients take a second."""

from collections.abc import Callable
from functools import cache

import numpy as np
from scipy import special

from scanside.training.phantom.cohort import PhantomPatient, draw_patient, stream
from scanside.training.phantom.lesion import LesionParameters
from scanside.training.phantom.scanners import Scanner
from scanside.training.phantom.signal import ivim, spin_echo
from scanside.training.phantom.tissues import Tissue, draw_tissues, obstructed

_NODES, _WEIGHTS = special.roots_hermitenorm(15)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()

Equation = Callable[..., np.ndarray]


def cohort(count: int, seed: int) -> list[PhantomPatient]:
    """Patients with a third of them on the held-out scanner, as in a test cohort."""
    return [draw_patient(index, seed, "test") for index in range(count)]


def t2_ratio(patient: PhantomPatient) -> float:
    """Lesion over pancreas in the T2-weighted image."""
    scanner, tissues = patient.scanner, _tissues(patient)
    protocol = scanner.t2w

    def equation(t1: float, t2: np.ndarray, density: float, *diffusion: object) -> np.ndarray:
        return spin_echo(t1, t2, density, protocol.te, protocol.tr)

    pancreas = tissues["pancreas"]
    return _lesion(patient.lesion, scanner, tissues, equation) / float(
        spin_echo(pancreas.t1, pancreas.t2, pancreas.density, protocol.te, protocol.tr)
    )


def high_b_ratio(patient: PhantomPatient, b: float, *, upstream: bool = False) -> float:
    """Lesion over healthy pancreas, or over what the pancreas upstream of it has become, at a b-value."""
    protocol, tissues = patient.scanner.dwi, _tissues(patient)

    def equation(t1: float, t2: np.ndarray, density: float, d: float, f: float, d_star: float) -> np.ndarray:
        return spin_echo(t1, t2, density, protocol.te, protocol.tr) * ivim(d, f, d_star, b)

    gland = tissues["pancreas"]
    gland = obstructed(gland, patient.lesion.obstruction) if upstream else gland
    return _lesion(patient.lesion, patient.scanner, tissues, equation) / float(
        equation(gland.t1, np.array(gland.t2), gland.density, gland.d, gland.f, gland.d_star)
    )


def mean_adc(patient: PhantomPatient) -> float:
    """Mean ADC of the lesion, 1e-3 mm²/s, from its mean signals."""
    protocol, tissues = patient.scanner.dwi, _tissues(patient)

    def at(b: float) -> float:
        def equation(
            t1: float, t2: np.ndarray, density: float, d: float, f: float, d_star: float
        ) -> np.ndarray:
            return spin_echo(t1, t2, density, protocol.te, protocol.tr) * ivim(d, f, d_star, b)

        return _lesion(patient.lesion, patient.scanner, tissues, equation)

    low, high = protocol.b_actual
    return float(np.log(at(low) / at(high)) / (high - low) * 1e3)


@cache
def _tissues(patient: PhantomPatient) -> dict[str, Tissue]:
    return draw_tissues(stream(patient.seed, patient.index, "tissues"), patient.scanner.field_t)


def _lesion(own: LesionParameters, scanner: Scanner, tissues: dict[str, Tissue], equation: Equation) -> float:
    """Mean signal of solid tumour with its T2 texture, cysts and clots. The capsule and the rim are left out."""
    low_field = scanner.field_t < 2
    t2 = own.t2_ms * (46 / 43.5 if low_field else 1.0) * np.exp(own.texture * _NODES)
    solid = float(
        (_WEIGHTS * equation(own.t1_ms * (0.8 if low_field else 1.0), t2, 0.9, own.d, own.f, 40.0)).sum()
    )

    def of(name: str) -> float:
        tissue = tissues[name]
        return float(equation(tissue.t1, tissue.t2, tissue.density, tissue.d, tissue.f, tissue.d_star))

    return (1 - own.cystic - own.clot) * solid + own.cystic * of("cyst") + own.clot * of("blood_clot")
