"""C-STORE of files that the acceptance has made, to our own receiver."""

from collections.abc import Sequence
from pathlib import Path

import pydicom

from scanside.runtime.appliance.config import Config, DicomDestination
from scanside.runtime.appliance.deliver.association import Context, associate
from scanside.runtime.appliance.deliver.reasons import status_words, took
from scanside.runtime.errors import ScansideError

_SECONDS = 30.0


def send_files(destination: DicomDestination, as_whom: Config, files: Sequence[Path]) -> dict[str, str]:
    """Send files over one association; file name → why it was not taken.

    Args:
        as_whom: Its `send` says who calls.
    """
    datasets = {path.name: pydicom.dcmread(path) for path in files}
    contexts = [Context(uid) for uid in dict.fromkeys(str(one.SOPClassUID) for one in datasets.values())]
    left = dict.fromkeys(datasets, f"{destination.name} ended the association")
    try:
        with associate(destination, as_whom, contexts, seconds=_SECONDS) as association:
            for name, dataset in datasets.items():
                if not association.alive:
                    break
                with association.within() as open_:
                    status = getattr(open_.send_c_store(dataset), "Status", None)
                if status is not None and took(status):
                    del left[name]
                else:
                    left[name] = "no answer" if status is None else status_words(status)
    except (ScansideError, ValueError, RuntimeError) as error:
        return dict.fromkeys(left, str(error))
    return left
