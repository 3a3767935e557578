"""Result objects on disk: what is needed to offer and to send them, and proof that they are the ones meant."""

from pathlib import Path
from typing import TYPE_CHECKING

from scanside.runtime.appliance.deliver.retry import DeliveryError
from scanside.runtime.appliance.store.records import Item

if TYPE_CHECKING:
    from pydicom import Dataset


class DamagedError(DeliveryError):
    """The file of an object is missing, or is not what was put into the outbox."""


def read_object(results: Path, item: Item, *, pixels: bool = True) -> "Dataset":
    """Read an object that is to be sent.

    Args:
        results: Folder of the results.
        pixels: Otherwise the pixel data are left out.

    Raises:
        DamagedError: If there is no such file, it is not DICOM, or it holds another object.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    path = results / item.path
    advice = "compute the study again"
    if not path.resolve().is_relative_to(results.resolve()):
        raise DamagedError(f"File {item.path} is not among the results; {advice}.")
    try:
        dataset = dcmread(path, stop_before_pixels=not pixels)
        found = (str(dataset.SOPInstanceUID), str(dataset.SOPClassUID))
        stated = str(dataset.file_meta.MediaStorageSOPInstanceUID)
        dataset.file_meta.TransferSyntaxUID  # noqa: B018 (its absence is the point)
    except OSError as error:
        raise DamagedError(f"File {item.path} cannot be read ({error.strerror}); {advice}.") from error
    except (InvalidDicomError, AttributeError, ValueError, TypeError, KeyError, EOFError) as error:
        raise DamagedError(f"File {item.path} is damaged; {advice}.") from error
    if found != (item.sop_uid, item.sop_class) or stated != item.sop_uid:
        raise DamagedError(f"File {item.path} holds another object than the one made; {advice}.")
    return dataset
