"""Which tiles hold something of the patient: an approximation, on request, that spares the network the air around.

Air gives no magnetic resonance signal: what a magnitude image shows there is the noise of the receiver, which is
Rayleigh distributed and far below tissue. The body is what `radiomics/body.py` finds above that noise (Otsu's threshold
on square roots of block means, the largest component, filled within slices, so that air in the bowel and suppressed fat
count as body). A tile is left out when neither it nor a margin of one block around it touches the body.

The voxels that such a tile shares with tiles that were computed get those tiles' logits alone; voxels of no computed
tile get certain background. nnU-Net would have computed both, which is why this is off by default and named in reports.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Body:
    """Where the patient is, on a coarse grid over the whole image.

    Attributes:
        mask: (z, y, x) bool, network axis order.
    """

    mask: npt.NDArray[np.bool_]

    @property
    def stands_out(self) -> bool:
        """Whether a body was told from air at all; where it was not, no tile is empty."""
        return not self.mask.all()

    def touches(self, start: tuple[int, ...], stop: tuple[int, ...], shape: tuple[int, ...]) -> bool:
        """Whether the body, with a margin of one block, reaches into a box of an image of `shape`."""
        box = []
        for first, last, size, blocks in zip(start, stop, shape, self.mask.shape, strict=True):
            low = math.floor(first * blocks / size) - 1
            high = math.ceil(last * blocks / size) + 1
            box.append(slice(max(0, min(low, blocks - 1)), max(1, high)))
        return bool(self.mask[tuple(box)].any())


def find_body(data: npt.NDArray[np.float32], spacing: tuple[float, float, float]) -> Body:
    """The body in the first channel of an image before it is normalised.

    Args:
        data: (C, z, y, x), network axis order; intensities count from the image's darkest, so that CT works too.
        spacing: mm.
    """
    from scanside.runtime.radiomics.body import block_means, body_mask

    blocks = block_means(data[0], spacing)
    return Body(body_mask(blocks - blocks.min()))
