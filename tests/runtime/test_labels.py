"""Which labels are meant by a name or a value, and what a mask keeps of them."""

import numpy as np
import pytest

from scanside.runtime.errors import UsageError
from scanside.runtime.labels import (
    choose_roi,
    flat_labels,
    itksnap_table,
    keep_roi,
    slicer_fields,
    slicer_table,
)
from scanside.runtime.plan import Labels
from scanside.runtime.segmenter import Segmentation
from scanside.runtime.volume import Geometry
from tests.support.plans import REGIONS

PLAIN = Labels(names={"background": 0, "left lung": 1, "right lung": 2, "heart": 3})


def result(mask: np.ndarray) -> Segmentation:
    return Segmentation(mask, {"left lung": 1.0, "right lung": 2.0, "heart": 3.0}, {})


def test_names_and_values_mean_the_same() -> None:
    roi = choose_roi(PLAIN, ["heart", "1"])
    assert roi.names == ("left lung", "heart") and roi.values == (1, 3)
    kept = keep_roi(result(np.array([[[0, 1, 2, 3]]], np.uint8)), roi)
    assert kept.mask.tolist() == [[[0, 1, 0, 3]]] and kept.mask.dtype == np.uint8
    assert kept.volumes_ml == {"left lung": 1.0, "heart": 3.0} and "Only left lung, heart" in kept.remarks[0]
    assert not keep_roi(result(np.zeros((1, 1, 2), np.uint16)), roi).mask.any()


def test_a_region_is_all_values_in_it_and_a_number_is_not_clear() -> None:
    roi = choose_roi(REGIONS, ["core"])
    assert roi.values == (2, 3)
    with pytest.raises(UsageError, match="not clear: in a model of regions"):
        choose_roi(REGIONS, ["2"])
    assert flat_labels(REGIONS, roi) == {"spot": 3, "whole ∩ core": 2}


@pytest.mark.parametrize("word", ["0", "background", "spleen", "7", "", "Heart"])
def test_what_is_no_label(word: str) -> None:
    with pytest.raises(UsageError):
        choose_roi(PLAIN, [word])


def test_a_name_that_is_the_number_of_another_is_refused() -> None:
    names = Labels(names={"background": 0, "2": 1, "1": 2})
    with pytest.raises(UsageError, match="may be the label called"):
        choose_roi(names, ["1"])
    assert choose_roi(Labels(names={"background": 0, "1": 1}), ["1"]).values == (1,)


def test_tables_survive_spaces_quotes_and_line_breaks() -> None:
    named = {'a "b"\nc': 1, "über": 2}
    rows = itksnap_table(named).splitlines()
    assert rows[-2].endswith("\"a 'b' c\"") and rows[-1].endswith('"über"')
    assert slicer_table(named).splitlines()[-2] == '1 a_"b"_c 230 25 75 255'
    assert slicer_fields(named, Geometry((2, 3, 4), (1, 1, 1)))["Segment0_Name"] == 'a "b" c'
