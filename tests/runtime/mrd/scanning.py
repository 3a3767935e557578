"""Scans as a scanner sends them, the labels of `segment` for each, and the server in a process of its own."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from scanside.runtime import Options, open_bundle, segment
from scanside.runtime.mrd.meta import write_meta
from scanside.runtime.mrd.series import slices_of
from scanside.runtime.mrd.wire import Image, make_image
from scanside.runtime.volume import Geometry, Volume

SHAPE, SPACING, ORIGIN = (12, 64, 72), (5.0, 2.4, 2.4), (-80.0, -70.0, 15.0)
SAGITTAL = np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]])
OBLIQUE = Rotation.from_euler("xyz", (14, -7, 21), degrees=True).as_matrix()


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume, its slices in the order in which a scanner sends them, and the labels of `segment`."""

    volume: Volume
    images: list[Image]
    expected: npt.NDArray[np.uint16]


def volume(direction: npt.NDArray[np.float64], seed: int = 1) -> Volume:
    data = gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 2).astype(np.float32)[None]
    flat = tuple(float(value) for value in direction.ravel())
    return Volume(np.rint(data * 1000 + 500), Geometry(SHAPE, SPACING, ORIGIN, flat))


def interleaved(images: list[Image]) -> list[Image]:
    return [*images[1::2], *images[::2]]


def row_flipped(images: list[Image]) -> list[Image]:
    """The scanner has turned the rows round: the attributes say so, the header still has the acquisition."""
    made = []
    for image in images:
        row, column = (image.get(name) for name in ("read_dir", "phase_dir"))
        attributes = write_meta(
            {
                "ImageRowDir": tuple(f"{-value:.9f}" for value in row),
                "ImageColumnDir": tuple(f"{value:.9f}" for value in column),
            }
        )
        made.append(make_image(image.header, attributes, np.ascontiguousarray(image.data[..., ::-1])))
    return made


def as_u16(images: list[Image]) -> list[Image]:
    return [make_image(i.header, i.attributes, np.clip(i.data, 0, None).astype(np.uint16)) for i in images]


WAYS: dict[str, tuple[npt.NDArray[np.float64], Callable[[list[Image]], list[Image]]]] = {
    "axial": (np.eye(3), as_u16),
    "sagittal": (SAGITTAL, as_u16),
    "oblique": (OBLIQUE, as_u16),
    "interleaved": (np.eye(3), lambda images: interleaved(as_u16(images))),
    "flipped row": (np.eye(3), lambda images: row_flipped(as_u16(images))),
}


def made_scans(bundle: Path) -> dict[str, Scan]:
    """`segment` on the volume that lies as the images say: a flipped row is another volume on another grid."""
    opened, options = open_bundle(bundle), Options(device="openvino")
    made = {}
    for name, (direction, way) in WAYS.items():
        of = volume(direction)
        data = np.clip(of.data, 0, None)
        if name == "flipped row":  # z grows along row × column, so that it turns with the row
            turned = np.array(of.geometry.direction_matrix) * np.array([-1, 1, -1])
            corner = np.array(ORIGIN) + np.array(
                [(SHAPE[2] - 1) * SPACING[2], 0, (SHAPE[0] - 1) * SPACING[0]]
            )
            flat = tuple(float(value) for value in turned.ravel())
            geometry = Geometry(SHAPE, SPACING, tuple(corner.tolist()), flat)
            seen = Volume(np.ascontiguousarray(data[:, ::-1, :, ::-1]), geometry)
        else:
            seen = Volume(data, of.geometry)
        made[name] = Scan(
            seen, way(slices_of(of)), segment(opened, seen, options=options).mask.astype(np.uint16)
        )
    return made


@contextmanager
def serving(bundle: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], tuple[str, int]]]:
    """The command in a process of its own; the process and its address."""
    program = [sys.executable, "-m", "scanside.runtime.cli.main", "mrd", "serve", str(bundle)]
    process = subprocess.Popen(
        [*program, "--port", "0", "--device", "openvino", *options],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if line.startswith("Listening"))
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield process, ("127.0.0.1", int(line.split()[2].rstrip(".").rsplit(":", 1)[1]))
    finally:
        process.kill()
        process.wait(20)
