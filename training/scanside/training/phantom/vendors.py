"""How vendors write a diffusion study as DICOM: names, image types, where the b-value stands.

Source: real files of the vendors, dcm_qa repositories of neurolabusc, and the documentation of dcm2niix. Only habits
are imitated; every object says that it is synthetic.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scanside.training.phantom.scanners import DiffusionProtocol

Words = tuple[str, ...]


@dataclass(frozen=True)
class PrivateValue:
    """A private attribute.

    Attributes:
        group: Odd group.
        creator: Who reserves the block.
        element: Last two digits.
        vr: Value representation.
        value: What stands there.
    """

    group: int
    creator: str
    element: int
    vr: str
    value: object


@dataclass(frozen=True)
class BLevel:
    """A b-value: as prescribed and as applied, s/mm²."""

    nominal: float
    actual: float


@dataclass(frozen=True)
class Habit:
    """What a vendor writes.

    Attributes:
        manufacturer: (0008,0070).
        description: Sequence (t2w, dwi, adc) → SeriesDescription.
        image_type: Sequence (t2w, b0, dwi, adc) → ImageType.
        sequence_name: The b-value, or None for t2w; → SequenceName, empty for none. "adc" is asked with both b-values.
        private: b-value or None where there is none → private attributes.
        standard_b: Whether (0018,9087) is written beside them.
        slope: RescaleSlope; 1 where the vendor writes none.
        shuffled: Whether InstanceNumber has nothing to do with the slice.
    """

    manufacturer: str
    description: Mapping[str, str]
    image_type: Mapping[str, Words]
    sequence_name: Callable[[tuple[float, ...]], str]
    private: Callable[[BLevel | None], tuple[PrivateValue, ...]]
    standard_b: bool = False
    slope: float = 1.0
    shuffled: bool = False


def levels(protocol: DiffusionProtocol) -> dict[str, BLevel]:
    """Sequence b0, dwi → its b-value."""
    low, high = (BLevel(*pair) for pair in zip(protocol.b, protocol.b_actual, strict=True))
    return {"b0": low, "dwi": high}


def _siemens_private(b: BLevel | None) -> tuple[PrivateValue, ...]:
    return () if b is None else (PrivateValue(0x0019, "SIEMENS MR HEADER", 0x0C, "IS", round(b.nominal)),)


def _siemens_name(b: tuple[float, ...]) -> str:
    """`*ep_b800t` for the trace image, `*ep_b50_800` for the map of both, `*tse2d1_21` for the spin echo."""
    if not b:
        return "*tse2d1_21"
    words = "_".join(f"{value:.0f}" for value in b)
    return f"*ep_b{words}t" if len(b) == 1 and b[0] >= 1 else f"*ep_b{words}"


def _ge_private(b: BLevel | None) -> tuple[PrivateValue, ...]:
    """On every series; 1e9 is added where diffusion gradients are on."""
    first = 0 if b is None else round(b.nominal) + (1_000_000_000 if b.nominal else 0)
    return (PrivateValue(0x0043, "GEMS_PARM_01", 0x39, "IS", [first, 8, 0, 0]),)


def _philips_private(b: BLevel | None) -> tuple[PrivateValue, ...]:
    """The b-value stands on every series, and so does the scale slope of floating-point values."""
    factor = PrivateValue(0x2001, "Philips Imaging DD 001", 0x03, "FL", 0.0 if b is None else b.nominal)
    return (factor, PrivateValue(0x2005, "Philips MR Imaging DD 001", 0x0E, "FL", 0.0078125))


def _uih_private(b: BLevel | None) -> tuple[PrivateValue, ...]:
    if b is None:
        return ()
    creator = "Image Private Header"
    return (
        PrivateValue(0x0065, creator, 0x09, "FD", b.actual),
        PrivateValue(0x0065, creator, 0x0A, "FD", b.nominal),
    )


def _no_name(b: tuple[float, ...]) -> str:
    return ""


HABITS: Mapping[str, Habit] = {
    "siemens": Habit(
        "SIEMENS",
        {"t2w": "t2_tse_fs_tra_p2", "dwi": "ep2d_diff_tra_TRACEW", "adc": "ep2d_diff_tra_ADC"},
        {
            "t2w": ("ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"),
            "b0": ("DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "NORM", "DIS2D"),
            "dwi": ("DERIVED", "PRIMARY", "DIFFUSION", "TRACEW", "NORM", "DIS2D"),
            "adc": ("DERIVED", "PRIMARY", "DIFFUSION", "ADC", "NORM", "DIS2D"),
        },
        _siemens_name,
        _siemens_private,
    ),
    "ge": Habit(
        "GE MEDICAL SYSTEMS",
        {"t2w": "Ax T2 FSE FS RTr", "dwi": "Ax DWI RTr", "adc": "Apparent Diffusion Coefficient"},
        {
            "t2w": ("ORIGINAL", "PRIMARY", "OTHER"),
            "b0": ("ORIGINAL", "PRIMARY", "OTHER"),
            "dwi": ("ORIGINAL", "PRIMARY", "OTHER"),
            "adc": ("DERIVED", "SECONDARY", "COMBINED"),
        },
        _no_name,
        _ge_private,
    ),
    "philips": Habit(
        "Philips Medical Systems",
        {"t2w": "T2W_TSE_SPAIR_RT", "dwi": "DWI_2b_RT", "adc": "dADC_DWI_2b_RT"},
        {
            "t2w": ("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"),
            "b0": ("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"),
            "dwi": ("ORIGINAL", "PRIMARY", "M_SE", "M", "SE"),
            "adc": ("DERIVED", "PRIMARY", "ADC", "ADC", "UNSPECIFIED"),
        },
        _no_name,
        _philips_private,
        standard_b=True,
        slope=0.25,
        shuffled=True,
    ),
    "uih": Habit(
        "UIH",
        {"t2w": "t2_fse_tra_fs_trig", "dwi": "epi_dwi_tra_trig", "adc": "epi_dwi_tra_trig_ADC"},
        {
            "t2w": ("ORIGINAL", "PRIMARY", "M"),
            "b0": ("ORIGINAL", "PRIMARY", "M", "DIFFUSION"),
            "dwi": ("ORIGINAL", "PRIMARY", "M", "DIFFUSION"),
            "adc": ("DERIVED", "PRIMARY", "ADC", "DIFFUSION"),
        },
        _no_name,
        _uih_private,
    ),
}  # fmt: skip
"""By `Scanner.vendor`."""
