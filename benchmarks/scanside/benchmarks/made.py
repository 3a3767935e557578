"""A made network and made images for measuring what size costs: cheap to compute, with label maps like anatomy's.

The network is a nearest-centre classifier of the smoothed grey value: class k wins where the value lies closest to its
centre. It segments nothing of meaning.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from scanside.runtime.manifest import SCHEMA, Manifest, Network, Segmenter
from scanside.runtime.plan import Channel, Labels, Normalization, Plan
from scanside.runtime.volume import Geometry, Volume

NETWORK = "one 3 × 3 × 3 convolution, a class for each band of smoothed grey values; its masks mean nothing"
SPACING = (1.5, 1.5, 1.5)
"""(z, y, x) mm of the network's grid."""
IMAGE_SPACING = (1.0, 0.75, 0.75)
"""(z, y, x) mm of the images: 512 × 512 × 400 voxels are 38 × 38 × 40 cm."""
_SPREAD = 1.5
"""Centres lie within so many standard deviations of the image."""


def write_bundle(out: Path, classes: int, patch: tuple[int, int, int]) -> Path:
    """Write a bundle with the made network.

    Args:
        out: The bundle's folder.
        classes: With background.
        patch: (z, y, x) voxels of a tile.
    """
    from scanside.export.writer import BundleWriter

    plan = Plan(
        configuration="3d_fullres",
        channels=(Channel(name="MRI", normalization=Normalization(scheme="ZScoreNormalization")),),
        spacing=SPACING,
        patch_size=patch,
        labels=Labels(names={f"class {k}" if k else "background": k for k in range(classes)}),
    )
    with BundleWriter(out, overwrite=False) as writer:
        writer.add("segmenters/main/0.onnx", _network(classes, patch))
        network = Network(fold="0", files={"fp32": "segmenters/main/0.onnx"})
        writer.write_manifest(
            Manifest(
                schema=SCHEMA, name="made", version="1", intended_use="Measuring time and memory only.",
                licence="none", created="now", file_ending=".nii.gz", synthetic=True, provenance={},
                segmenters={"main": Segmenter(plan=plan, networks=(network,))}, files=writer.files,
            )
        )  # fmt: skip
        writer.commit()
    return out


def _network(classes: int, patch: tuple[int, int, int]) -> bytes:
    """-(x - c)² without its x², which all classes share: 2 c x - c², of the mean of 27 voxels."""
    from onnx import TensorProto, helper, numpy_helper

    centres = np.linspace(-_SPREAD, _SPREAD, classes)
    sharp = 4.0 * classes  # so that neighbouring classes differ by more than float16 rounds
    weight = np.empty((classes, 1, 3, 3, 3), np.float32)
    weight[:] = (sharp * 2 * centres / 27)[:, None, None, None, None]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight", "bias"], ["logits"], pads=[1] * 6)],
        "made",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, *patch])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes, *patch])],
        [
            numpy_helper.from_array(weight, "weight"),
            numpy_helper.from_array((-sharp * centres**2).astype(np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def make_image(shape: tuple[int, int, int], spacing: tuple[float, float, float] = IMAGE_SPACING) -> Volume:
    """A body of smooth structures of about 4 cm with noise, in air.

    Args:
        shape: (Z, Y, X) voxels.
        spacing: (z, y, x) mm.
    """
    random = np.random.default_rng(0)
    axes = [np.arange(size, dtype=np.float32) * mm for size, mm in zip(shape, spacing, strict=True)]
    waves = [np.cos(2 * np.pi / period * axis) for axis, period in zip(axes, (90, 75, 80), strict=True)]
    body = _inside(axes[1])[:, None] ** 2 + _inside(axes[2])[None] ** 2 < 1
    plane = waves[1][:, None] * waves[2][None]
    data = np.zeros((1, *shape), np.float32)
    for z, level in enumerate(waves[0]):  # a slice at a time: the largest image is 400 MB
        noise = random.standard_normal(plane.shape, np.float32)
        data[0, z] = np.where(body, np.rint(1000 + 300 * level * plane + 150 * waves[2] + 20 * noise), 0)
    return Volume(data, Geometry(shape, spacing, (0.0, 0.0, 0.0)))


def write_image(out: Path, shape: tuple[int, int, int]) -> Path:
    """Write `make_image` as a file, 16 bit.

    Raises:
        OutputError: If it cannot be written.
    """
    import SimpleITK as sitk

    from scanside.runtime.images.files import atomic_write
    from scanside.runtime.images.write import to_itk

    made = make_image(shape)
    with atomic_write(out) as temporary:
        sitk.WriteImage(to_itk(made.data[0].astype(np.int16), made.geometry), str(temporary))
    return out


def _inside(axis: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """-1 … 1 within the body, which leaves 5 % of air on each side."""
    middle = (axis[0] + axis[-1]) / 2
    return (axis - middle) / max(0.45 * float(axis[-1] - axis[0]), 1e-6)
