"""What every result object carries besides its content: patient and study of the source, maker, time, UIDs, charset.

Two runs over the same images with the same bundle give the same bytes: nothing here looks at the clock unless it must.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, Literal

from pydicom import config
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from pydicom.valuerep import DA, DT, TM, VR, validate_value

from scanside.runtime.dicom.header import attribute
from scanside.runtime.dicom.uids import derived_uid

Kind = Literal["seg", "sr", "sc", "key", "reject", "gsps"]

NOTICE = "RESEARCH USE ONLY"
MAKER = "Scanside"

SERIES_NUMBER_OFFSET = 9000
"""Added to the source's series number: far from what scanners use, and different for each source series."""

_BLOCK: dict[Kind, int] = {"seg": 0, "sr": 1000, "sc": 2000, "key": 3000, "reject": 4000, "gsps": 5000}
"""Added on top, so that kinds of objects stand together in a list of series."""

_TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Attributes that every object must carry, if only empty; anonymised sources may lack them."""

_OF_STUDY = {tag_for_keyword(keyword) for keyword in ("StudyDate", "StudyTime")}
_LARGEST_IS = 2**31 - 1
"""PS3.5 table 6.2-1. Some sources number their series up to it."""
_HANDED_ON = (0x0008, 0x0012, 0x0032, 0x0040)
_NARROW = {VR.AS, VR.CS, VR.DA, VR.DS, VR.DT, VR.IS, VR.TM}
_TEXT = {VR.LO, VR.LT, VR.PN, VR.SH, VR.ST, VR.UC, VR.UT}
_MOMENTS = (
    ("StudyDate", "StudyTime"),
    ("SeriesDate", "SeriesTime"),
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
)


@dataclass(frozen=True)
class Algorithm:
    """The bundle that drew the mask: its name, version and identity."""

    name: str
    version: str
    bundle_sha256: str


@dataclass(frozen=True)
class Replaced:
    """An object of an earlier result of the same study, which this result takes the place of."""

    kind: Kind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True)
class Revision:
    """Which one of a study's results this is.

    Attributes:
        number: From 1, in the order in which they were made.
        key: Tells this computation from others of the same images and bundle: part of every UID. Empty: the UIDs are
            functions of images, bundle and content alone.
        replaces: What the result before this one had sent.
    """

    number: int = 1
    key: str = ""
    replaces: tuple[Replaced, ...] = ()


@dataclass(frozen=True, eq=False)
class Stamp:
    """How the objects of one job are marked.

    Attributes:
        algorithm: What made them.
        sources: (0008,0018) of the images they were made from, sorted: the seed of every UID.
        moment: Content date and time of every object.
        offset: Added to the source's series number.
        revision: Which of the study's results.
    """

    algorithm: Algorithm
    sources: tuple[str, ...]
    moment: datetime
    offset: int = SERIES_NUMBER_OFFSET
    revision: Revision = Revision()
    _seeds: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        key = (self.revision.key,) if self.revision.key else ()
        seeds = (*self.sources, self.algorithm.bundle_sha256, self.algorithm.version, *key)
        object.__setattr__(self, "_seeds", seeds)

    def uid(self, kind: str, *content: str) -> str:
        """A UID of this kind: a function of the sources, the bundle, and what else makes the object what it is."""
        return derived_uid(kind, *self._seeds, *content)

    def series(self, kind: Kind, source: Dataset, description: str) -> dict[str, Any]:
        """highdicom's arguments for series, equipment and time.

        Args:
            source: Header of the (first) source series.
            description: `RESEARCH USE ONLY` is added to it, and from the second result on its number.
        """
        number = self.revision.number
        ending = f"{f', result {number}' if number > 1 else ''} ({NOTICE})"
        name = f"{self.algorithm.name} {self.algorithm.version}"
        return {
            "series_number": _fitting(self.offset + _BLOCK[kind], _number(source)),
            "series_description": short_text(description)[: 64 - len(ending)] + ending,
            "instance_number": number,
            "manufacturer": MAKER,
            "manufacturer_model_name": MAKER,
            "software_versions": short_text(name),
            "device_serial_number": self.algorithm.bundle_sha256[:16],
            "content_date": DA(self.moment.date()),
            "content_time": TM(self.moment.time()),
            "specific_character_set": "ISO_IR 192",  # until `finish` knows what the words need
        }

    def finish(self, made: Dataset, source: Dataset) -> None:
        """Take the clock out of an object and put the source's character set in."""
        made.InstanceCreationDate = DA(self.moment.date())
        made.InstanceCreationTime = TM(self.moment.time())
        for item in attribute(made, "ContributingEquipmentSequence") or ():
            if "ContributionDateTime" in item:
                item.ContributionDateTime = DT(self.moment)
        set_character_set(made, source)


def hand_on_body_part(made: Dataset, source: Dataset) -> None:
    """Body Part Examined and Laterality, for objects whose series states them itself."""
    for keyword in ("BodyPartExamined", "Laterality"):  # Laterality is for paired parts: absent says unpaired
        if (value := attribute(source, keyword)) is not None or (
            keyword == "Laterality" and "BodyPartExamined" not in made
        ):
            setattr(made, keyword, value)


def stamp_of(
    algorithm: Algorithm,
    headers: Sequence[Dataset],
    moment: datetime | None = None,
    offset: int = SERIES_NUMBER_OFFSET,
    revision: Revision | None = None,
) -> Stamp:
    """The stamp for results of these images.

    Args:
        headers: Of all source images.
        moment: When the job was made, recorded once. None stands for the latest date and time that the sources state,
            so that a second run gives the same bytes; only where they state none it is now.
    """
    sources = tuple(sorted({str(attribute(header, "SOPInstanceUID") or "") for header in headers}))
    return Stamp(
        algorithm, sources, moment or latest_moment(headers) or datetime.now(), offset, revision or Revision()
    )


def latest_moment(headers: Iterable[Dataset]) -> datetime | None:
    """The latest date and time of study, series, acquisition and content; None where none can be read."""
    found = set()
    for header in headers:
        for day, time in _MOMENTS:
            try:
                date = DA(str(attribute(header, day) or "")[:10])
                clock = TM(str(attribute(header, time) or "000000"))
            except (TypeError, ValueError):
                continue
            if date is not None and clock is not None:
                found.add(datetime.combine(date, clock))
    return max(found, default=None)


def source_header(header: Dataset, **changes: Any) -> Dataset:
    """A shallow copy of a header, fit to hand patient and study on.

    What identifies patient and study is kept as it is. Attributes of type 2 that are missing are added empty. Dates,
    times, ages, sexes and numbers that break their value representation, codes without a value, and sequences without
    an item or with an empty one are left out (emptied, where type 2): no object may carry them.

    Args:
        changes: Attributes to replace, by keyword.
    """
    copy = Dataset()
    copy.update(header)
    if "SOPClassUID" in header:  # a whole object, not a functional group of one
        if hasattr(header, "file_meta"):
            copy.file_meta = header.file_meta
        changes = dict.fromkeys((word for word in _TYPE_2 if word not in header), "") | changes
        changes |= {word: None for word in _broken(header) if word not in changes}
        if str(attribute(header, "PatientSex") or "M") not in ("M", "F", "O"):
            changes["PatientSex"] = ""
    for keyword, value in changes.items():
        copy.pop(tag_for_keyword(keyword) or 0, None)  # assigning to what is there would change the original
        if value is not None or keyword in _TYPE_2:
            setattr(copy, keyword, "" if value is None else value)
    return copy


def set_character_set(made: Dataset, source: Dataset) -> None:
    """Write an object in its source's character set, so that names stay the same bytes.

    Where Scanside's own words do not fit into it (a label in another script), the whole object is UTF-8 instead.
    """
    declared = attribute(source, "SpecificCharacterSet")
    charset = [declared] if isinstance(declared, str) else list(declared or ())
    if all(_fits(text, charset) for text in set(_own_texts(made, source))):
        made.pop("SpecificCharacterSet", None)
        if charset:
            made.SpecificCharacterSet = charset if len(charset) > 1 else charset[0]
        return
    made.SpecificCharacterSet = "ISO_IR 192"


def plain(words: str) -> str:
    """Scanside's own prose in ASCII, which every character set holds."""
    for letter, instead in (
        ("²", "2"),
        ("³", "3"),
        ("°", " deg"),
        ("µ", "u"),
        ("−", "-"),
        ("–", "-"),
        ("…", "..."),
    ):
        words = words.replace(letter, instead)
    return " ".join(words.split())


def short_text(words: str) -> str:
    """What fits the value representation LO: 64 characters, no backslash."""
    return words.replace("\\", "/")[:64]


def _own_texts(made: Dataset, source: Dataset | None = None) -> Iterable[str]:
    """Every text that was not copied from the source."""
    for element in made:
        if element.VR != VR.SQ and element.VR not in _TEXT:
            continue
        copied = None if source is None else attribute(source, element.keyword)
        if element.VR == VR.SQ:
            for item in () if element.value is copied else element.value:
                yield from _own_texts(item)
        elif element.value != copied:
            yield str(element.value)


def _fits(text: str, charset: list[str]) -> bool:
    """Whether one of the character sets holds the whole text. None declared is ASCII (PS3.5 6.1.2.1)."""
    encodings = ["ascii", *convert_encodings([name for name in charset if name] or None)]
    if not any(charset):
        encodings = ["ascii"]
    for encoding in encodings:
        try:
            text.encode(encoding)
        except (LookupError, UnicodeError):
            continue
        return True
    return False


def _broken(header: Dataset) -> list[str]:
    """Keywords of patient and study attributes whose value breaks the rules of its representation."""
    found, tags = [], header.keys()
    for tag in (tag for tag in tags if tag.group == 0x0010 or tag in _OF_STUDY or _is_handed_on(tag)):
        try:
            element = header[tag]
            if element.VR == VR.SQ:
                whole = _is_code if element.keyword.endswith("CodeSequence") else len
                if not element.value or not all(whole(item) for item in element.value):
                    found.append(tag)
            elif element.VR in _NARROW:
                for value in element.value if element.VM > 1 else [element.value]:
                    validate_value(element.VR, str(value or ""), config.RAISE)
        except Exception:  # pydicom converts on access and raises what the conversion raises
            found.append(tag)
    return [keyword for tag in found if (keyword := keyword_for_tag(tag))]


@cache
def _is_handed_on(tag: BaseTag) -> bool:
    """Whether it is a sequence of the groups of patient, study and request, which objects take over."""
    return (
        tag.group in _HANDED_ON
        and not tag.is_private
        and dictionary_has_tag(tag)
        and dictionary_VR(tag) == VR.SQ
    )


def _is_code(item: Dataset) -> bool:
    """Whether an item has a code's value (PS3.3 8.8)."""
    return any(attribute(item, word) for word in ("CodeValue", "LongCodeValue", "URNCodeValue"))


def _fitting(base: int, number: int) -> int:
    """The sum, or the base alone where the sum would leave the value representation."""
    return base + number if base + number <= _LARGEST_IS else base


def _number(source: Dataset) -> int:
    try:
        return max(int(attribute(source, "SeriesNumber") or 0), 0)
    except (TypeError, ValueError):
        return 0
