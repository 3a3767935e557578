"""Descriptions in research copies: words of imaging alone are left."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanside.runtime.dicom.descriptors import clean_description

pytestmark = pytest.mark.requirement("deidentified")


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("t2_tse_tra DOE^ANN 12.03.1964", "t2_tse_tra"),
        ("ep2d_diff_tra_DYNDISTCALCBVAL", "ep2d_diff_tra_DYNDISTCALCBVAL"),
        ("AXT2FS Mueller", "AXT2FS"),
        ("ep_b50_400_800", "ep_b50_400_800"),
        ("MRN 1234567 b1000", "b1000"),
        ("1.2.1964 T2", "T2"),
        ("3-plane loc", "3-plane loc"),
        ("Patel DWI Müller", "DWI"),
        ("PARTIN ARTIN MARTIN", ""),
        ("C_BVAL1400", "C_BVAL1400"),
        ("Apparent Diffusion Coefficient", "Apparent Diffusion Coefficient"),
    ],
)
def test_descriptions_keep_words_of_imaging_alone(words: str, left: str) -> None:
    assert clean_description(words) == left


@given(st.text(max_size=64))
def test_cleaning_adds_no_word_and_keeps_no_long_number(words: str) -> None:
    left = clean_description(words)
    before, after = (re.findall(r"[A-Za-z0-9]+", text) for text in (words, left))
    assert not re.search(r"\d{5}", left) and len(left) <= len(words)
    assert all(word in rest for rest in [iter(before)] for word in after), "the same words in the same order"
