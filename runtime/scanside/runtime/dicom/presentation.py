"""Outlines of lesions → a Grayscale Softcopy Presentation State, which a viewer draws on the original images.

An outline runs along the edges of pixels (`stages/outline.py`). Every file is read again: what its outlines enclose
is the mask.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
from highdicom.color import CIELabColor
from highdicom.pr import GraphicAnnotation, GraphicLayer, GraphicObject, TextObject
from pydicom.dataset import Dataset

from scanside.runtime.arrays import LabelMask
from scanside.runtime.dicom.frames import Frame
from scanside.runtime.dicom.header import attribute, quiet
from scanside.runtime.dicom.object_header import NOTICE, Stamp, hand_on_body_part, source_header
from scanside.runtime.dicom.series import DicomSeries
from scanside.runtime.errors import OutputError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.labels import segment_color
from scanside.runtime.stages.outline import outlines

_MOST_POINTS = 8000
"""Of one polyline: its coordinates are FL, whose length has 16 bits in Explicit VR."""
_NOTICE_BOX = (0.0, 0.0, 0.6, 0.04)
"""Left, top, right, bottom; of the displayed area."""
_NOTICE_LAYER = "NOTICE"

Tracking = tuple[str, str]
"""Tracking identifier and UID, as in the Segmentation."""
_Shown = tuple[float | None, float | None, str]
"""Slope, intercept and rescale type of the images that one presentation state may refer to."""


@dataclass(frozen=True)
class Lesion:
    """A lesion to be outlined.

    Attributes:
        number: Its value in the mask, and of its segment.
        tracking: None where it shares its segment with others.
    """

    number: int
    label: str
    tracking: Tracking | None


def write_outlines(
    mask: LabelMask, lesions: Sequence[Lesion], series: DicomSeries, synthetic: bool, stamp: Stamp, stem: Path
) -> list[tuple[Path, Dataset]]:
    """Write the outlines of lesions on the slices that they lie in.

    A presentation state has one rescaling for all its images: where those of a series differ there are several.

    Args:
        mask: (Z, Y, X), the number of the lesion, on the series' grid; other numbers are not outlined.
        synthetic: The model was trained on a phantom; each image says so.
        stamp: Whose images, which bundle, when.
        stem: Path without ending, such as `folder/t2w_outlines`.

    Returns:
        Files and what is in them; none without a lesion.

    Raises:
        OutputError: If the headers lack what the object needs, a file cannot be written, or, read again, it is not the
            mask.
    """
    numbers = [lesion.number for lesion in lesions]
    through = np.flatnonzero(np.isin(mask, numbers).any(axis=(1, 2))).tolist()
    groups: dict[_Shown, list[int]] = {}
    for z in through:
        groups.setdefault(_shown(series.frames[z]), []).append(z)
    made = []
    for place, (shown, slices) in enumerate(groups.items(), 1):
        path = stem.with_name(f"{stem.name}{f'_{place}' if place > 1 else ''}.dcm")
        with quiet(), atomic_write(path) as temporary:
            try:
                state = _state(mask, lesions, series, slices, shown, synthetic, stamp)
            except (AttributeError, KeyError, TypeError, ValueError) as error:  # highdicom's, on odd headers
                reason = " ".join(str(error).split()).rstrip(".")
                raise OutputError(
                    f"No DICOM presentation state can be made ({reason}); look at the overlays."
                ) from error
            state.save_as(temporary)
        _check(path, np.isin(mask, numbers), series, slices)
        made.append((path, state))
    return made


def filled(state: Dataset, rows: int, columns: int) -> dict[tuple[str, int], npt.NDArray[np.bool_]]:
    """What the outlines of a presentation state enclose: (rows, columns), by SOP Instance UID and frame, from 1.

    Raises:
        ValueError: If an outline does not run along the edges of pixels.
    """
    found: dict[tuple[str, int], npt.NDArray[np.bool_]] = {}
    for annotation in state.get("GraphicAnnotationSequence") or ():
        for image in annotation.ReferencedImageSequence:
            plane = found.setdefault(
                (str(image.ReferencedSOPInstanceUID), int(image.get("ReferencedFrameNumber") or 1)),
                np.zeros((rows, columns), bool),
            )
            for graphic in annotation.get("GraphicObjectSequence") or ():
                _fill(plane, np.array(graphic.GraphicData, np.float64).reshape(-1, 2))
    return found


def _fill(plane: npt.NDArray[np.bool_], corners: npt.NDArray[np.float64]) -> None:
    """Turn what lies to the right of every upright edge: by even and odd, that fills a border and spares its holes."""
    if (corners != np.rint(corners)).any():
        raise ValueError("an outline leaves the edges of pixels")
    for (x, y), (next_x, next_y) in zip(corners[:-1].astype(int), corners[1:].astype(int), strict=True):
        if x == next_x:
            plane[min(y, next_y) : max(y, next_y), x:] ^= True
        elif y != next_y:
            raise ValueError("an outline leaves the edges of pixels")


def _check(path: Path, wanted: npt.NDArray[np.bool_], series: DicomSeries, slices: Sequence[int]) -> None:
    """See that a file's outlines enclose the mask.

    Raises:
        OutputError: If they do not.
    """
    try:
        with quiet():
            found = filled(pydicom.dcmread(path), *wanted.shape[1:])
    except Exception as error:  # pydicom raises almost anything on a damaged file
        why = " ".join(str(error).split())[:200]
        raise OutputError(
            f"{path}, read again, is not the mask: it cannot be read ({why}); report this."
        ) from error
    keys = {_key(series.frames[z]): z for z in slices}
    if set(found) != set(keys) or any((found[key] != wanted[z]).any() for key, z in keys.items()):
        raise OutputError(
            f"{path}, read again, is not the mask: its outlines enclose other pixels; report this."
        )


def _key(frame: Frame) -> tuple[str, int]:
    return str(frame.instance.header.SOPInstanceUID), frame.index + 1


def _state(
    mask: LabelMask,
    lesions: Sequence[Lesion],
    series: DicomSeries,
    slices: Sequence[int],
    shown: _Shown,
    synthetic: bool,
    stamp: Stamp,
) -> Any:
    frames = [series.frames[z] for z in slices]
    headers = {str(one.instance.header.SOPInstanceUID): source_header(one.instance.header) for one in frames}
    notice = f"{NOTICE}{' - SYNTHETIC PHANTOM MODEL' if synthetic else ''}"
    annotations, layers = [], {_NOTICE_LAYER: GraphicLayer(_NOTICE_LAYER, 1, "Not for clinical use")}
    for z, frame in zip(slices, frames, strict=True):
        words = TextObject(notice, "DISPLAY", bounding_box=_NOTICE_BOX, text_justification="LEFT")
        annotations.append(_annotation(headers, frame, layers[_NOTICE_LAYER], texts=[words]))
        for lesion in lesions:
            if not (mask[z] == lesion.number).any():
                continue
            layer = layers.setdefault(f"LESION {lesion.number}", _layer(lesion))
            graphics = [
                _polyline(part, lesion)
                for polygon in outlines(mask[z] == lesion.number)
                for part in _parts(polygon)
            ]
            annotations.append(_annotation(headers, frame, layer, graphics))
    digest = hashlib.sha256(repr((slices, [(one.number, one.tracking) for one in lesions])).encode())
    digest.update(np.ascontiguousarray(mask[list(slices)]).tobytes())
    slope, intercept, kind = shown
    first = next(iter(headers.values()))
    common = stamp.series("gsps", first, f"{stamp.algorithm.name} outlines")
    day, time = common.pop("content_date"), common.pop("content_time")  # this object has others
    made = highdicom.pr.GrayscaleSoftcopyPresentationState(
        referenced_images=list(headers.values()),
        series_instance_uid=stamp.uid("gsps series", series.series_instance_uid),
        sop_instance_uid=stamp.uid("gsps", digest.hexdigest()),
        content_label="LESION OUTLINES",
        content_description=notice,
        graphic_annotations=annotations,
        graphic_layers=list(layers.values()),
        modality_lut_transformation=highdicom.ModalityLUTTransformation(
            rescale_intercept=0.0 if intercept is None else intercept,
            rescale_slope=1.0 if slope is None else slope,
            rescale_type=kind,
        ),
        voi_lut_transformations=_windows(frames, headers) or None,
        **common,
    )
    hand_on_body_part(made, first)
    made.PresentationCreationDate, made.PresentationCreationTime = day, time
    _name_frames(made, frames)
    stamp.finish(made, first)
    return made


def _annotation(
    headers: Mapping[str, Dataset],
    frame: Frame,
    layer: GraphicLayer,
    graphics: Sequence[GraphicObject] | None = None,
    texts: Sequence[TextObject] | None = None,
) -> GraphicAnnotation:
    uid, number = _key(frame)
    return GraphicAnnotation(
        [headers[uid]], layer, number if frame.groups else None, graphic_objects=graphics, text_objects=texts
    )


def _layer(lesion: Lesion) -> GraphicLayer:
    color = CIELabColor.from_rgb(*segment_color(lesion.number))
    return GraphicLayer(f"LESION {lesion.number}", lesion.number + 1, lesion.label, color)


def _polyline(corners: npt.NDArray[np.float64], lesion: Lesion) -> GraphicObject:
    name, uid = lesion.tracking or (None, None)
    return GraphicObject("POLYLINE", corners, "PIXEL", tracking_id=name, tracking_uid=uid)


def _parts(polygon: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float64]]:
    """A long outline in pieces, each of which begins where the one before ends."""
    return [polygon[at : at + _MOST_POINTS] for at in range(0, len(polygon) - 1, _MOST_POINTS - 1)]


def _shown(frame: Frame) -> _Shown:
    slope, intercept = frame.get("RescaleSlope"), frame.get("RescaleIntercept")
    stated = slope is not None and intercept is not None
    kind = str(frame.get("RescaleType") or "US")
    return (float(slope), float(intercept), kind) if stated else (None, None, "US")


def _windows(frames: Sequence[Frame], headers: Mapping[str, Dataset]) -> list[Any]:
    """The windows that the images state, each with the images that it is of."""
    by_window: dict[tuple[float, float], list[Frame]] = {}
    for frame in frames:
        if (window := _window(frame)) is not None:
            by_window.setdefault(window, []).append(frame)
    made = []
    for (center, width), of in by_window.items():
        one = highdicom.pr.SoftcopyVOILUTTransformation(window_center=center, window_width=width)
        if len(of) < len(frames):
            one.ReferencedImageSequence = _references(of)
        made.append(one)
    return made


def _window(frame: Frame) -> tuple[float, float] | None:
    places = [items[0] for group in frame.groups if (items := attribute(group, "FrameVOILUTSequence"))]
    for place in (*places, frame.header):
        found = [attribute(place, word) for word in ("WindowCenter", "WindowWidth")]
        first = [
            one[0] if isinstance(one, (list, tuple, pydicom.multival.MultiValue)) else one for one in found
        ]
        try:
            center, width = float(first[0]), float(first[1])
        except (TypeError, ValueError, IndexError):
            continue
        if width >= 1:
            return center, width
    return None


def _references(frames: Sequence[Frame]) -> list[Dataset]:
    """References to images; frames of a multi-frame object by number."""
    items: dict[str, Dataset] = {}
    numbers: dict[str, list[int]] = {}
    for frame in frames:
        uid, number = _key(frame)
        item = items.setdefault(uid, Dataset())
        item.ReferencedSOPClassUID = frame.instance.header.SOPClassUID
        item.ReferencedSOPInstanceUID = uid
        if frame.groups:
            numbers.setdefault(uid, []).append(number)
    for uid, found in numbers.items():
        items[uid].ReferencedFrameNumber = sorted(found) if len(found) > 1 else found[0]
    return list(items.values())


def _name_frames(made: Dataset, frames: Sequence[Frame]) -> None:
    """highdicom refers to whole objects; of a multi-frame one the state is of some frames alone."""
    if any(frame.groups for frame in frames):
        for series in made.ReferencedSeriesSequence:
            series.ReferencedImageSequence = _references(frames)
