"""A feature's name as one typed value."""

import pytest

from scanside.runtime.radiomics.config import default_config
from scanside.runtime.radiomics.names import FeatureName, names, sequence_of


def test_every_feature_of_the_default_recipe_is_read_back_from_its_text() -> None:
    every = names(default_config())
    assert len(every) > 800
    for name in every:
        assert FeatureName.read(str(name)) == name
        assert sequence_of(str(name)) == name.sequence


@pytest.mark.parametrize(
    "text",
    ["", "t2w", "t2w_original", "t2w_original_glcm", "t2w_original_colour_Red", "_original_glcm_Contrast"],
)
def test_what_is_no_feature_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no name of a feature"):
        FeatureName.read(text)
