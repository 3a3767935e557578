"""Names of features, without importing pyradiomics: `<sequence>_<image>_<class>_<feature>`."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal, Self, get_args

from scanside.runtime.errors import UsageError

if TYPE_CHECKING:
    from scanside.runtime.radiomics.config import RadiomicsConfig

Class = Literal["shape", "firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm"]
ImageType = Literal["Original", "LoG", "Wavelet", "Gradient"]

ORIGINAL = "original"

FILTERS: dict[ImageType, frozenset[str]] = {
    "Original": frozenset(),
    "LoG": frozenset({"sigma"}),
    "Wavelet": frozenset({"wavelet"}),
    "Gradient": frozenset(),
}
"""Image types and the settings they take. pyradiomics' Square, SquareRoot, Logarithm and Exponential are left out: they
scale by the maximum of the whole image; and LBP, which needs libraries that are not here."""

FEATURES: dict[Class, tuple[str, ...]] = {
    "shape": (
        "Elongation",
        "Flatness",
        "LeastAxisLength",
        "MajorAxisLength",
        "Maximum2DDiameterColumn",
        "Maximum2DDiameterRow",
        "Maximum2DDiameterSlice",
        "Maximum3DDiameter",
        "MeshVolume",
        "MinorAxisLength",
        "Sphericity",
        "SurfaceArea",
        "SurfaceVolumeRatio",
        "VoxelVolume",
    ),
    "firstorder": (
        "10Percentile",
        "90Percentile",
        "Energy",
        "Entropy",
        "InterquartileRange",
        "Kurtosis",
        "Maximum",
        "MeanAbsoluteDeviation",
        "Mean",
        "Median",
        "Minimum",
        "Range",
        "RobustMeanAbsoluteDeviation",
        "RootMeanSquared",
        "Skewness",
        "TotalEnergy",
        "Uniformity",
        "Variance",
    ),
    "glcm": (
        "Autocorrelation",
        "ClusterProminence",
        "ClusterShade",
        "ClusterTendency",
        "Contrast",
        "Correlation",
        "DifferenceAverage",
        "DifferenceEntropy",
        "DifferenceVariance",
        "Id",
        "Idm",
        "Idmn",
        "Idn",
        "Imc1",
        "Imc2",
        "InverseVariance",
        "JointAverage",
        "JointEnergy",
        "JointEntropy",
        "MCC",
        "MaximumProbability",
        "SumAverage",
        "SumEntropy",
        "SumSquares",
    ),
    "glrlm": (
        "GrayLevelNonUniformity",
        "GrayLevelNonUniformityNormalized",
        "GrayLevelVariance",
        "HighGrayLevelRunEmphasis",
        "LongRunEmphasis",
        "LongRunHighGrayLevelEmphasis",
        "LongRunLowGrayLevelEmphasis",
        "LowGrayLevelRunEmphasis",
        "RunEntropy",
        "RunLengthNonUniformity",
        "RunLengthNonUniformityNormalized",
        "RunPercentage",
        "RunVariance",
        "ShortRunEmphasis",
        "ShortRunHighGrayLevelEmphasis",
        "ShortRunLowGrayLevelEmphasis",
    ),
    "glszm": (
        "GrayLevelNonUniformity",
        "GrayLevelNonUniformityNormalized",
        "GrayLevelVariance",
        "HighGrayLevelZoneEmphasis",
        "LargeAreaEmphasis",
        "LargeAreaHighGrayLevelEmphasis",
        "LargeAreaLowGrayLevelEmphasis",
        "LowGrayLevelZoneEmphasis",
        "SizeZoneNonUniformity",
        "SizeZoneNonUniformityNormalized",
        "SmallAreaEmphasis",
        "SmallAreaHighGrayLevelEmphasis",
        "SmallAreaLowGrayLevelEmphasis",
        "ZoneEntropy",
        "ZonePercentage",
        "ZoneVariance",
    ),
    "gldm": (
        "DependenceEntropy",
        "DependenceNonUniformity",
        "DependenceNonUniformityNormalized",
        "DependenceVariance",
        "GrayLevelNonUniformity",
        "GrayLevelVariance",
        "HighGrayLevelEmphasis",
        "LargeDependenceEmphasis",
        "LargeDependenceHighGrayLevelEmphasis",
        "LargeDependenceLowGrayLevelEmphasis",
        "LowGrayLevelEmphasis",
        "SmallDependenceEmphasis",
        "SmallDependenceHighGrayLevelEmphasis",
        "SmallDependenceLowGrayLevelEmphasis",
    ),
    "ngtdm": (
        "Busyness",
        "Coarseness",
        "Complexity",
        "Contrast",
        "Strength",
    ),
}
"""Every feature of every class that pyradiomics does not deprecate, in its order."""

TEXTURE: frozenset[Class] = frozenset({"glcm", "glrlm", "glszm", "gldm", "ngtdm"})
"""Classes that need a matrix of discretised grey levels."""


@dataclass(frozen=True)
class FeatureName:
    """A feature's name in parts.

    Attributes:
        sequence: `t2w`.
        image: `original`, `log-sigma-2-0-mm-3D`, `wavelet-LH`, `gradient`.
        kind: The feature class.
        feature: pyradiomics' name of the feature.
    """

    sequence: str
    image: str
    kind: Class
    feature: str

    def __str__(self) -> str:
        return f"{self.sequence}_{self.image}_{self.kind}_{self.feature}"

    @classmethod
    def read(cls, text: str) -> Self:
        """A name as bundles, tables and results write it; filters' names hold no underscore.

        Raises:
            ValueError: If it is no such name.
        """
        sequence, image, kind, word = (*text.split("_", 3), "", "", "")[:4]
        found = next((known for known in get_args(Class) if known == kind), None)
        if found is None or not (sequence and image and word):
            raise ValueError(f"'{text}' is no name of a feature")
        return cls(sequence, image, found, word)


def sequence_of(feature: str) -> str:
    """The sequence of a feature, whatever else its name holds: a bundle may have been made of other features."""
    return feature.split("_", 1)[0]


def filter_names(kind: ImageType, sigma: Sequence[float] = (), flat: bool = False) -> tuple[str, ...]:
    """What pyradiomics calls the images that an image type gives.

    Args:
        sigma: Of LoG, mm.
        flat: The wavelet transform runs within slices (`force2D`).
    """
    if kind == "LoG":
        return tuple(f"log-sigma-{str(float(s)).replace('.', '-')}-mm-3D" for s in sigma)
    if kind == "Wavelet":
        return tuple("wavelet-" + "".join(bands) for bands in product("LH", repeat=2 if flat else 3))
    return (kind.lower(),)


def names(config: "RadiomicsConfig") -> tuple[FeatureName, ...]:
    """Every feature of a configuration, by sequence, image and class."""
    found = []
    for sequence, measured in config.sequences.items():
        classes = [kind for kind in FEATURES if kind in measured.feature_classes]
        if "shape" in classes:  # of the mask, whatever the image types
            found += [
                FeatureName(sequence, ORIGINAL, "shape", feature) for feature in measured.features("shape")
            ]
        for image in measured.images():
            for kind in classes:
                if kind != "shape":
                    found += [
                        FeatureName(sequence, image, kind, feature) for feature in measured.features(kind)
                    ]
    return tuple(found)


def feature_names(config: "RadiomicsConfig") -> tuple[str, ...]:
    """The names of every feature of a configuration: what `extract` gives, in its order."""
    return tuple(str(name) for name in names(config))


def choose(config: "RadiomicsConfig", features: Sequence[str] | None) -> tuple[FeatureName, ...]:
    """The features asked for, in the order asked; all of the configuration for None.

    Raises:
        UsageError: If one is not in the configuration, or is asked for twice.
    """
    if features is None:
        return names(config)
    found = tuple(_parse(config, feature) for feature in features)
    if len(set(features)) != len(features):
        raise UsageError("A feature is asked for twice; name every feature once.")
    return found


def _parse(config: "RadiomicsConfig", feature: str) -> FeatureName:
    """One name, without writing down the hundreds that the configuration has."""
    with suppress(ValueError):
        name = FeatureName.read(feature)
        measured = config.sequences.get(name.sequence)
        if (
            measured
            and name.kind in measured.feature_classes
            and name.feature in measured.features(name.kind)
        ):
            images = (ORIGINAL,) if name.kind == "shape" else measured.images()
            if name.image in images:
                return name
    raise UsageError(f"The radiomics configuration has no feature '{feature}'; add it or correct the name.")
