"""pyradiomics, imported when the first value is computed, and quiet."""

import logging
from functools import cache
from importlib import import_module
from typing import Any

from scanside.runtime.errors import ExtraMissingError
from scanside.runtime.extras import install_command

_SILENT = logging.CRITICAL + 10


@cache
def pyradiomics() -> Any:
    """The package `radiomics` with its loggers silenced: what goes wrong is told as the reason of an absent value.

    Raises:
        ExtraMissingError: If it is not installed.
    """
    for name in ("radiomics", "pykwalify"):
        logging.getLogger(name).setLevel(_SILENT)
    try:
        package = import_module("radiomics")
    except ImportError as error:
        raise ExtraMissingError(
            f"Radiomics needs pyradiomics, which does not load ({error}); run: {install_command('study')}."
        ) from error
    logging.getLogger("radiomics").setLevel(_SILENT)  # the package sets its own level while it is imported
    return package
