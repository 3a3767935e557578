"""Codes of organs, regions and features."""

import pytest

from scanside.runtime.dicom.codes import anatomic_region, own_code, segment_codes

pytestmark = pytest.mark.requirement("objects")


@pytest.mark.parametrize(
    ("label", "meaning"),
    [("Pancreas", "Pancreas"), ("liver_tumour", "Neoplasm"), ("anterior", "Tissue"), ("lesion", "Lesion")],
)
def test_codes(label: str, meaning: str) -> None:
    assert segment_codes(label).type[2] == meaning


@pytest.mark.parametrize(
    ("texts", "organ"),
    [
        (["lesion", "pancreas-phantom"], "Pancreas"),
        (["tiny", "test", "PDAC"], "Pancreas"),
        (["Hepatic lesions", "pancreas"], "Liver"),
        (["liver and spleen", "pancreatic"], "Pancreas"),  # the first names two
        (["expancreas", "lesion"], None),
    ],
)
def test_anatomic_region(texts: list[str], organ: str | None) -> None:
    found = anatomic_region(texts)
    assert (found and found[2]) == organ


def test_own_code_fits_its_representation() -> None:
    value, scheme, meaning = own_code("firstorder_TotalEnergy", "m" * 80)
    assert len(value) <= 16 and scheme == "99SCANSIDE" and len(meaning) == 64
    assert own_code("firstorder_TotalEnergy", "m") != own_code("firstorder_TotalEnergies", "m")
