"""Filtered images of a region, by pyradiomics: only those that are asked for."""

from collections.abc import Collection, Iterator
from typing import Any

from scanside.runtime.radiomics.config import ImageTypeSetting, SequenceConfig
from scanside.runtime.radiomics.engine import pyradiomics
from scanside.runtime.radiomics.laplacian import laplacian
from scanside.runtime.radiomics.names import FILTERS, ImageType, filter_names
from scanside.runtime.radiomics.region import Region

Settings = dict[str, Any]


def filtered(
    region: Region, config: SequenceConfig, wanted: Collection[str]
) -> Iterator[tuple[str, Any, Settings]]:
    """Each image asked for: name, SimpleITK image of the region's box, and pyradiomics' settings to measure it with.

    Args:
        wanted: Names as in `SequenceConfig.images`.

    An image that pyradiomics does not give, since the region is too small for its filter, is left out.
    """
    for kind in FILTERS:
        if kind not in config.image_types:
            continue
        own = config.image_types[kind]
        settings = settings_of(config, own)
        asked = [name for name in _names(kind, own, config) if name in wanted]
        if not asked:
            continue
        if kind == "LoG":
            for sigma in own.sigma or ():
                (name,) = filter_names("LoG", [sigma])
                found = laplacian(region, sigma) if name in asked else None
                if found is not None:
                    yield name, region.boxed(found), settings
            continue
        make = getattr(pyradiomics().imageoperations, f"get{kind}Image")
        for image, name, _ in make(region.image, region.mask, **settings):
            if name in asked:
                yield name, region.cut(image), settings


def settings_of(config: SequenceConfig, own: ImageTypeSetting | None = None) -> Settings:
    """pyradiomics' settings of a sequence, with those of one image type over them."""
    settings: Settings = config.setting.model_dump(exclude_none=True, exclude={"integers"})
    if own is not None:
        given = own.model_dump(exclude_none=True)
        if {"binWidth", "binCount"} & given.keys():
            settings.pop("binWidth", None)
            settings.pop("binCount", None)
        settings.update(given)
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in (settings | {"label": 1, "preCrop": True, "force2Ddimension": 0}).items()
    }


def _names(kind: ImageType, own: ImageTypeSetting, config: SequenceConfig) -> tuple[str, ...]:
    return filter_names(kind, own.sigma or (), config.setting.force2D)
