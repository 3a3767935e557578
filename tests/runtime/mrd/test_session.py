"""Sessions: labels equal `segment`'s, originals and headers come back as they were, and nobody is left waiting."""

import io
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime import Options, open_bundle, segment
from scanside.runtime.errors import BackendError
from scanside.runtime.mrd import wire
from scanside.runtime.mrd.client import Answer, send
from scanside.runtime.mrd.header import with_fields
from scanside.runtime.mrd.meta import read_meta, write_meta
from scanside.runtime.mrd.networks import Networks
from scanside.runtime.mrd.reply import CHANGED, Labelled, free_series
from scanside.runtime.mrd.segmenting import Choice, Segment, answer_with
from scanside.runtime.mrd.series import slices_of
from scanside.runtime.mrd.server import MrdServer
from scanside.runtime.mrd.session import serve_session
from scanside.runtime.mrd.wire import Image, Limits
from scanside.runtime.volume import Volume
from tests.runtime.mrd.scanning import OBLIQUE, serving
from tests.runtime.mrd.scanning import volume as scan_volume
from tests.runtime.mrd.test_series import changed, volume
from tests.runtime.study.tiny_study import write_image

SHA = "c0ffee" * 10


def bright(of: Volume, choice: Choice = Choice()) -> Labelled:
    """A stand-in for a network: voxels above 2000 are label 2."""
    mask = (of.data[0] > 2000).astype(np.uint8) * 2
    return Labelled(mask, {"bright": 1.5}, {"bright": (2,)}, SHA)


def answer(raw: bytes, work: Segment = bright, limits: Limits = Limits()) -> Answer:
    out = io.BytesIO()
    serve_session(
        io.BytesIO(raw).read, lambda part: void(out.write(part)), partial(answer_with, work), limits
    )
    out.seek(0)
    found: list[Image] = []
    texts: list[str] = []
    while (message := wire.receive(out.read)) is not None:
        if isinstance(message, Image):
            found.append(message)
        elif isinstance(message, wire.Text):
            texts.append(message.text)
    assert not out.read(), "nothing follows CLOSE"
    return Answer(tuple(found), tuple(texts))


def void(_: object) -> None: ...


def stream(images: list[Image], *texts: str) -> bytes:
    parts = [wire.config_message("scanside"), *(wire.text_message(text) for text in texts)]
    return b"".join([*parts, *map(wire.image_message, images), wire.close_message()])


def test_originals_come_back_byte_by_byte_and_labels_differ_in_named_fields_only() -> None:
    attributes = write_meta(
        {"SeriesDescription": ("T2",), "IceMiniHead": ("secret",), "ImageRowDir": ("1", "0", "0")}
    )
    own = {"attribute_string_len": len(attributes), "user_int": (1, 2, 3, 4, 5, 6, 7, 8)}
    sent = [Image(with_fields(i.header, **own), attributes, i.data) for i in slices_of(volume())]
    shuffled = [sent[z] for z in (3, 0, 4, 2, 1)]
    found = answer(stream(shuffled))
    originals, labels = found.images[:5], found.images[5:]
    assert [wire.image_message(a) for a in originals] == [wire.image_message(b) for b in shuffled]
    for z, (source, label) in enumerate(zip(sent, labels, strict=True)):
        same = {name: source.get(name) for name in CHANGED}
        assert with_fields(label.header, **same) == source.header
        assert (label.get("image_index"), label.get("image_series_index")) == (z + 1, 2)
        np.testing.assert_array_equal(label.data[0, 0], (source.data[0, 0] > 2000) * 2)
        meta = read_meta(label.attributes)
        assert meta["Keep_image_geometry"] == ("1",) and "Quantitative" in meta["DataRole"]
        assert meta["SeriesDescription"] == ("T2",) and "IceMiniHead" not in meta
        assert meta["ImageComments"] == ("RESEARCH USE ONLY, bundle c0ffeec0, bright 1.50 ml",)
    assert len({read_meta(label.attributes)["SeriesInstanceUID"] for label in labels}) == 1
    assert len({read_meta(label.attributes)["SOPInstanceUID"] for label in labels}) == 5


def test_the_series_of_labels_avoids_those_of_the_images_and_the_reserved_one() -> None:
    (image, *_) = slices_of(volume())
    assert free_series([changed(image, image_series_index=98)]) == 100
    assert free_series([changed(image, image_series_index=99)]) == 1
    assert free_series([]) == 1


def test_the_console_decides_what_is_returned() -> None:
    images = slices_of(volume())
    only_labels = answer(
        stream(images, '{"version": "1.1.0", "parameters": {"sendoriginal": "False", "x": 1}}')
    )
    assert len(only_labels.images) == 5 and only_labels.labels(images) is not None
    assert only_labels.texts[0] == "WARNING Unknown parameters are ignored: x."
    nothing = answer(stream(images, '{"sendLabels": false}'))
    assert len(nothing.images) == 5 and nothing.labels(images) is None
    wrong = answer(stream(images, '{"sendoriginal": "perhaps"}'))
    assert not wrong.images and wrong.texts[0].startswith(
        "ERROR   The parameter 'sendoriginal' makes no sense"
    )


def test_phase_images_pass_and_a_volume_with_a_gap_is_refused_while_the_other_is_segmented() -> None:
    whole = slices_of(volume())
    gap = [changed(image, image_series_index=5) for image in whole if image.get("slice") != 2]
    phase = [changed(image, image_type=2, image_series_index=6) for image in whole]
    found = answer(stream([*gap, *phase, *whole]))
    assert len(found.images) == 4 + 5 + 5 + 5
    assert any(text.startswith("ERROR   In series 5 1 slice(s) are missing") for text in found.texts)
    assert any(text.startswith("INFO    Research use only. series 1: bright 1.50 ml") for text in found.texts)


@pytest.mark.requirement("mrd-bounded")
def test_a_broken_stream_is_answered_with_a_sentence_and_close() -> None:
    found = answer(stream(slices_of(volume()))[:-100])
    assert not found.images and found.texts[0].startswith("ERROR   The stream ends within an image")
    found = answer(stream(slices_of(volume())), limits=Limits(session=900))
    assert not found.images and "above the limit of 900" in found.texts[0]


def slow(of: Volume, choice: Choice) -> Labelled:
    time.sleep(0.05)
    return bright(of)


@contextmanager
def listening(segment: Segment) -> Iterator[tuple[str, int]]:
    with MrdServer(("127.0.0.1", 0), partial(answer_with, segment)) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield ("127.0.0.1", made.server_address[1])
        finally:
            made.shutdown()
            thread.join()


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    with listening(slow) as address:
        yield address


@pytest.mark.requirement("mrd-bounded")
def test_sessions_at_once_do_not_mix_and_a_dead_one_harms_nobody(server: tuple[str, int]) -> None:
    with socket.create_connection(server) as half:
        half.sendall(stream(slices_of(volume()))[:500])  # and nothing more
        answers: dict[int, Answer] = {}

        def one(number: int) -> None:
            images = [changed(image, image_series_index=number) for image in slices_of(volume())]
            answers[number] = send(server, images)

        threads = [threading.Thread(target=one, args=(number,)) for number in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    for number in (1, 2, 3):
        assert [i.get("image_series_index") for i in answers[number].images] == [number] * 5 + [
            number + 1
        ] * 5
    assert len(send(server, slices_of(volume())).images) == 10


def test_networks_that_do_not_open_are_a_sentence_for_every_session() -> None:
    def fail(choice: Choice) -> Any:
        raise BackendError("The device is on fire; use another one.")

    with listening(Networks(fail).segment) as address:
        found = send(address, slices_of(volume()))
    assert len(found.images) == 5, "the scan itself is in the examination all the same"
    assert found.texts == ("ERROR   The device is on fire; use another one.",)


def test_nobody_there_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(BackendError, match="does not answer"):
            send(taken.getsockname(), slices_of(volume()))


def test_the_commands_give_the_labels_of_segment(tmp_path: Path, lopsided: Path) -> None:
    """An oblique volume from a file, through a server in a process of its own."""
    of = scan_volume(OBLIQUE)
    expected = segment(open_bundle(lopsided), of, options=Options(device="openvino")).mask
    assert np.count_nonzero(expected) > 50
    scan, out = tmp_path / "scan.nii.gz", tmp_path / "mask.nii.gz"
    write_image(of, scan)
    program = [sys.executable, "-m", "scanside.runtime.cli.main", "mrd", "send"]
    with serving(lopsided) as (_, (host, port)):
        done = subprocess.run(
            [*program, str(scan), f"{host}:{port}", "-o", str(out)],
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, done.stderr
    assert "Research use only" in done.stderr
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(out)))
    assert np.count_nonzero(found != expected) == 0 and found.shape == expected.shape
