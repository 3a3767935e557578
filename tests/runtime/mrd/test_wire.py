"""Messages beside the `ismrmrd` package, and streams that lie."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanside.runtime.errors import ScansideError
from scanside.runtime.mrd import wire
from scanside.runtime.mrd.header import HEADER_BYTES, field, new_header, with_fields
from scanside.runtime.mrd.meta import read_meta, write_meta
from scanside.runtime.mrd.wire import Image, Limits, StreamError, Text, make_image
from tests.support.sentences import assert_one_sentence

ismrmrd = pytest.importorskip("ismrmrd")


def theirs(number: int = 1, kind: Any = np.uint16) -> Any:
    data = (np.arange(2 * 3 * 5).reshape(1, 2, 3, 5) + number).astype(kind)
    image = ismrmrd.Image.from_array(data, transpose=False)
    image.image_series_index = 7
    image.position = (1.5, -2.5, number)
    image.read_dir = (0.0, 1.0, 0.0)
    image.user_int[3] = -5
    image.attribute_string = write_meta({"DataRole": ("Image",), "ImageRowDir": ("0", "1", "0")}).decode()
    return image


def messages(raw: bytes, limits: Limits = Limits()) -> list[wire.Message]:
    stream, found = io.BytesIO(raw), []
    while (message := wire.receive(stream.read, limits)) is not None:
        found.append(message)
    return found


def test_every_field_of_the_header_is_where_ismrmrd_has_it() -> None:
    header = theirs().getHead()
    raw = bytes(header)
    assert len(raw) == HEADER_BYTES
    for name, _ in type(header)._fields_:
        mine, expected = field(raw, name), getattr(header, name)
        if hasattr(expected, "__len__"):
            assert mine == tuple(expected), name
        else:
            assert mine == expected, name


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.uint32, np.float32, np.float64, np.complex64])
def test_what_ismrmrd_sends_is_read(kind: Any) -> None:
    out = io.BytesIO()
    serializer = ismrmrd.ProtocolSerializer(out)
    for one in (ismrmrd.serialization.ConfigFile("scanside"), "a text", theirs(1, kind), theirs(2, kind)):
        serializer.serialize(one)
    serializer.close()
    config, text, first, second = messages(out.getvalue())
    assert (config, text) == (Text(wire.CONFIG_FILE, "scanside"), Text(wire.TEXT, "a text"))
    assert isinstance(first, Image) and isinstance(second, Image)
    np.testing.assert_array_equal(first.data, theirs(1, kind).data)
    assert first.data.dtype == kind and first.get("image_series_index") == 7
    assert read_meta(first.attributes)["ImageRowDir"] == ("0", "1", "0")


def test_raw_data_and_waveforms_are_read_over() -> None:
    out = io.BytesIO()
    serializer = ismrmrd.ProtocolSerializer(out)
    raw = ismrmrd.Acquisition.from_array(np.ones((4, 8), np.complex64), np.ones((8, 3), np.float32))
    wave = ismrmrd.Waveform.from_array(np.ones((2, 16), np.uint32))
    for one in (raw, theirs(), wave, theirs()):
        serializer.serialize(one)
    serializer.close()
    kinds = [type(message).__name__ for message in messages(out.getvalue())]
    assert kinds == ["Skipped", "Image", "Skipped", "Image"]


def test_ismrmrd_reads_what_we_send() -> None:
    sent = make_image(
        new_header(image_series_index=3, position=(1.0, 2.0, 3.0), image_type=1),
        write_meta({"ImageComment": ("a < b & c",)}),
        np.arange(12, dtype=np.uint16).reshape(1, 1, 3, 4),
    )
    raw = wire.text_message("INFO    hello") + wire.image_message(sent) + wire.close_message()
    text, image = ismrmrd.ProtocolDeserializer(io.BytesIO(raw)).deserialize()
    assert text == "INFO    hello"
    np.testing.assert_array_equal(image.data, sent.data)
    assert image.image_series_index == 3 and tuple(image.position) == (1, 2, 3)
    assert ismrmrd.Meta.deserialize(image.attribute_string)["ImageComment"] == "a < b & c"


def test_fields_that_are_not_named_keep_their_bytes() -> None:
    before = bytes(np.random.default_rng(0).integers(0, 256, HEADER_BYTES, dtype=np.uint8))
    after = with_fields(before, image_type=1, channels=1)
    differ = {i for i in range(HEADER_BYTES) if before[i] != after[i]}
    assert differ <= {34, 35, 124, 125}


IMAGE = wire.image_message(
    make_image(new_header(image_type=1), b"<ismrmrdMeta/>", np.ones((1, 1, 4, 4), np.uint16))
)


@pytest.mark.requirement("mrd-bounded")
@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "ends within a message"),
        (struct.pack("<H", 5) + struct.pack("<I", 10 << 20) + b"x" * 99, "ends within a text"),
        (struct.pack("<HI", 5, 0xFFFFFFFF), "4294967295 bytes of text, above the limit"),
        (IMAGE[:60], "ends within an image's header"),
        (IMAGE[: 2 + 198] + struct.pack("<Q", 10 << 30), "bytes of attributes, above the limit"),
        (IMAGE[:4] + b"\x63\0" + IMAGE[6:], "data type 99"),
        (IMAGE[:18] + b"\xff\xff" + IMAGE[20:], "65535 voxels or channels"),
        (IMAGE[:18] + b"\0\0" + IMAGE[20:], "no voxels"),
        (struct.pack("<H", 4711), "number 4711"),
    ],
)
def test_a_stream_that_lies_is_refused_in_a_sentence(raw: bytes, words: str) -> None:
    with pytest.raises(StreamError, match=words) as caught:
        messages(raw)
    assert_one_sentence(str(caught.value))


@pytest.mark.requirement("mrd-bounded")
def test_a_session_has_a_limit_of_bytes() -> None:
    with pytest.raises(StreamError, match="bytes of images in one session"):
        wire.receive(io.BytesIO(IMAGE).read, Limits(session=100), used=90)


@pytest.mark.requirement("mrd-bounded")
def test_attributes_cannot_hold_entities() -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY b "cc">]><ismrmrdMeta><meta><name>&b;</name></meta></ismrmrdMeta>'
    with pytest.raises(StreamError, match="document type"):
        read_meta(bomb)


@pytest.mark.requirement("mrd-bounded")
@settings(max_examples=200)
@given(st.data())
def test_mutated_streams_end_in_a_message_or_a_sentence(data: st.DataObject) -> None:
    raw = bytearray(IMAGE + wire.text_message("{}") + IMAGE + wire.close_message())
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=6)):
        raw[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    try:
        found = messages(
            bytes(raw[:cut]), Limits(matrix=64, attributes=1 << 16, text=1 << 16, session=1 << 20)
        )
        for message in found:
            if isinstance(message, Image):
                read_meta(message.attributes)
    except ScansideError as error:
        assert_one_sentence(str(error))
