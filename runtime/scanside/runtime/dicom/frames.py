"""One `Frame` per slice, alike for classic single-frame and enhanced multi-frame objects."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from scanside.runtime.dicom.header import Instance, attribute, one_line, whole
from scanside.runtime.errors import GeometryError, InputError

_GROUP_OF = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "FrameType": "MRImageFrameTypeSequence",
    "ComplexImageComponent": "MRImageFrameTypeSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "StackID": "FrameContentSequence",
}
"""Functional group that holds an attribute of an enhanced object (PS3.3 C.7.6.16, C.8.13)."""


_UNPLACED = ("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence")


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice and where its attributes stand.

    Attributes:
        instance: The file it is in.
        index: Its number in the file, from 0.
        groups: Its functional groups, per-frame before shared; none in a classic object.
    """

    instance: Instance
    index: int = 0
    groups: tuple[Dataset, ...] = ()

    @property
    def name(self) -> str:
        """The file, and the frame in it counted from 1."""
        return f"{self.instance.path.name} frame {self.index + 1}" if self.groups else self.instance.path.name

    def get(self, keyword: str) -> Any:
        """An attribute of this frame: per-frame, else shared, else of the whole object; None when empty."""
        for group in self.groups if keyword in _GROUP_OF else ():
            items = attribute(group, _GROUP_OF[keyword])
            if items and (value := attribute(items[0], keyword)) is not None:
                return value
        return attribute(self.header, keyword)

    @cached_property
    def header(self) -> Dataset:
        """Everything outside the functional groups that is said of this frame, or of the whole object.

        A converter of classic images (Legacy Converted Enhanced MR, PS3.3 A.71) keeps what it could not place, such as
        the b-value and private attributes, in sequences of its own: they go before the object's.
        """
        found = [
            item
            for group in reversed(self.groups)
            for word in _UNPLACED
            for item in attribute(group, word) or ()
        ]
        if not found:
            return self.instance.header
        merged = Dataset()
        for part in (self.instance.header, *found):
            merged.update(part)
        return merged

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """`count` finite numbers.

        Raises:
            GeometryError: If the attribute is missing or is not that.
        """
        try:
            value = self.get(keyword)
            found = tuple(float(v) for v in ([value] if count == 1 else value))
        except (TypeError, ValueError):
            found = ()
        if len(found) != count or not all(map(math.isfinite, found)):
            raise GeometryError(
                f"{self.instance.path} has no usable {keyword}, so its slices have no place in the patient; "
                "export the original images again."
            )
        return found

    def number(self, keyword: str, default: float) -> float:
        """One finite number, or `default` when the attribute is absent.

        Raises:
            GeometryError: If it is there and is no number.
        """
        return default if self.get(keyword) is None else self.numbers(keyword, 1)[0]

    def whole(self, keyword: str, path: Path | str) -> int:
        """One whole number above 0.

        Raises:
            GeometryError: If it is anything else; it names `path`.
        """
        value = whole(self.instance.header, keyword)
        if not value or value < 0:
            raise GeometryError(
                f"In {path} {keyword} is not a whole number; export the original images again."
            )
        return value


def frames_of(instances: list[Instance]) -> list[Frame]:
    """All frames of a series, in file order.

    Raises:
        InputError: If an object is in colour, a mosaic, or multi-frame without positions per frame.
    """
    return [frame for instance in instances for frame in _frames(instance)]


def _frames(instance: Instance) -> list[Frame]:
    header, path = instance.header, instance.path
    photometric = str(attribute(header, "PhotometricInterpretation") or "MONOCHROME2")
    if (whole(header, "SamplesPerPixel") or 1) != 1 or not photometric.startswith("MONOCHROME"):
        raise InputError(
            f"{path} is a colour image ({one_line(photometric)}); pass the original grey-scale series."
        )
    if "MOSAIC" in (attribute(header, "ImageType") or ()):
        raise InputError(f"{path} is a Siemens mosaic; export the series as single slices or as enhanced MR.")
    per_frame = attribute(header, "PerFrameFunctionalGroupsSequence")
    count = whole(header, "NumberOfFrames") or 1
    if not per_frame:
        if count > 1:
            raise GeometryError(
                f"{path} has {count} frames without a position each; export it as enhanced MR or slices."
            )
        return [Frame(instance)]
    if len(per_frame) != count:
        raise GeometryError(f"{path} has {count} frames but describes {len(per_frame)}; export it again.")
    shared = tuple(attribute(header, "SharedFunctionalGroupsSequence") or ())
    return [Frame(instance, index, (group, *shared)) for index, group in enumerate(per_frame)]
