"""The 198 bytes before an MRD image: named fields, read and written in place.

What is not named in a change stays as it was, byte by byte: a scanner finds its own image again by it.
Source: ISMRMRD, doc/mrd_image_data.md, ImageHeader version 1.
"""

import struct
from typing import Any

_FIELDS = (
    ("version", "H"),
    ("data_type", "H"),
    ("flags", "Q"),
    ("measurement_uid", "I"),
    ("matrix_size", "3H"),
    ("field_of_view", "3f"),
    ("channels", "H"),
    ("position", "3f"),
    ("read_dir", "3f"),
    ("phase_dir", "3f"),
    ("slice_dir", "3f"),
    ("patient_table_position", "3f"),
    ("average", "H"),
    ("slice", "H"),
    ("contrast", "H"),
    ("phase", "H"),
    ("repetition", "H"),
    ("set", "H"),
    ("acquisition_time_stamp", "I"),
    ("physiology_time_stamp", "3I"),
    ("image_type", "H"),
    ("image_index", "H"),
    ("image_series_index", "H"),
    ("user_int", "8i"),
    ("user_float", "8f"),
    ("attribute_string_len", "I"),
)
_PLACES: dict[str, tuple[int, struct.Struct]] = {}
_offset = 0
for _name, _code in _FIELDS:
    _PLACES[_name] = (_offset, struct.Struct("<" + _code))
    _offset += _PLACES[_name][1].size
HEADER_BYTES = _offset
"""198. field_of_view is in mm and of the whole matrix; position is the centre of the image, mm, LPS."""


def field(header: bytes, name: str) -> Any:
    """A field: a number, or a tuple of numbers where there are several."""
    offset, place = _PLACES[name]
    values = place.unpack_from(header, offset)
    return values if len(values) > 1 else values[0]


def with_fields(header: bytes, **fields: Any) -> bytes:
    """The header with some fields changed and every other byte as it was."""
    changed = bytearray(header)
    for name, value in fields.items():
        offset, place = _PLACES[name]
        place.pack_into(changed, offset, *(value if isinstance(value, tuple) else (value,)))
    return bytes(changed)


def new_header(**fields: Any) -> bytes:
    """A header of zeros, version 1, with the fields given."""
    return with_fields(bytes(HEADER_BYTES), version=1, **fields)
