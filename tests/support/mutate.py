"""DICOM files damaged on purpose, from good ones: seeded, so that a failure can be made again by its number.

Nothing of pydicom is used: what it cannot write must be made too. Elements are found by a small scanner of explicit and
implicit little endian, enough to hit lengths, VRs and values instead of pixels, which are most of a file.
"""

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_LONG = {b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
_VRS = [b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"FD", b"FL", b"IS", b"LO", b"OB", b"OW", b"PN", b"SH", b"SL",
        b"SQ", b"SS", b"TM", b"UI", b"UL", b"UN", b"US", b"UT", b"XX", b"\0\0", b"\xff\xfe", b"  "]  # fmt: skip
_UNDEFINED = 0xFFFFFFFF
_LENGTHS = [0, 1, 2, 3, 7, 0xFF, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, _UNDEFINED]
_NASTY = [
    b"", b"\0", b" ", b"\\", b"\\" * 500, b"nan", b"NaN\\NaN", b"inf", b"-inf", b"1e400", b"-1", b"0", b"0\\0",
    b"99999999999999999999", b"1.2.3.4.5", b"abc", b"\xff" * 16, b"\xe4\xf6\xfc", b"\0" * 64, b"1\\2\\3\\4\\5\\6\\7",
    b"\x1b$B", b"A" * 70_000, b"%s%n%x", b"../../etc", b"--1", b"1,5\\2,5", b"4294967296",
]  # fmt: skip
_SYNTAXES = [
    b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.2", b"1.2.840.10008.1.2.1.99",
    b"1.2.840.10008.1.2.5", b"1.2.840.10008.1.2.4.50", b"1.2.840.10008.1.2.4.57", b"1.2.840.10008.1.2.4.70",
    b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.100", b"1.2.3", b"",
]  # fmt: skip
_TELLING = [
    0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x0020000D, 0x0020000E, 0x00100020, 0x00180050, 0x00180081,
    0x00189087, 0x00189075, 0x00189089, 0x00200011, 0x00200013, 0x00200032, 0x00200037, 0x00200052, 0x00280002,
    0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280100, 0x00280101, 0x00280102, 0x00280103,
    0x00281052, 0x00281053, 0x0019100C, 0x00431039, 0x20011003, 0x52009229, 0x52009230, 0x7FE00010,
]  # fmt: skip
"""Elements that the reader looks at: half of the changes of one element are made to one of these."""
_SIZES = {0x00280002, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103}
_SCANNED = 4000
_DEEPEST = 3


@dataclass(frozen=True)
class Element:
    """Where an element lies in a file: `start` to `value` its head, `value` to `end` its value.

    Attributes:
        vr: None in implicit encoding.
        length_at, length_size: Its length field.
    """

    tag: int
    vr: bytes | None
    start: int
    length_at: int
    length_size: int
    value: int
    end: int


def mutations(seed_files: Sequence[Path], count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Damaged copies of good files.

    Args:
        seed_files: Part-10 files; each is read once.
        count: How many; the first n of a longer run are those of a shorter one.
        seed: Same seed, same files, same bytes.

    Yields:
        A name that tells number, kind and origin (`00017-length-IM0001.dcm`), and the content.
    """
    originals = [(path.name, path.read_bytes()) for path in seed_files]
    scanned = [elements_of(content) for _, content in originals]
    for number in range(count):
        dice = random.Random(f"{seed}/{number}")
        which = dice.randrange(len(originals))
        kind = dice.choice(list(_KINDS))
        name, content = originals[which]
        damaged = _KINDS[kind](dice, content, scanned[which])
        if kind != "splice" and dice.random() < 0.15:  # two wrongs
            damaged = _flip(dice, damaged, scanned[which])
        if kind == "splice":
            damaged = damaged + dice.choice(originals)[1][dice.randrange(200, 5000) :]
        yield f"{number:05d}-{kind}-{name}", damaged


def elements_of(content: bytes) -> list[Element]:
    """The elements of a little-endian file, those inside sequences too; as far as they can be followed."""
    found: list[Element] = []
    start = 132 if content[128:132] == b"DICM" else 0
    _scan(content, start, len(content), found, 0, explicit=None)
    return found


def _scan(content: bytes, at: int, end: int, found: list[Element], depth: int, explicit: bool | None) -> None:
    while at + 8 <= end and len(found) < _SCANNED:
        group, number = struct.unpack_from("<HH", content, at)
        vr = content[at + 4 : at + 6]
        plain = group == 0xFFFE
        known = vr.isalpha() and vr.isupper()
        # The file's own header is explicit whatever follows it.
        told = not plain and (known if explicit is None or group == 2 else explicit)
        if told and vr in _LONG:
            length_at, size = at + 8, 4
        elif told:
            length_at, size = at + 6, 2
        else:
            length_at, size = at + 4, 4
        if length_at + size > end:
            return
        length = int.from_bytes(content[length_at : length_at + size], "little")
        value = length_at + size
        enters = depth < _DEEPEST and (plain or length == _UNDEFINED or (told and vr == b"SQ"))
        last = value if length == _UNDEFINED else min(value + length, end)
        found.append(Element(group << 16 | number, vr if told else None, at, length_at, size, value, last))
        if enters and length != _UNDEFINED and length:
            _scan(content, value, last, found, depth + 1, explicit)
        at = last
        if explicit is None and group > 2:
            explicit = told


Mutation = Callable[[random.Random, bytes, list[Element]], bytes]


def _element(dice: random.Random, elements: list[Element]) -> Element | None:
    telling = [element for element in elements if element.tag in _TELLING]
    return dice.choice(telling if telling and dice.random() < 0.5 else elements) if elements else None


def _header_end(content: bytes, elements: list[Element]) -> int:
    pixels = [element.start for element in elements if element.tag == 0x7FE00010]
    return max(pixels[0] if pixels else len(content), min(len(content), 200))


def _flip(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    """Some bits, most of them in the header."""
    made = bytearray(content)
    end = _header_end(content, elements) if dice.random() < 0.8 else len(made)
    for _ in range(dice.choice([1, 1, 2, 4, 16, 64])):
        if made:
            made[dice.randrange(min(end, len(made)))] ^= 1 << dice.randrange(8)
    return bytes(made)


def _cut(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    """The end is missing: anywhere, or right behind an element."""
    if elements and dice.random() < 0.4:
        return content[: dice.choice(elements).end]
    return content[: dice.randrange(_header_end(content, elements) if dice.random() < 0.6 else len(content))]


def _hole(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    """Some bytes in the middle are missing, or zero, or doubled."""
    at = dice.randrange(_header_end(content, elements))
    size = dice.choice([1, 2, 3, 16, 512])
    part = content[at : at + size]
    return content[:at] + dice.choice([b"", bytes(len(part)), part + part]) + content[at + size :]


def _length(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    """A length that is wrong by one, odd, enormous or undefined."""
    element = _element(dice, elements)
    if element is None:
        return content
    now = int.from_bytes(content[element.length_at : element.length_at + element.length_size], "little")
    new = dice.choice([*_LENGTHS, now + 1, now - 1, now * 2, now + 8]) % (1 << 8 * element.length_size)
    return _put(content, element.length_at, new.to_bytes(element.length_size, "little"))


def _vr(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    element = _element(dice, [element for element in elements if element.vr])
    return content if element is None else _put(content, element.start + 4, dice.choice(_VRS))


def _tag(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    element = _element(dice, elements)
    if element is None:
        return content
    new = dice.choice([0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0, 0x7FE00010, dice.choice(_TELLING), 0x00090010])
    return _put(content, element.start, struct.pack("<HH", new >> 16, new & 0xFFFF))


def _value(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    """Another value, with the length that belongs to it."""
    element = _element(dice, elements)
    if element is None:
        return content
    value = dice.choice(_NASTY)
    if element.tag in _SIZES:
        value = struct.pack("<H", dice.choice([0, 1, 2, 3, 7, 12, 64, 4096, 32767, 65535]))
    value += b"\0" * (len(value) % 2)
    if element.length_size == 2:
        value = value[:0xFFFE]
    head = content[element.start : element.length_at] + len(value).to_bytes(element.length_size, "little")
    return content[: element.start] + head + value + content[element.end :]


def _double(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    element = _element(dice, elements)
    if element is None:
        return content
    part = content[element.start : element.end]
    return content[: element.end] + part * dice.choice([1, 1, 1, 20]) + content[element.end :]


def _drop(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    element = _element(dice, elements)
    return content if element is None else content[: element.start] + content[element.end :]


def _swap(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    """Two elements change places: tags are no longer in order."""
    if len(elements) < 2:
        return content
    one, two = sorted(dice.sample(elements, 2), key=lambda element: element.start)
    if one.end > two.start:
        return content
    first, second = content[one.start : one.end], content[two.start : two.end]
    return content[: one.start] + second + content[one.end : two.start] + first + content[two.end :]


def _deep(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    """Sequences in sequences, closed or not."""
    top = [element for element in elements if element.tag >> 16 > 2]
    if not top:
        return content
    depth = dice.choice([10, 100, 900, 3000, 20_000])
    explicit = top[0].vr is not None
    tag = struct.pack(
        "<HH", *dice.choice([(0x0008, 0x1140), (0x0040, 0xA730), (0x5200, 0x9230), (0x0009, 0x1001)])
    )
    head = tag + (b"SQ\0\0" if explicit else b"") + b"\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    tail = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" if dice.random() < 0.7 else b""
    at = dice.choice(top).start
    return content[:at] + head * depth + tail * depth + content[at:]


def _many(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    """A sequence of very many empty items, or very many private elements."""
    top = [element for element in elements if element.tag >> 16 > 2]
    if not top:
        return content
    explicit = top[0].vr is not None
    count = dice.choice([1000, 20_000])
    if dice.random() < 0.5:
        items = b"\xfe\xff\x00\xe0\0\0\0\0" * count
        head = struct.pack("<HH", 0x5200, 0x9230) + (b"SQ\0\0" if explicit else b"")
        part = head + struct.pack("<I", len(items)) + items
    else:
        part = b"".join(
            struct.pack("<HH", 0x0009, 0x1000 + n % 0xF00) + (b"LO\0\0" if explicit else bytes(4))
            for n in range(count)
        )
    at = dice.choice(top).start
    return content[:at] + part + content[at:]


def _syntax(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    """The file says that it is encoded in another way than it is."""
    for element in elements:
        if element.tag == 0x00020010:
            value = dice.choice(_SYNTAXES)
            value += b"\0" * (len(value) % 2)
            head = content[element.start : element.length_at] + struct.pack("<H", len(value))
            return content[: element.start] + head + value + content[element.end :]
    return content


def _splice(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    """The head of one file; `mutations` adds the tail of another."""
    return content[: dice.randrange(150, _header_end(content, elements))]


def _junk(dice: random.Random, content: bytes, elements: list[Element]) -> bytes:
    """Noise with the mark of DICOM, or behind a good start."""
    noise = dice.randbytes(dice.choice([0, 1, 100, 5000]))
    start = dice.choice([bytes(128) + b"DICM", content[: dice.randrange(132, 600)], b"", b"\0"])
    return start + noise


def _put(content: bytes, at: int, part: bytes) -> bytes:
    return content[:at] + part + content[at + len(part) :]


_KINDS: dict[str, Mutation] = {
    "flip": _flip, "cut": _cut, "hole": _hole, "length": _length, "vr": _vr, "tag": _tag, "value": _value,
    "double": _double, "drop": _drop, "swap": _swap, "deep": _deep, "many": _many, "syntax": _syntax,
    "splice": _splice, "junk": _junk,
}  # fmt: skip
