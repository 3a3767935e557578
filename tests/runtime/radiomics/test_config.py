"""The configuration and its file."""

import pytest

from scanside.runtime.errors import BundleError, UsageError
from scanside.runtime.radiomics.config import default_config, dump_config, load_config
from scanside.runtime.radiomics.names import FEATURES, choose, feature_names
from tests.runtime.radiomics.lesion_images import one_sequence
from tests.support.interpreter import python


@pytest.mark.parametrize("config", [default_config(), default_config(wavelet=True), one_sequence()])
def test_the_file_gives_the_configuration_back_in_its_order(config) -> None:
    data = dump_config(config)
    again = load_config(data)
    assert again == config
    assert dump_config(again) == data
    assert feature_names(again) == feature_names(config)


def test_a_person_may_leave_out_what_has_a_default() -> None:
    config = load_config(
        b"""
schema: scanside.radiomics/1
sequences:
  t2w:
    role: t2w
    setting: {binWidth: 25}   # a comment
    image_types: {Original: {}, LoG: {sigma: [3]}}
    feature_classes: {firstorder: [Mean], glcm: [Contrast]}
"""
    )
    assert feature_names(config) == (
        "t2w_original_firstorder_Mean",
        "t2w_original_glcm_Contrast",
        "t2w_log-sigma-3-0-mm-3D_firstorder_Mean",
        "t2w_log-sigma-3-0-mm-3D_glcm_Contrast",
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("binCount: 32", "binCount: 32\n      binWidth: 5"), "one of binWidth and binCount"),
        (("binCount: 32", "binCounts: 32"), "Extra inputs"),
        (("LoG:", "Square:"), "Square"),
        (("sigma: [2.0, 4.0]", "sigma: []"), "sigma"),
        (("sigma: [2.0, 4.0]", "binCount: 16"), "needs sigma"),
        (("      Original: {}", "      Original: {sigma: [1.0]}"), "takes no sigma"),
        (("glcm: []", "glcm: [Kontrast]"), "no feature Kontrast"),
        (("role: dwi", "role: t2w"), "measured twice"),
        (("  dwi:", "  dwi_2:"), "letters and digits"),
        (("schema: scanside.radiomics/1", "schema: scanside.radiomics/2"), "schema"),
        (("schema: scanside.radiomics/1", "schema: !!python/object/apply:os.getpid []"), "radiomics.yaml"),
        (("schema:", "schema: [}"), "not YAML"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(change: tuple[str, str], words: str) -> None:
    text = dump_config(default_config()).decode()
    assert change[0] in text
    with pytest.raises(BundleError, match=words) as caught:
        load_config(text.replace(*change, 1).encode())
    assert "radiomics.yaml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"7", b"\xff\xfe\x00", b"a: 1\na: 2", b"[" * 1500, b"x" * 300_000])
def test_rubbish_is_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        load_config(data)
    assert "\n" not in str(caught.value)


def test_names_are_pyradiomics_own() -> None:
    import radiomics

    for kind, features in FEATURES.items():
        theirs = radiomics.getFeatureClasses()[kind].getFeatureNames()
        assert features == tuple(name for name, deprecated in theirs.items() if not deprecated)


def test_the_default_has_all_features_and_shape_once_per_mask() -> None:
    found = feature_names(default_config())
    assert len(found) == len(set(found)) == 3 * 3 * 93 + 2 * 14
    assert not any(name.startswith("adc_original_shape") for name in found)
    assert "adc_log-sigma-4-0-mm-3D_glcm_Contrast" in found
    assert len(feature_names(default_config(wavelet=True))) == 3 * 7 * 93 + 2 * 14


def test_unknown_and_repeated_features_are_refused() -> None:
    config = one_sequence()
    with pytest.raises(UsageError, match="no feature 'x_original_glcm_Kontrast'"):
        choose(config, ["x_original_glcm_Kontrast"])
    with pytest.raises(UsageError, match="twice"):
        choose(config, ["x_original_glcm_Contrast"] * 2)


def test_importing_loads_neither_pyradiomics_nor_what_it_brings() -> None:
    done = python(
        "import sys\n"
        "import scanside.runtime.radiomics.extract, scanside.runtime.radiomics.conformance\n"
        "import scanside.runtime.radiomics.ibsi, scanside.runtime.cli.radiomics\n"
        "from scanside.runtime.radiomics.config import default_config\n"
        "default_config()\n"
        "print(sorted({n.split('.')[0] for n in sys.modules}))"
    )
    loaded = set(eval(done.stdout.splitlines()[-1]))
    assert not loaded & {"radiomics", "pykwalify", "pywt", "ruamel", "SimpleITK", "pydicom", "torch"}
