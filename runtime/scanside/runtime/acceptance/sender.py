"""C-STORE of files that the acceptance has made, to our own receiver."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom

from scanside.runtime.appliance.config import Config, DicomDestination
from scanside.runtime.appliance.deliver.association import Context, associate
from scanside.runtime.appliance.deliver.status_codes import status_words, took
from scanside.runtime.errors import ScansideError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SECONDS = 30.0
_TRIES = 3
"""What got no answer is sent again, as a scanner does; pynetdicom's sender loses one now and then on a busy machine."""
_LOST = "The receiver did not answer"


def send_files(destination: DicomDestination, as_whom: Config, files: Sequence[Path]) -> dict[str, str]:
    """Send files; file name → why it was not taken.

    Args:
        as_whom: Its `send` says who calls.
    """
    datasets = {path.name: pydicom.dcmread(path) for path in files}
    left = dict.fromkeys(datasets, _LOST)
    for _ in range(_TRIES):
        try:
            left = _send(destination, as_whom, {name: datasets[name] for name in left})
        except (ScansideError, ValueError, RuntimeError) as error:
            return dict.fromkeys(left, str(error))
        if _LOST not in left.values():
            break
    return left


def _send(
    destination: DicomDestination, as_whom: Config, datasets: Mapping[str, "Dataset"]
) -> dict[str, str]:
    """Over one association."""
    contexts = [Context(uid) for uid in dict.fromkeys(str(one.SOPClassUID) for one in datasets.values())]
    left = dict.fromkeys(datasets, _LOST)
    with associate(destination, as_whom, contexts, seconds=_SECONDS) as association:
        for name, dataset in datasets.items():
            if not association.alive:
                break
            with association.within() as open_:
                status = getattr(open_.send_c_store(dataset), "Status", None)
            if status is not None and took(status):
                del left[name]
            elif status is not None:
                left[name] = status_words(status)
    return left
