"""Implicit shapes in continuous patient space (LPS, mm), and smooth random fields.

A shape tells the signed distance to its surface (negative inside), near enough to blend a voxel across the surface.
Coordinates are arrays x, y, z that broadcast together.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from scanside.runtime.arrays import Float32

Points = npt.NDArray[np.float64]
Box = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Lowest and highest (x, y, z)."""


class Shape(Protocol):
    """Something with an inside."""

    @property
    def box(self) -> Box:
        """A box that holds the shape."""
        ...

    def clip(self, low: float, high: float) -> "Shape | None":
        """The part that matters between two heights z, or None."""
        ...

    def distance(self, x: Float32, y: Float32, z: Float32) -> Float32:
        """Signed distance, mm."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid with axes along x, y, z.

    Attributes:
        centre: (x, y, z), mm.
        radii: (x, y, z), mm.
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]

    @property
    def box(self) -> Box:
        """See `Shape`."""
        return np.subtract(self.centre, self.radii), np.add(self.centre, self.radii)

    def clip(self, low: float, high: float) -> "Ellipsoid | None":
        """See `Shape`."""
        return (
            self if self.centre[2] - self.radii[2] < high and self.centre[2] + self.radii[2] > low else None
        )

    def distance(self, x: Float32, y: Float32, z: Float32) -> Float32:
        """See `Shape`; first order in the distance (Quilez, 'ellipsoid SDF')."""
        squares: Any = 0.0
        steep: Any = 0.0
        for value, centre, radius in zip((x, y, z), self.centre, self.radii, strict=True):
            scaled = (value - np.float32(centre)) * np.float32(1 / radius)
            scaled *= scaled
            squares = squares + scaled
            steep = steep + scaled * np.float32(1 / radius**2)
        k0 = np.sqrt(squares)
        return k0 * (k0 - 1) / np.sqrt(np.maximum(steep, 1e-12))


@dataclass(frozen=True)
class Trunk:
    """A cylinder along z with a squarish elliptic section: the body and its layers.

    Attributes:
        centre: (x, y), mm.
        radii: (x, y), mm.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]

    @property
    def box(self) -> Box:
        """See `Shape`."""
        (x, y), (a, b) = self.centre, self.radii
        reach = 1.25  # the section bulges beyond the ellipse
        return np.array([x - reach * a, y - reach * b, -np.inf]), np.array(
            [x + reach * a, y + reach * b, np.inf]
        )

    def clip(self, low: float, high: float) -> "Trunk | None":
        """See `Shape`."""
        return self

    def distance(self, x: Float32, y: Float32, z: Float32) -> Float32:
        """See `Shape`."""
        u = ((x - np.float32(self.centre[0])) * np.float32(1 / self.radii[0])) ** 2
        v = ((y - np.float32(self.centre[1])) * np.float32(1 / self.radii[1])) ** 2
        k = np.sqrt(np.maximum(u + v - 0.35 * np.minimum(u, 1.2) * np.minimum(v, 1.2), 1e-9))
        return ((k - 1) * np.float32(min(self.radii)) + 0 * z).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Tube:
    """A tube along a polyline, its radius linear between nodes.

    Attributes:
        nodes: (N, 3) x, y, z of the centreline, mm.
        radii: (N,), mm.
        tall: How much taller (along z) than wide the section is.
    """

    nodes: npt.NDArray[np.float64]
    radii: npt.NDArray[np.float64]
    tall: float = 1.0

    @property
    def box(self) -> Box:
        """See `Shape`."""
        reach = self.radii[:, None] * np.array([1, 1, self.tall])
        return (self.nodes - reach).min(axis=0), (self.nodes + reach).max(axis=0)

    def clip(self, low: float, high: float) -> "Tube | None":
        """See `Shape`: the run of segments that reaches into the slab."""
        reach = self.radii * self.tall + 3
        bottom, top = self.nodes[:, 2] - reach, self.nodes[:, 2] + reach
        lowest, highest = np.minimum(bottom[:-1], bottom[1:]), np.maximum(top[:-1], top[1:])
        touched = np.flatnonzero((lowest < high) & (highest > low))
        if not touched.size:
            return None
        run = slice(touched[0], touched[-1] + 2)
        return replace(self, nodes=self.nodes[run], radii=self.radii[run])

    def distance(self, x: Float32, y: Float32, z: Float32) -> Float32:
        """See `Shape`: the union of round cones. Farther than `_FAR` mm outside it may be infinite.

        Each cone is computed in the rows and columns near it, since a long tube crosses a slice in few places.
        """
        flat = np.array([1, 1, 1 / self.tall])
        nodes, z = self.nodes * flat, z * np.float32(flat[2])
        best = np.full(np.broadcast_shapes(x.shape, y.shape, z.shape), np.inf, dtype=np.float32)
        reach = np.maximum(self.radii[:-1], self.radii[1:])[:, None] + _FAR
        low, high = np.minimum(nodes[:-1], nodes[1:]) - reach, np.maximum(nodes[:-1], nodes[1:]) + reach
        windows = _windows(x, y, low, high)
        cones = zip(nodes[:-1], nodes[1:], self.radii[:-1], self.radii[1:], windows, strict=True)
        for start, end, r0, r1, window in cones:
            if window is None:
                continue
            along = (end - start).astype(np.float32)
            px, py = x[window] - np.float32(start[0]), y[window] - np.float32(start[1])
            pz = z[window] - np.float32(start[2])
            t = (px * along[0] + py * along[1] + pz * along[2]) * np.float32(
                1 / max(float(along @ along), 1e-6)
            )
            np.clip(t, 0, 1, out=t)
            square = (px - t * along[0]) ** 2 + (py - t * along[1]) ** 2 + (pz - t * along[2]) ** 2
            cone = np.sqrt(square) - (np.float32(r0) + t * np.float32(r1 - r0))
            best[window] = np.minimum(best[window], cone)
        return best


_FAR = 12.0
"""mm; bumps on a tube are much lower."""


def _windows(x: Float32, y: Float32, low: Points, high: Points) -> list[tuple[Any, ...] | None]:
    """An index of the points that may lie in each of N boxes, or None where there are none.

    Args:
        x: On a (…, Y, X) grid, where columns and rows are cut out; of any other shape, all points are taken.
        y: Of the same shape.
        low: (N, 3) corners of the boxes.
        high: (N, 3).
    """
    if x.ndim != 3 or x.shape != y.shape:
        return [(Ellipsis,)] * len(low)
    columns = (x.max(axis=(0, 1)) >= low[:, :1]) & (x.min(axis=(0, 1)) <= high[:, :1])
    rows = (y.max(axis=(0, 2)) >= low[:, 1:2]) & (y.min(axis=(0, 2)) <= high[:, 1:2])
    spans = zip(*_first_and_end(rows), *_first_and_end(columns), strict=True)
    found = (rows.any(axis=1) & columns.any(axis=1)).tolist()
    return [
        (slice(None), slice(top, bottom), slice(left, right)) if there else None
        for there, (top, bottom, left, right) in zip(found, spans, strict=True)
    ]


def _first_and_end(inside: npt.NDArray[np.bool_]) -> tuple[list[int], list[int]]:
    """Where each row of (N, M) is true first, and one beyond where it is true last."""
    return inside.argmax(axis=1).tolist(), (inside.shape[1] - inside[:, ::-1].argmax(axis=1)).tolist()


@dataclass(frozen=True)
class Above:
    """The part of a shape in front of a level: gas lies on top of fluid in a patient who lies on the back.

    Attributes:
        shape: The whole.
        level: y, mm; the part with smaller y (anterior) remains.
    """

    shape: Shape
    level: float

    @property
    def box(self) -> Box:
        """See `Shape`."""
        low, high = self.shape.box
        return low, np.array([high[0], min(high[1], self.level), high[2]])

    def clip(self, low: float, high: float) -> "Above | None":
        """See `Shape`."""
        part = self.shape.clip(low, high)
        return None if part is None else replace(self, shape=part)

    def distance(self, x: Float32, y: Float32, z: Float32) -> Float32:
        """See `Shape`."""
        return np.maximum(self.shape.distance(x, y, z), y - np.float32(self.level))


@dataclass(frozen=True, eq=False)
class Noise:
    """A smooth, periodic Gaussian random field of unit variance.

    Attributes:
        lattice: (N, N, N) float32.
    """

    lattice: Float32

    @classmethod
    def draw(cls, rng: np.random.Generator, size: int = 40) -> Self:
        """Draw a field; features are about three cells wide."""
        white = rng.standard_normal((size, size, size), dtype=np.float32)
        smooth = ndimage.gaussian_filter(white, 1.2, mode="wrap", truncate=3.0)
        smooth -= smooth.mean()
        return cls((smooth / smooth.std()).astype(np.float32))

    def at(self, x: Float32, y: Float32, z: Float32, feature: float) -> Float32:
        """Values at points; `feature` is the size of a bump, in the units of the coordinates."""
        scale = np.float32(3.0 / feature)
        points = np.stack(np.broadcast_arrays(z * scale, y * scale, x * scale))
        return ndimage.map_coordinates(self.lattice, points, order=1, mode="grid-wrap", prefilter=False)


@dataclass(frozen=True, eq=False)
class Rough:
    """A shape with a bumpy surface.

    Attributes:
        shape: The smooth shape.
        noise: The bumps.
        height: Standard deviation of the surface, mm.
        feature: Width of a bump, mm.
    """

    shape: Shape
    noise: Noise
    height: float
    feature: float

    @property
    def box(self) -> Box:
        """See `Shape`."""
        low, high = self.shape.box
        return low - 3 * self.height, high + 3 * self.height

    def clip(self, low: float, high: float) -> "Rough | None":
        """See `Shape`."""
        reach = 3 * self.height
        part = self.shape.clip(low - reach, high + reach)
        return None if part is None else replace(self, shape=part)

    def distance(self, x: Float32, y: Float32, z: Float32) -> Float32:
        """See `Shape`."""
        bumps = self.noise.at(x, y, z, self.feature)
        return self.shape.distance(x, y, z) + np.float32(self.height) * bumps


@dataclass(frozen=True, eq=False)
class Lobed:
    """A shape of rounded lobes with sharp clefts between them, as the pancreas has.

    Attributes:
        shape: The smooth shape.
        noise: Its zeros are the clefts.
        depth: A cleft lies 0.8 times this inside the smooth surface, mm.
        feature: Width of a lobe, mm.
    """

    shape: Shape
    noise: Noise
    depth: float
    feature: float

    @property
    def box(self) -> Box:
        """See `Shape`."""
        low, high = self.shape.box
        return low - 2 * self.depth, high + 2 * self.depth

    def clip(self, low: float, high: float) -> "Lobed | None":
        """See `Shape`."""
        reach = 2 * self.depth
        part = self.shape.clip(low - reach, high + reach)
        return None if part is None else replace(self, shape=part)

    def distance(self, x: Float32, y: Float32, z: Float32) -> Float32:
        """See `Shape`: ∣noise∣ has a mean of 0.8, so that the volume stays about the same."""
        lobes = np.float32(0.8) - np.minimum(np.abs(self.noise.at(x, y, z, self.feature)), np.float32(2.5))
        return self.shape.distance(x, y, z) + np.float32(self.depth) * lobes
