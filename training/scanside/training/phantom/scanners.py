"""The virtual scanners: protocols within the ranges that abdominal MRI uses; one is never trained on.

TE, TR, spacing, echo spacing and noise as in the reference collection of abdominal protocols (PMC9201619, table 7)
and our own assumptions where it is silent. Vendors are imitated in their DICOM habits, and not in their image quality.
"""

from dataclasses import dataclass, replace
from typing import TypeVar


@dataclass(frozen=True)
class SpinEchoProtocol:
    """A fat-suppressed T2-weighted turbo spin echo.

    Attributes:
        te: Effective echo time, ms.
        tr: ms.
        spacing: (Z, Y, X) mm; Z is the step between slices.
        shape: (Z, Y, X) voxels.
        thickness: Slice thickness, mm.
        fat: What fat suppression leaves of fat, on average where the magnetic field is even.
        snr: Signal of pancreas over the noise's standard deviation.
        blur: Point spread along the phase-encoding axis, standard deviation in voxels.
    """

    te: float
    tr: float
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    thickness: float
    fat: float
    snr: float
    blur: float

    def ghost_mm(self, period_ms: float) -> float:
        """Distance of respiratory ghosts along the phase-encoding axis (y): FOV · |TR/T − nearest whole number|.

        Lines that lie side by side in k-space are acquired one TR apart, and so see a breath that goes on by TR/T.
        Source: Wood and Henkelman, Med Phys 12:143 (1985).
        """
        cycles = self.tr / period_ms
        return self.spacing[1] * self.shape[1] * abs(cycles - round(cycles))


@dataclass(frozen=True)
class DiffusionProtocol:
    """A single-shot EPI at two b-values.

    Attributes:
        te: ms.
        tr: ms.
        b: Nominal low and high b-value, s/mm².
        b_actual: What the gradients really did.
        spacing: (Z, Y, X) mm; Z is the step between slices.
        shape: (Z, Y, X) voxels.
        thickness: Slice thickness, mm.
        fat: What fat suppression leaves of fat, on average where the magnetic field is even.
        snr: Signal of pancreas in the low-b image over its noise's standard deviation.
        averages: How many times more averages the high-b image has.
        echo_spacing: ms.
        acceleration: Parallel imaging factor.
        ghost: N/2 ghost, as a part of the image.
        blur: T2* point spread along the phase-encoding axis, standard deviation in voxels.
    """

    te: float
    tr: float
    b: tuple[float, float]
    b_actual: tuple[float, float]
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    thickness: float
    fat: float
    snr: float
    averages: float
    echo_spacing: float
    acceleration: float
    ghost: float
    blur: float

    @property
    def field_of_view(self) -> float:
        """Along the phase-encoding axis (y), mm."""
        return self.spacing[1] * self.shape[1]

    def shift_mm(self, off_resonance: float) -> float:
        """EPI displacement along the phase-encoding axis for an off-resonance in Hz: Δf · ESP · FOV / R.

        Source: Jezzard and Balaban, MRM 34:65 (1995).
        """
        return off_resonance * self.echo_spacing * 1e-3 * self.field_of_view / self.acceleration


Protocol = TypeVar("Protocol", SpinEchoProtocol, DiffusionProtocol)


@dataclass(frozen=True)
class Scanner:
    """A virtual scanner.

    Attributes:
        name: As it stands in the cohort table.
        vendor: Whose DICOM habits it has: siemens, ge, philips or uih.
        field_t: Tesla.
        t2w: Its T2-weighted protocol.
        dwi: Its diffusion protocol.
        bias: Coil sensitivity and B1: how far the intensity strays over the body, as a part of it.
        scale: Arbitrary units of pancreas in the T2-weighted image.
    """

    name: str
    vendor: str
    field_t: float
    t2w: SpinEchoProtocol
    dwi: DiffusionProtocol
    bias: float
    scale: float


def with_pixels(scanner: Scanner, factor: float) -> Scanner:
    """The same with other pixels in plane over the same field of view, for measuring what images of a size cost."""

    def changed(protocol: Protocol) -> Protocol:
        (dz, dy, dx), (nz, ny, nx) = protocol.spacing, protocol.shape
        shape = (nz, round(ny / factor), round(nx / factor))
        return replace(protocol, spacing=(dz, dy * factor, dx * factor), shape=shape)

    return replace(scanner, t2w=changed(scanner.t2w), dwi=changed(scanner.dwi))


SCANNERS: tuple[Scanner, ...] = (
    Scanner(
        "alpha-3t", "siemens", 3.0,
        SpinEchoProtocol(84, 4200, (6.0, 1.40, 1.40), (28, 208, 256), 5.0, 0.07, 24, 0.6),
        DiffusionProtocol(62, 4600, (0, 800), (0, 800), (6.0, 2.10, 2.10), (28, 138, 176), 5.0, 0.02, 34, 1.4,
                          0.50, 2, 0.025, 0.6),
        0.30, 190,
    ),
    Scanner(
        "alpha-1t5", "siemens", 1.5,
        SpinEchoProtocol(92, 3600, (6.6, 1.48, 1.48), (26, 196, 246), 6.0, 0.09, 19, 0.6),
        DiffusionProtocol(70, 4000, (50, 800), (50, 800), (6.6, 2.40, 2.40), (26, 122, 154), 6.0, 0.03, 28, 2.0,
                          0.56, 2, 0.02, 0.7),
        0.18, 150,
    ),
    Scanner(
        "beta-3t", "ge", 3.0,
        SpinEchoProtocol(78, 6000, (5.5, 1.33, 1.33), (31, 216, 272), 5.0, 0.06, 26, 0.5),
        DiffusionProtocol(58, 5000, (0, 800), (0, 800), (6.0, 2.00, 2.00), (29, 144, 184), 5.0, 0.02, 38, 1.3,
                          0.62, 2, 0.03, 0.6),
        0.35, 420,
    ),
    Scanner(
        "gamma-1t5", "philips", 1.5,
        SpinEchoProtocol(80, 2400, (6.0, 1.25, 1.25), (29, 232, 288), 5.0, 0.11, 18, 0.8),
        DiffusionProtocol(66, 3200, (0, 800), (0, 800), (6.5, 2.30, 2.30), (27, 128, 160), 5.5, 0.035, 26, 2.2,
                          0.60, 2, 0.04, 0.7),
        0.15, 260,
    ),
    Scanner(
        "gamma-3t", "philips", 3.0,
        SpinEchoProtocol(75, 3000, (5.0, 1.30, 1.30), (34, 224, 276), 4.5, 0.08, 22, 0.7),
        DiffusionProtocol(56, 3800, (0, 800), (0, 800), (5.5, 2.20, 2.20), (30, 132, 168), 5.0, 0.025, 32, 1.5,
                          0.54, 2.2, 0.035, 0.6),
        0.40, 300,
    ),
    Scanner(
        "delta-3t", "uih", 3.0,
        SpinEchoProtocol(96, 5200, (7.0, 1.45, 1.45), (25, 200, 252), 6.0, 0.12, 17, 0.7),
        DiffusionProtocol(74, 5600, (0, 800), (0, 793.5), (7.0, 2.55, 2.55), (25, 116, 146), 6.0, 0.04, 24, 2.4,
                          0.68, 2, 0.05, 0.8),
        0.40, 110,
    ),
)  # fmt: skip
"""All scanners; the last is held out."""

HELD_OUT = SCANNERS[-1].name
"""The scanner that appears in test patients only."""


def scanner_named(name: str) -> Scanner:
    """A scanner by name."""
    return next(scanner for scanner in SCANNERS if scanner.name == name)
