"""3 × 3 × 3 convolutions with fewer multiplications: Winograd's minimal filtering F(4, 3) in OpenVINO's float32 graphs.

Four neighbouring outputs of a filter of three taps take 6 multiplications instead of 12 when inputs, filter and outputs
are transformed by small matrices (Lavin and Gray 2016, arXiv:1509.09308). Here along depth, so that one convolution
becomes six of 1 × 3 × 3 over a quarter of the planes; where it pays along height as well: 36 of 1 × 1 × 3. The
transforms are matrix products over the whole axis. OpenVINO keeps channels innermost; transpositions go to and from
that order, and its compiler drops every one of them.

The same sums in another order: as exact as float32, no approximation (docs/adr/0014-fewer-multiplications.md).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float32

# Lavin and Gray, section 4.1 and its generalisation to F(4, 3): points 0, 1, -1, 2, -2 and infinity.
OUTPUTS, POINTS = 4, 6
INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
FILTER = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])

# What moving one float32 between the caches and the memory costs, in operations of a matrix product.
MOVE = 40
# Below this many voxels a convolution spends its time on its weights, which a transform makes larger; below this many
# channels on moving values.
FEWEST_VOXELS = 2048
FEWEST_CHANNELS = 64
# A model of costs is not exact: what promises less than this part of the time is left as it is.
WORTH = 0.8


@dataclass(frozen=True)
class Axis:
    """The transforms along one axis of n voxels: `tiles` = ceil(n / 4) groups of four outputs.

    Attributes:
        inputs: (6 · tiles, n): voxels, with zeros beyond both ends, to points; all tiles of one point lie together.
        outputs: (n, 6 · tiles): points to voxels.
        tiles: Groups of four outputs.
    """

    inputs: Float32
    outputs: Float32
    tiles: int

    @property
    def size(self) -> int:
        """Values along the axis between the transforms."""
        return POINTS * self.tiles


def axis(n: int) -> Axis:
    """The transforms along an axis of n voxels of a convolution with a padding of one."""
    tiles = -(-n // OUTPUTS)
    padded = np.zeros((POINTS, tiles, tiles * OUTPUTS + 2))
    outputs = np.zeros((tiles * OUTPUTS, POINTS, tiles))
    for tile in range(tiles):
        first = tile * OUTPUTS
        padded[:, tile, first : first + POINTS] = INPUT
        outputs[first : first + OUTPUTS, :, tile] = OUTPUT
    inputs = padded[:, :, 1 : n + 1]
    return Axis(
        inputs.reshape(-1, n).astype(np.float32), outputs[:n].reshape(n, -1).astype(np.float32), tiles
    )


def axes_worth(co: int, ci: int, shape: tuple[int, int, int]) -> int:
    """Along how many axes (depth, height) a 3 × 3 × 3 convolution is worth transforming: 0, 1 or 2.

    Args:
        co: Output channels.
        ci: Input channels.
        shape: (D, H, W) of inputs and outputs.
    """
    depth, height, _ = shape
    if int(np.prod(shape)) < FEWEST_VOXELS or min(co, ci) < FEWEST_CHANNELS:
        return 0
    deep, high = POINTS * -(-depth // OUTPUTS), POINTS * -(-height // OUTPUTS)
    d, h = deep / depth, high / height
    # Operations a voxel: multiplications and additions of the convolutions, of the products, and of the values moved.
    direct = 54 * co * ci
    once = 18 * d * co * ci + 2 * deep * (ci + co) + MOVE * (ci * (1 + 2 * d) + co * (3 + 4 * d))
    twice = (
        (6 * d * h * co * ci + 2 * (deep + high * d) * (ci + co))
        + MOVE * ci * (1 + 2 * d + 4 * d * h)
        + MOVE * co * (3 + 2 * d + 6 * d * h)
    )
    costs = [WORTH * direct, once, twice]
    return costs.index(min(costs))


def rewrite(network: Any) -> int:
    """Replace the convolutions of an `openvino.Model` for which it pays, in place; how many were.

    Args:
        network: With static shapes, float32.
    """
    count = 0
    for node in network.get_ordered_ops():
        if node.get_type_name() != "Convolution" or not _eligible(node):
            continue
        weights = node.input_value(1).get_node().data
        _, _, depth, height, width = node.get_input_shape(0)
        chosen = axes_worth(weights.shape[0], weights.shape[1], (depth, height, width))
        if chosen:
            replaced = _transformed(node.input_value(0), weights, (depth, height, width), chosen == 2)
            node.output(0).replace(replaced.output(0))
            count += 1
    if count:
        network.validate_nodes_and_infer_types()
    return count


def channels_innermost(compiled: Any) -> bool:
    """Whether the compiler laid out every convolution's outputs with channels innermost.

    It does so for processors with AVX-512. Elsewhere transpositions are real work and the network as it was is faster.
    """
    facts = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
    layouts = [fact["outputLayouts"] for fact in facts if fact["layerType"] == "Convolution"]
    return all(layout in ("acdb", "acdeb") for layout in layouts)


def _eligible(node: Any) -> bool:
    """Whether this is a 3 × 3 × 3 convolution of one image, its outputs one for each voxel, with constant weights."""
    given, weights = node.get_attributes(), node.input_value(1).get_node()
    return (
        weights.get_type_name() == "Constant"
        and list(weights.get_output_shape(0)[2:]) == [3, 3, 3]
        and node.get_input_shape(0)[0] == 1
        and list(given["strides"]) == list(given["dilations"]) == [1, 1, 1]
        and list(given["pads_begin"]) == list(given["pads_end"]) == [1, 1, 1]
    )


def _transformed(image: Any, weights: Float32, shape: tuple[int, int, int], twice: bool) -> Any:
    """The node that computes the convolution of `image` (1, C, D, H, W) by transforms along depth, and height."""
    from openvino import opset13 as op

    co, ci = weights.shape[:2]
    depth, height, width = shape
    deep, high = axis(depth), axis(height)
    values = _product(deep.inputs, _channels_last(image), (depth, height * width * ci))
    if twice:
        values = _product(high.inputs, values, (deep.size, height, width * ci))
        planes = _reshaped(values, 1, deep.size, high.size, width, ci)
        filters = _filters(weights, np.kron(FILTER, FILTER), (1, 1, 3))
        parts = [
            op.concat([_convolved(row, next(filters)) for row in _split(plane, 2)], 3)
            for plane in _split(planes, 1)
        ]
        values = _channels_last(op.concat(parts, 2))
        values = _product(high.outputs, values, (deep.size, high.size, width * co))
    else:
        planes = _reshaped(values, 1, deep.size, height, width, ci)
        filters = _filters(weights, FILTER, (1, 3, 3))
        parts = [_convolved(plane, next(filters)) for plane in _split(planes, 1)]
        values = _channels_last(op.concat(parts, 2))
    values = _product(deep.outputs, values, (deep.size, height * width * co))
    return _kept_in_order(_channels_first(_reshaped(values, 1, depth, height, width, co)), co)


def _filters(
    weights: Float32, transform: npt.NDArray[np.float64], kernel: tuple[int, int, int]
) -> Iterator[Float32]:
    """(O, C, 3, 3, 3) → (O, C, *kernel) for each point of the transform of the first one or two axes of the kernel.

    In float64 until the end, six points at a time to save memory.
    """
    co, ci = weights.shape[:2]
    taps = transform.shape[1]
    by_tap = weights.reshape(co * ci, taps, -1).transpose(1, 0, 2).reshape(taps, -1).astype(np.float64)
    for first in range(0, len(transform), POINTS):
        some = (transform[first : first + POINTS] @ by_tap).astype(np.float32)
        yield from some.reshape(-1, co, ci, *kernel)


def _convolved(values: Any, filters: Float32) -> Any:
    """(1, D, H, W, C) with filters (O, C, 1, 3 or 1, 3) → (1, O, D, H, W), padded with zeros."""
    from openvino import opset13 as op

    pads = [size // 2 for size in filters.shape[2:]]
    constant = op.constant(filters, shared_memory=True)
    return op.convolution(_channels_first(values), constant, [1, 1, 1], pads, pads, [1, 1, 1])


def _product(matrix: Float32, values: Any, shape: tuple[int, ...]) -> Any:
    """The matrix times `values`, brought to `shape`, whose last axis but one is transformed."""
    from openvino import opset13 as op

    return op.matmul(op.constant(matrix), _reshaped(values, *shape), False, False)


def _split(values: Any, along: int) -> list[Any]:
    """One part for each point."""
    from openvino import opset13 as op

    parts: list[Any] = op.split(values, op.constant(along), POINTS).outputs()
    return parts


def _kept_in_order(values: Any, channels: int) -> Any:
    """`values` times one: a convolution, the one operation that makes OpenVINO keep channels innermost.

    Without it the compiler moves what follows to channels-first, at a third of the gain.
    """
    from openvino import opset13 as op

    ones = op.constant(np.ones((channels, 1, 1, 1, 1, 1), np.float32))
    return op.group_convolution(values, ones, [1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 1, 1])


def _channels_last(values: Any) -> Any:
    from openvino import opset13 as op

    return op.transpose(values, op.constant(np.array([0, 2, 3, 4, 1])))


def _channels_first(values: Any) -> Any:
    from openvino import opset13 as op

    return op.transpose(values, op.constant(np.array([0, 4, 1, 2, 3])))


def _reshaped(values: Any, *shape: int) -> Any:
    from openvino import opset13 as op

    return op.reshape(values, op.constant(np.array(shape)), False)
