"""`RadiomicsConfig`: how features are measured; `radiomics.yaml` of a bundle.

Names of settings are pyradiomics' own (its documentation, "Customizing the Extraction"), so that the part of a
sequence's configuration under `setting`, `image_types` and `feature_classes` is what pyradiomics would be given.
Two things are not pyradiomics': `normalise`, and what makes a value absent (`minimum`).
"""

import io
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from scanside.runtime.errors import BundleError
from scanside.runtime.plan import Positive
from scanside.runtime.radiomics.names import FEATURES, FILTERS, Class, ImageType, filter_names
from scanside.runtime.record import Record, first_fault

SCHEMA = "scanside.radiomics/1"
_LARGEST = 1 << 18
"""Bytes of a configuration; the default one has about 2 KB."""


class Normalise(Record):
    """How grey values are made comparable between patients, before anything else.

    Attributes:
        method: `none`; `body`: z-score with mean and standard deviation over the patient's body (see `body.py`);
            `image`: z-score over the whole image with air, pyradiomics' `normalize`.
        scale: What a standard deviation becomes.
        outliers: Values beyond this many standard deviations are set to it; None keeps them.
    """

    method: Literal["none", "body", "image"] = "none"
    scale: Positive = 1.0
    outliers: Positive | None = None


class Minimum(Record):
    """The smallest region in which a value means something, counted on the grid that is measured (after resampling).

    Attributes:
        voxels, slices: For texture. Below, grey-level matrices hold too few pairs: 87 of 93 MR features change with
            the size of a small region, mean and median do not (Tomography 2021; 64 voxels in 2 slices).
        first_order_voxels: For first-order statistics.
    """

    voxels: Annotated[int, Field(ge=1)] = 64
    slices: Annotated[int, Field(ge=1)] = 2
    first_order_voxels: Annotated[int, Field(ge=2)] = 2


class Setting(Record):
    """pyradiomics' settings, under its names.

    `preCrop` is always on: filters see the region's box and `padDistance` voxels around it, not the whole image.
    Recursive filters (LoG) have no end, so the margin is a part of the recipe, the same in training and at the scanner.

    Attributes:
        binWidth, binCount: Discretisation: fixed width (in the unit of the image) or fixed number; exactly one.
        force2D: Texture within slices (z is not crossed), merged over slices: 2.5-D.
        resampledPixelSpacing: (x, y, z) mm; 0 keeps an axis as it is; None resamples nothing.
        padDistance: Margin for filters, voxels after resampling, on every side.
        weightingNorm: None averages features over directions; `no_weighting` sums the matrices of all directions
            and computes each feature once.
        integers: Cut decimals off after resampling. Not a setting of pyradiomics, but what it does, by ITK's cast, to
            images that are stored as integers; here images are real numbers.
    """

    binWidth: Positive | None = None
    binCount: Annotated[int, Field(ge=2)] | None = None
    force2D: bool = False
    resampledPixelSpacing: tuple[float, float, float] | None = None
    interpolator: Literal["sitkBSpline", "sitkLinear", "sitkNearestNeighbor"] = "sitkBSpline"
    padDistance: Annotated[int, Field(ge=0, le=1000)] = 5
    resegmentRange: tuple[float, ...] | None = Field(default=None, min_length=1, max_length=2)
    resegmentMode: Literal["absolute", "relative", "sigma"] = "absolute"
    voxelArrayShift: float = 0
    distances: tuple[Annotated[int, Field(ge=1)], ...] = (1,)
    symmetricalGLCM: bool = True
    weightingNorm: Literal["manhattan", "euclidean", "infinity", "no_weighting"] | None = None
    gldm_a: Annotated[int, Field(ge=0)] = 0
    integers: bool = False

    @model_validator(mode="after")
    def _one_discretisation(self) -> Self:
        if (self.binWidth is None) == (self.binCount is None):
            raise ValueError("give one of binWidth and binCount")
        if self.resampledPixelSpacing is not None and min(self.resampledPixelSpacing) < 0:
            raise ValueError("resampledPixelSpacing must not be negative")
        return self


class ImageTypeSetting(Record):
    """Settings of one image type.

    Attributes:
        sigma: Of LoG, mm.
        wavelet: Of Wavelet: a name that PyWavelets knows.
        binWidth, binCount: Another discretisation for this image type.
    """

    sigma: Annotated[tuple[Positive, ...], Field(min_length=1)] | None = None
    wavelet: str | None = None
    binWidth: Positive | None = None
    binCount: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _one_discretisation(self) -> Self:
        if self.binWidth is not None and self.binCount is not None:
            raise ValueError("give one of binWidth and binCount")
        return self


class SequenceConfig(Record):
    """What is measured on one sequence.

    Attributes:
        role: Whose mask: the segmenter's role.
        image_types: Image types by name; only those without dependence on voxels far away are known.
        feature_classes: Features by class; an empty list stands for all that pyradiomics does not deprecate.
    """

    role: str
    normalise: Normalise = Normalise()
    minimum: Minimum = Minimum()
    setting: Setting
    image_types: dict[ImageType, ImageTypeSetting] = Field(min_length=1)
    feature_classes: dict[Class, tuple[str, ...]] = Field(min_length=1)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name, setting in self.image_types.items():
            given = {key for key in ("sigma", "wavelet") if getattr(setting, key)}
            if not given <= FILTERS[name]:
                raise ValueError(f"image type {name} takes no {', '.join(sorted(given - FILTERS[name]))}")
            if name == "LoG" and setting.sigma is None:
                raise ValueError("image type LoG needs sigma")
        for kind, features in self.feature_classes.items():
            unknown = sorted(set(features) - set(FEATURES[kind]))
            if unknown:
                raise ValueError(f"class {kind} has no feature {', '.join(unknown)}")
        return self

    def features(self, name: Class) -> tuple[str, ...]:
        """The features of one class that are measured."""
        return self.feature_classes[name] or FEATURES[name]

    def images(self) -> tuple[str, ...]:
        """The names of all images that the image types give, in pyradiomics' spelling: `log-sigma-2-0-mm-3D`."""
        return tuple(
            image
            for kind in FILTERS
            if kind in self.image_types
            for image in filter_names(kind, self.image_types[kind].sigma or (), self.setting.force2D)
        )


class RadiomicsConfig(Record):
    """How features are measured, `radiomics.yaml`.

    Attributes:
        sequences: By the sequence's name; features are named `<sequence>_<pyradiomics name>`, in this order.
    """

    schema_name: Literal["scanside.radiomics/1"] = Field(default="scanside.radiomics/1", alias="schema")
    sequences: dict[str, SequenceConfig] = Field(min_length=1)

    @model_validator(mode="after")
    def _shape_once_per_mask(self) -> Self:
        roles = [s.role for s in self.sequences.values() if "shape" in s.feature_classes]
        twice = sorted({role for role in roles if roles.count(role) > 1})
        if twice:
            raise ValueError(f"shape of mask {twice[0]} is measured twice; leave it to one sequence")
        bad = [name for name in self.sequences if not name.isalnum()]
        if bad:
            raise ValueError(f"'{bad[0]}' is no name for a sequence; use letters and digits")
        return self


def default_config(wavelet: bool = False) -> RadiomicsConfig:
    """The default recipe for T2WI, DWI (high b) and ADC of the abdomen with thick slices. All of it is choice.

    - T2WI and DWI have arbitrary units: z-score within the body (of image normalisations the one that made most
      features robust between scanners in the abdomen, PMID 37413967; see also Carré, PMC7378556), then 32 bins between
      the region's minimum and maximum. ADC has a unit (1e-6 mm²/s): untouched, bins of 50.
    - Pixels are brought to 1 mm (T2WI) and 2 mm (DWI, ADC) within slices, where scanners differ; slices of 5 to 7 mm
      are not interpolated.
    - Texture is 2.5-D (within slices; one matrix of all slices and directions), as texture across slices six times as
      thick as pixels compares unlike distances. Shape is 3-D, once per mask.
    - Original image, and LoG of 2 and 4 mm with a margin of 16 pixels: of 2 mm all features are those of the whole
      image within 1e-5, of 4 mm nine in ten within 1e-3. `wavelet` adds the four in-plane sub-bands of coif1.
    """

    def sequence(role: str, shape: bool, units: bool, pixel: float) -> SequenceConfig:
        classes: dict[Class, tuple[str, ...]] = {name: () for name in FEATURES if shape or name != "shape"}
        types: dict[ImageType, ImageTypeSetting] = {
            "Original": ImageTypeSetting(),
            "LoG": ImageTypeSetting(sigma=(2.0, 4.0)),
        }
        if wavelet:
            types["Wavelet"] = ImageTypeSetting(wavelet="coif1")
        return SequenceConfig(
            role=role,
            normalise=Normalise() if units else Normalise(method="body"),
            setting=Setting(
                binWidth=50.0 if units else None,
                binCount=None if units else 32,
                force2D=True,
                weightingNorm="no_weighting",
                resampledPixelSpacing=(pixel, pixel, 0.0),
                padDistance=16,
            ),
            image_types=types,
            feature_classes=classes,
        )

    return RadiomicsConfig(
        schema=SCHEMA,
        sequences={
            "t2w": sequence("t2w", shape=True, units=False, pixel=1.0),
            "dwi": sequence("dwi", shape=True, units=False, pixel=2.0),
            "adc": sequence("dwi", shape=False, units=True, pixel=2.0),
        },
    )


def load_config(data: bytes) -> RadiomicsConfig:
    """Read `radiomics.yaml`. Only plain YAML is read: no tag makes an object.

    Raises:
        BundleError: If it is not YAML, or says something that this version does not know.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if len(data) > _LARGEST:
        raise BundleError(
            f"radiomics.yaml has {len(data)} bytes, more than {_LARGEST}; it is no configuration."
        )
    try:
        content = YAML(typ="safe", pure=True).load(io.BytesIO(data))
    except (YAMLError, UnicodeError, ValueError, RecursionError) as error:
        raise BundleError(
            f"radiomics.yaml is not YAML ({_first_line(error)}); export the bundle again."
        ) from error
    try:
        return RadiomicsConfig.model_validate(content)
    except ValidationError as error:
        where, why = first_fault(error)
        raise BundleError(
            f"radiomics.yaml is not understood at {where or 'top level'}: {why}; correct it."
        ) from error


def dump_config(config: RadiomicsConfig) -> bytes:
    """Write `radiomics.yaml`: the same bytes for the same configuration; `load_config` gives it back."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None  # lists of numbers on one line
    yaml.sort_base_mapping_type_on_output = False
    stream = io.BytesIO()
    yaml.dump(config.model_dump(mode="json", by_alias=True, exclude_none=True), stream)
    return stream.getvalue()


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
