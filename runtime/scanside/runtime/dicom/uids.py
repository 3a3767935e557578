"""UIDs that depend on what an object is made from, so that a second run makes the same object."""

import uuid

_NAMESPACE = uuid.UUID("6f0c4f0e-3c5b-5d0e-9c57-1d5b1f6f2a11")


def derived_uid(*sources: str) -> str:
    """A DICOM UID (2.25.<UUIDv5>) that is a function of `sources` and their order."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, chr(10).join(sources)).int}"
