"""What people call sequences, and how a measured value is written: for sentences, pictures, reports and screens."""

import re

from scanside.runtime.remark import reworded

TITLES = {"t2w": "T2WI", "dwi": "DWI", "b0": "low-b image", "adc": "ADC map"}
"""Sequence → what a person calls it."""
_NAMED = re.compile(r"(?<!\w)'[^']*'(?!\w)|(?<![\w/.-])(t2w|dwi|adc|b0)(?![\w/-]|\.\w)")
"""The names of sequences; not in a scanner's own name in quotation marks, in `dwi.nii.gz` or in `--dwi`."""


def spoken(sentence: str) -> str:
    """A sentence with the names that people have for sequences; a remark keeps its code."""
    return reworded(sentence, lambda words: _NAMED.sub(lambda at: TITLES[at[1]] if at[1] else at[0], words))


def amount(value: float) -> str:
    """A measured value without an exponent: `1214`, `97.3`, `0.0512`."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
