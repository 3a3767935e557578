"""`Plan`: everything nnU-Net's plans.json, dataset.json and checkpoint say that inference needs, typed.

The bundle's manifest holds one plan per segmenter; the runtime reads nothing of nnU-Net's own files.
Axes are those of the *transposed* array (nnU-Net's `transpose_forward`) unless a field says otherwise.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scanside.runtime.record import Record

Positive = Annotated[float, Field(gt=0)]
Size = Annotated[int, Field(gt=0)]
Reader = Literal["itk", "picture", "tiff"]
"""What a model's images are: volumes with a geometry, 2-D pictures (NaturalImage2DIO), stacks of TIFF (Tiff3DIO)."""


class Normalization(Record):
    """How one input channel is normalised (nnU-Net `default_normalization_schemes.py`).

    Attributes:
        scheme: nnU-Net's class name.
        use_mask: Statistics over, and changes to, the non-zero region only (`use_mask_for_norm`; z-score alone).
        mean, std, percentile_00_5, percentile_99_5: Training-set foreground statistics, for CT.
    """

    scheme: Literal[
        "ZScoreNormalization",
        "CTNormalization",
        "NoNormalization",
        "RescaleTo01Normalization",
        "RGBTo01Normalization",
    ]
    use_mask: bool = False
    mean: float | None = None
    std: float | None = None
    percentile_00_5: float | None = None
    percentile_99_5: float | None = None

    @model_validator(mode="after")
    def _ct_has_statistics(self) -> Self:
        statistics = (self.mean, self.std, self.percentile_00_5, self.percentile_99_5)
        if self.scheme == "CTNormalization" and None in statistics:
            raise ValueError("CTNormalization needs mean, std, percentile_00_5 and percentile_99_5")
        return self


class Channel(Record):
    """One input channel of the network."""

    name: str
    normalization: Normalization


class Resampling(Record):
    """A resampling function of nnU-Net and its arguments.

    Attributes:
        method: `default` (`resample_data_or_seg_to_shape`: splines), `torch` (`resample_torch_fornnunet`:
            linear in float32) or `none` (`no_resampling_hack`).
        order: Spline order in plane (default method).
        order_z: Spline order along the anisotropic axis when it is resampled apart (default method).
        force_separate_z: None lets the anisotropy decide (max/min spacing above 3).
    """

    method: Literal["default", "torch", "none"] = "default"
    order: Annotated[int, Field(ge=0, le=5)] = 3
    order_z: Annotated[int, Field(ge=0, le=5)] = 0
    force_separate_z: bool | None = None


class Labels(Record):
    """What the network's outputs mean.

    Attributes:
        names: Every label of dataset.json, without `ignore`: name to integer, or to the integers of a region.
        regions_class_order: For regions, the integer that each output channel writes, in writing order
            (later overwrites earlier); None for plain labels.
        ignore: The ignore label: never predicted, kept for the record.
    """

    names: dict[str, int | tuple[int, ...]]
    regions_class_order: tuple[int, ...] | None = None
    ignore: int | None = None

    @property
    def has_regions(self) -> bool:
        """Whether outputs are sigmoid regions instead of a softmax."""
        return self.regions_class_order is not None

    @property
    def values(self) -> tuple[int, ...]:
        """All integers that may occur in a mask, ascending, background included."""
        found: set[int] = set()
        for value in self.names.values():
            found.update(value if isinstance(value, tuple) else (value,))
        return tuple(sorted(found))

    @property
    def foreground(self) -> tuple[int, ...]:
        """All integers but background."""
        return tuple(v for v in self.values if v != 0)

    @property
    def heads(self) -> int:
        """Number of output channels of the network (nnU-Net `num_segmentation_heads`)."""
        if self.regions_class_order is not None:
            return len(self.regions_class_order)
        return len(self.values)

    @property
    def mask_dtype(self) -> Literal["uint8", "uint16"]:
        """uint8 below 255 foreground labels, as nnU-Net exports them."""
        return "uint8" if len(self.foreground) < 255 else "uint16"

    @model_validator(mode="after")
    def _labels_are_indices(self) -> Self:
        if self.regions_class_order is None and self.values != tuple(range(len(self.values))):
            raise ValueError(f"labels must be 0..{len(self.values) - 1} without gaps, not {self.values}")
        return self


class KeepLargest(Record):
    """Postprocessing step: of the union of `labels` keep only the largest component(s), 26-connected."""

    labels: tuple[int, ...]


class Plan(Record):
    """One segmenter's inference recipe.

    Attributes:
        configuration: nnU-Net's configuration name, e.g. `3d_fullres`.
        channels: The image channels, in order (without the one-hot channels of a cascade).
        reorient: Canonical orientation the image is brought to before anything else (readers
            `…WithReorient`), or None.
        reader: Which files hold its images.
        transpose_forward, transpose_backward: Axis permutations between file order (z, y, x) and network order.
        spacing: Target spacing, mm; two entries for a 2d configuration.
        patch_size: Tile of the sliding window, voxels; two entries for 2d.
        resampling_data, resampling_seg, resampling_probabilities: For the image, for the previous stage's mask,
            for the logits.
        labels: Meaning of the outputs.
        mirror_axes: Spatial axes the training allows to mirror at inference; empty for none.
        postprocessing: Steps in order.
        previous_stage: Role of the segmenter whose mask this one takes as further one-hot channels (cascade).
        previous_labels: The labels one-hot encoded from the previous stage, in channel order.
    """

    configuration: str
    channels: tuple[Channel, ...] = Field(min_length=1)
    reorient: Literal["RAS"] | None = None
    reader: Reader = "itk"
    transpose_forward: tuple[int, int, int] = (0, 1, 2)
    transpose_backward: tuple[int, int, int] = (0, 1, 2)
    spacing: tuple[Positive, Positive] | tuple[Positive, Positive, Positive]
    patch_size: tuple[Size, Size] | tuple[Size, Size, Size]
    resampling_data: Resampling = Resampling(order=3)
    resampling_seg: Resampling = Resampling(order=1)
    resampling_probabilities: Resampling = Resampling(order=1)
    labels: Labels
    mirror_axes: tuple[int, ...] = ()
    postprocessing: tuple[KeepLargest, ...] = ()
    previous_stage: str | None = None
    previous_labels: tuple[int, ...] = ()

    @property
    def dimension(self) -> int:
        """2 or 3: number of spatial axes of the network."""
        return len(self.patch_size)

    @property
    def input_channels(self) -> int:
        """Channels of the network's input: image channels plus one-hot channels of the previous stage."""
        return len(self.channels) + len(self.previous_labels)

    @property
    def needs_mask(self) -> bool:
        """Whether the non-zero mask (not only its box) changes the result."""
        return any(channel.normalization.use_mask for channel in self.channels)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.spacing) != len(self.patch_size):
            raise ValueError("spacing and patch_size must have the same number of entries")
        for permutation in (self.transpose_forward, self.transpose_backward):
            if sorted(permutation) != [0, 1, 2]:
                raise ValueError(f"{permutation} is not a permutation of the three axes")
        if tuple(self.transpose_forward[i] for i in self.transpose_backward) != (0, 1, 2):
            raise ValueError("transpose_backward does not undo transpose_forward")
        if any(not 0 <= axis < self.dimension for axis in self.mirror_axes):
            raise ValueError(f"mirror_axes {self.mirror_axes} are not axes of a {self.dimension}-D network")
        if (self.previous_stage is None) != (not self.previous_labels):
            raise ValueError("previous_stage and previous_labels go together")
        return self
