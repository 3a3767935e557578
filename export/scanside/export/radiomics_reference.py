"""The reference of the radiomics hop: pyradiomics' own extractor on whole images, every feature at once.

The runtime measures single features on single filtered images around the lesion; this goes the way a researcher would.
Only the z-score over the body, which pyradiomics does not know, is shared with the runtime.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from scanside.runtime.arrays import Uint8
from scanside.runtime.errors import InputError
from scanside.runtime.images.write import to_itk
from scanside.runtime.radiomics.body import scaling
from scanside.runtime.radiomics.config import RadiomicsConfig, SequenceConfig
from scanside.runtime.radiomics.engine import pyradiomics
from scanside.runtime.radiomics.filters import settings_of
from scanside.runtime.radiomics.names import sequence_of
from scanside.runtime.volume import Volume


def reference_features(
    images: Mapping[str, Volume], masks: Mapping[str, Uint8], config: RadiomicsConfig, names: Sequence[str]
) -> dict[str, float]:
    """Features by `RadiomicsFeatureExtractor`.

    Args:
        images: Sequence → image of one channel.
        masks: Role → (Z, Y, X), the region of interest > 0.
        names: The features wanted, `<sequence>_<pyradiomics name>`.

    Raises:
        InputError: If a feature has no finite value.
    """
    values: dict[str, float] = {}
    for sequence in dict.fromkeys(sequence_of(name) for name in names):
        recipe = config.sequences[sequence]
        found = _extract(images[sequence], masks[recipe.role], recipe)
        values |= {f"{sequence}_{name}": float(value) for name, value in found.items()}
    absent = [name for name in names if not np.isfinite(values.get(name, np.nan))]
    if absent:
        raise InputError(f"pyradiomics has no value for {absent[0]} of a golden study; give another study.")
    return {name: values[name] for name in names}


def _extract(volume: Volume, mask: Uint8, recipe: SequenceConfig) -> dict[str, float]:
    scale = scaling(volume, recipe.normalise)
    if scale is None:
        raise InputError("An image of a golden study has one grey value; give another study.")
    extractor = pyradiomics().featureextractor.RadiomicsFeatureExtractor(**settings_of(recipe))
    extractor.disableAllImageTypes()
    for kind, own in recipe.image_types.items():
        arguments = own.model_dump(exclude_none=True)
        if "sigma" in arguments:
            arguments["sigma"] = list(arguments["sigma"])
        extractor.enableImageTypeByName(kind, customArgs=arguments)
    extractor.disableAllFeatures()
    extractor.enableFeaturesByName(**{kind: list(recipe.features(kind)) for kind in recipe.feature_classes})
    image = to_itk(scale.apply(volume.data[0].astype(np.float64)), volume.geometry)
    found = extractor.execute(image, to_itk((mask > 0).astype(np.uint32), volume.geometry), label=1)
    return {name: float(value) for name, value in found.items() if not name.startswith("diagnostics_")}
