"""A feature of the signature → its code, unit and modifiers in a report.

A feature that IBSI defines, and that pyradiomics computes by that definition, has IBSI's code: of the feature itself
where the image is filtered, with the filter as a modifier. Anything else has a code of Scanside's own.
"""

from scanside.runtime.dicom.codes import Code, own_code
from scanside.runtime.dicom.report_codes import FEATURE, MM, MM3
from scanside.runtime.dicom.sr import Number
from scanside.runtime.radiomics.conformance import KNOWN
from scanside.runtime.radiomics.ibsi import code
from scanside.runtime.radiomics.names import ORIGINAL, FeatureName

ONE: Code = ("1", "UCUM", "no units")
MM2: Code = ("mm2", "UCUM", "square millimeter")
PER_MM: Code = ("/mm", "UCUM", "per millimeter")
PERCENT: Code = ("%", "UCUM", "percent")
ARBITRARY: Code = ("[arb'U]", "UCUM", "arbitrary unit")
ADC_UNIT: Code = ("um2/s", "UCUM", "square micrometer per second")
"""1e-6 mm²/s."""
_ADC_SQUARED: Code = ("um4/s2", "UCUM", "square micrometer per second, squared")

IMAGE = own_code("IMAGE", "Measured image")
FILTER = own_code("FILTER", "Image filter")

_IMAGES: dict[str, Code] = {
    "t2w": ("110805", "DCM", "T2 Weighted MR Signal Intensity"),
    "dwi": ("113043", "DCM", "Diffusion weighted"),
    "b0": ("113043", "DCM", "Diffusion weighted"),
    "adc": ("113041", "DCM", "Apparent Diffusion Coefficient"),
}
_SHAPE_UNITS: dict[str, Code] = {
    "MeshVolume": MM3,
    "VoxelVolume": MM3,
    "SurfaceArea": MM2,
    "SurfaceVolumeRatio": PER_MM,
    "Sphericity": ONE,
    "Elongation": ONE,
    "Flatness": ONE,
}
_NO_UNIT = frozenset({"Entropy", "Uniformity", "Skewness", "Kurtosis"})
_SQUARED = frozenset({"Variance"})
_VOLUME_TIMES_SQUARE = frozenset({"Energy", "TotalEnergy"})


def feature_number(feature: str, value: float, normalised: bool) -> Number:
    """A feature's value as the report holds it.

    Args:
        feature: `<sequence>_<image>_<class>_<feature>`.
        normalised: Grey values were normalised before, so that they have no physical unit.
    """
    name = FeatureName.read(feature)
    modifiers: list[tuple[Code, Code | str]] = [(FEATURE, feature)]
    if name.kind != "shape":
        modifiers.append((IMAGE, _IMAGES[name.sequence]))
    if name.image != ORIGINAL:
        modifiers.append((FILTER, filter_code(name.image)))
    return Number(feature_code(name), value, _unit(name, normalised), tuple(modifiers))


def feature_code(name: FeatureName) -> Code:
    """IBSI's code, or Scanside's own where IBSI defines no such feature or defines it otherwise."""
    known = code(name.kind, name.feature)
    if known is None or (name.kind, name.feature) in KNOWN:
        return own_code(f"{name.kind}_{name.feature}", f"pyradiomics {name.kind} {name.feature}")
    return (known.value, "IBSI", known.meaning)


def filter_code(image: str) -> Code:
    """`log-sigma-2-0-mm-3D` → Scanside's own code, in words."""
    if image.startswith("log-sigma-"):
        sigma = image.removeprefix("log-sigma-").removesuffix("-mm-3D").replace("-", ".")
        return own_code(f"LOG-{sigma}", f"Laplacian of Gaussian, 3D, sigma {sigma} mm")
    if image.startswith("wavelet-"):
        bands = image.removeprefix("wavelet-")
        return own_code(f"WAVELET-{bands}", f"Wavelet, pass bands {bands}")
    return own_code(image.upper(), f"pyradiomics image type {image}")


def _unit(name: FeatureName, normalised: bool) -> Code:
    if name.kind == "shape":
        return _SHAPE_UNITS.get(name.feature, MM)
    if name.kind != "firstorder" or name.feature in _NO_UNIT:
        return ONE
    if name.sequence != "adc" or name.image != ORIGINAL or normalised:
        return ARBITRARY
    if name.feature in _VOLUME_TIMES_SQUARE:
        return ARBITRARY
    return _ADC_SQUARED if name.feature in _SQUARED else ADC_UNIT
