"""What is known of a patient beside the images: age and sex from DICOM, anything from the study's sidecar."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

from scanside.runtime.errors import InputError
from scanside.runtime.study.answer import Known
from scanside.runtime.study.records import SequenceImage

SIDECAR = "clinical.json"
"""In the study's folder: one JSON object, covariate → number or word, such as {"age": 63, "sex": "F", "ca199": 37}."""
_AGE_DIFFERS = 1.0
"""Years: a birthday may lie between two statements of an age."""


def read_clinical(path: Path, images: Mapping[str, SequenceImage]) -> dict[str, Known]:
    """Covariate → what the study says of it.

    Raises:
        InputError: If the sidecar cannot be understood, or says another age or sex than the images.
    """
    headers = [
        header for image in images.values() if image.source is not None for header in image.source.headers
    ]
    known: dict[str, Known] = {}
    if headers:
        from scanside.runtime.dicom.patient import age_and_sex

        known |= age_and_sex(headers)
    given = _sidecar(path / SIDECAR) if path.is_dir() else {}
    return joined(known, given, path / SIDECAR)


def joined(known: Mapping[str, Known], given: Mapping[str, Known], where: Path) -> dict[str, Known]:
    """What the images say, and what a file gives beside them.

    Args:
        where: The file.

    Raises:
        InputError: If they contradict each other.
    """
    for name, value in given.items():
        if name in known and _differ(known[name], value):
            raise InputError(
                f"{where} says another {name} than the images' headers; give the values of this patient."
            )
    return {**known, **given}


def _sidecar(file: Path) -> dict[str, Known]:
    if not file.is_file():
        return {}
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({error}); write one JSON object.") from error
    if not isinstance(document, dict):
        raise InputError(f"{file} is no JSON object; write covariates and their values.")
    known: dict[str, Known] = {}
    for name, value in document.items():
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise InputError(f"{file}: '{name}' is neither a number nor a word; correct it.")
        if isinstance(value, str):
            known[name] = value
        elif math.isfinite(value):
            known[name] = float(value)
        else:
            raise InputError(f"{file}: '{name}' is not a finite number; leave out what is unknown.")
    return known


def _differ(said: Known, given: Known) -> bool:
    if isinstance(said, str) or isinstance(given, str):
        return said != given
    return abs(said - given) > _AGE_DIFFERS
