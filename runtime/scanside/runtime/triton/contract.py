"""What server and segmenter agree on: the names of models, the tensors, and what every answer says of itself."""

import hashlib
import re
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import BackendError, CaseError, InputError, ScansideError
from scanside.runtime.record import Part, Sha256
from scanside.runtime.report import StageTime

CONTRACT = "scanside.triton/2"
"""Changes when a tensor or the meaning of one changes."""
PREFIX = "scanside"
"""Begins the message of an error that the served model found: `scanside case: …`."""
KINDS: dict[str, type[ScansideError]] = {"input": InputError, "case": CaseError, "backend": BackendError}
"""What stands behind it → the error it is here; the first that fits."""
MOST_ABOUT = 1 << 16
"""Bytes of the largest `about` that is read."""

Array = npt.NDArray[Any]
TYPES: dict[str, str] = {
    "float32": "FP32",
    "float64": "FP64",
    "uint8": "UINT8",
    "uint16": "UINT16",
}
"""numpy's name → KServe's."""


class About(Part):
    """The tensor `about`: UTF-8 JSON beside the labels of every answer."""

    contract: Literal["scanside.triton/2"]
    bundle: Sha256
    """Of bundle.json: the identity of the bundle that computed it."""
    role: str
    device: str
    """The one obtained there."""
    precision: FilePrecision
    node: str
    """The name of the server's machine."""
    golden: int = Field(ge=1)
    """How many golden cases passed there when the model was loaded."""
    request: Sha256
    """`digest` of the tensors as they arrived."""
    labels: Sha256
    """`digest` of the labels as they were sent."""
    probabilities: Sha256 | None
    """The same of the probabilities; null where the request did not name them."""
    on_device: bool
    stages: tuple[StageTime, ...]
    remarks: tuple[str, ...]


def digest(*arrays: Array | None) -> str:
    """sha256 over type, shape and bytes of arrays in C order; None is one that is not sent."""
    found = hashlib.sha256()
    for array in arrays:
        if array is None:
            found.update(b"absent\n")
            continue
        whole = np.ascontiguousarray(array)
        found.update(f"{whole.dtype.name} {'x'.join(map(str, array.shape))}\n".encode())
        found.update(whole.data.cast("B") if whole.size else b"")
    return found.hexdigest()


def model_name(bundle: Bundle, role: str) -> str:
    """The name of the model that serves a segmenter: the bundle's, and the role where that is not the only result."""
    several = bundle.manifest.final_roles != (role,)
    words = f"{bundle.manifest.name}-{role}" if several else bundle.manifest.name
    return re.sub(r"[^A-Za-z0-9._-]+", "-", words).strip("-.") or "model"
