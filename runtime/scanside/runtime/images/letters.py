"""Letters that name where the axes of an image point to, such as `LPS`. Loads nothing, for records that hold them."""

LETTERS = ("RL", "AP", "IS")
"""Per LPS coordinate: the letter when the index grows against it, and along it."""
USUAL = "LPS"
"""Of an axial DICOM image of a patient on the back, head first: columns to the left, rows to posterior, slices up."""


def is_orientation(letters: str) -> bool:
    """Whether three letters name an orientation: one of each pair."""
    return len(letters) == 3 and {pair for pair in LETTERS for one in letters if one in pair} == set(LETTERS)
