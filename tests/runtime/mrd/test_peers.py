"""The public client, `ismrmrd`'s serializer and ours get the labels of `segment`, however the slices lie and come."""

import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scanside.runtime.mrd import wire
from scanside.runtime.mrd.client import send
from scanside.runtime.mrd.header import with_fields
from scanside.runtime.mrd.reply import CHANGED
from scanside.runtime.mrd.series import place
from scanside.runtime.mrd.wire import Image
from tests.runtime.mrd.scanning import SHAPE, WAYS, Scan
from tests.support.reference_mrd import reference_folder

ismrmrd = pytest.importorskip("ismrmrd")


@pytest.mark.parametrize("name", WAYS)
def test_labels_headers_and_places_of_our_own_client(
    server: tuple[str, int], scans: dict[str, Scan], name: str
) -> None:
    scan = scans[name]
    found = send(server, scan.images)
    assert [wire.image_message(a) for a in found.images[: SHAPE[0]]] == [
        wire.image_message(b) for b in scan.images
    ]
    labels = found.images[SHAPE[0] :]
    np.testing.assert_array_equal(np.stack([image.data[0, 0] for image in labels]), scan.expected)
    sources = {image.get("slice"): image for image in scan.images}
    grid = scan.volume.geometry
    for z, label in enumerate(labels):
        source = sources[label.get("slice")]
        same = {field: source.get(field) for field in CHANGED}
        assert with_fields(label.header, **same) == source.header, "every other byte is the source's"
        (corner, cosines, pixel), (there, other, size) = place(label), place(source)
        assert np.abs(np.subtract(corner, there)).max() < 0.01 and (cosines, pixel) == (other, size)
        step = grid.direction_matrix @ np.array([0, 0, z * grid.spacing[0]])
        assert np.abs(np.array(grid.origin) + step - corner).max() < 0.01, "where `segment` has the slice"


def test_two_sessions_at_once(server: tuple[str, int], scans: dict[str, Scan]) -> None:
    found: dict[str, Any] = {}

    def one(name: str) -> None:
        found[name] = send(server, scans[name].images).labels(scans[name].images)

    threads = [threading.Thread(target=one, args=(name,)) for name in ("oblique", "sagittal")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    for name in ("oblique", "sagittal"):
        np.testing.assert_array_equal(found[name], scans[name].expected)


def theirs(image: Image) -> Any:
    """An image of ours as one of `ismrmrd`'s."""
    made = ismrmrd.Image(ismrmrd.ImageHeader.from_buffer_copy(image.header))
    made.data[:] = image.data
    made.attribute_string = image.attributes.decode()
    return made


@pytest.mark.parametrize("name", WAYS)
def test_labels_of_ismrmrd_s_own_serializer(
    server: tuple[str, int], scans: dict[str, Scan], name: str
) -> None:
    scan = scans[name]
    with socket.create_connection(server, timeout=300) as connection, connection.makefile("rwb") as stream:
        serializer = ismrmrd.ProtocolSerializer(stream)
        for one in (ismrmrd.serialization.ConfigFile("scanside"), *map(theirs, scan.images)):
            serializer.serialize(one)
        serializer.close()
        stream.flush()
        back = [
            one
            for one in ismrmrd.ProtocolDeserializer(stream).deserialize()
            if isinstance(one, ismrmrd.Image)
        ]
    labels = sorted(
        (one for one in back if one.image_series_index == 2), key=lambda one: int(one.image_index)
    )
    np.testing.assert_array_equal(np.stack([one.data[0, 0] for one in labels]), scan.expected)


@pytest.mark.parametrize("name", WAYS)
def test_labels_of_the_reference_client(
    server: tuple[str, int], scans: dict[str, Scan], name: str, tmp_path: Path
) -> None:
    """client.py of kspaceKelvin/python-ismrmrd-server, as it is, from one HDF5 file to another."""
    scan, client = scans[name], reference_folder()
    source, out = tmp_path / "in.h5", tmp_path / "out.h5"
    with ismrmrd.Dataset(str(source), "dataset") as dataset:
        dataset.write_xml_header(b"<ismrmrdHeader/>")
        for image in scan.images:
            dataset.append_image("image_0", theirs(image))
    host, port = server
    done = subprocess.run(
        [sys.executable, str(client / "client.py"), str(source), "-a", host, "-p", str(port), "-o", str(out),
         "-g", "dataset", "-G", "dataset", "-c", "scanside"],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    with ismrmrd.Dataset(str(out), "dataset", create_if_needed=False) as dataset:
        back = [dataset.read_image("image_2", n) for n in range(dataset.number_of_images("image_2"))]
        assert dataset.number_of_images("image_1") == SHAPE[0]
    back.sort(key=lambda one: int(one.image_index))
    np.testing.assert_array_equal(np.stack([one.data[0, 0] for one in back]), scan.expected)
