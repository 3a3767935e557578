"""The segments of a mask: lesions by size, further ones together, organs."""

import numpy as np
import pytest

from scanside.runtime.study.segments import lesion_segments

pytestmark = pytest.mark.requirement("objects")


def test_lesions_and_organs_have_segments() -> None:
    mask = np.zeros((4, 30, 30), np.uint8)
    for n in range(12):  # a dozen lesions of falling size
        mask[0, 2 * n : 2 * n + 1, : 25 - n] = 2
    mask[2, 5:9, 5:9] = 1
    made, labels = lesion_segments(mask, 2, {1: "pancreas", 2: "lesion"})
    assert list(labels) == [*(f"Lesion {n}" for n in range(1, 11)), "Further lesions", "Pancreas"]
    assert [int((made == value).sum()) for value in labels.values()] == [*range(25, 15, -1), 15 + 14, 16]
    assert lesion_segments(mask * 0, 2, {2: "lesion"})[1] == {"Lesion": 1}
