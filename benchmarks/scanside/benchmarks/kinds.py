"""Which programs are measured side by side, and how a person names them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scanside.runtime.backends.table import DEVICES, PRECISIONS, FilePrecision, backend
from scanside.runtime.errors import UsageError

REFERENCE = "nnunetv2"
LOOP = "onnx-loop"
LOOP_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "naive_loop.py"
"""Not part of an installed package."""


@dataclass(frozen=True)
class PeerKind:
    """A program, and on what it runs its networks.

    Attributes:
        name: `nnunetv2`, `onnx-loop`, or the backend and precision of scanside: `openvino:bf16`.
        device, precision: Of scanside's options; the other two are float32 on the CPU.
    """

    name: str
    program: Literal["nnunetv2", "scanside", "onnx-loop"]
    device: str = "cpu"
    precision: str = "fp32"

    @property
    def approximation(self) -> str | None:
        """What its results are not exact by, in words; None where float32 is computed throughout."""
        return None if self.precision == "fp32" else f"precision {self.precision}"


NNUNET = PeerKind(REFERENCE, "nnunetv2")


def parse_kinds(words: Sequence[str]) -> tuple[PeerKind, ...]:
    """`openvino:bf16`, `cpu` (fp32) and `onnx-loop` → the peers beside nnunetv2, in the order given.

    Raises:
        UsageError: If one is unknown, or given twice.
    """
    kinds = []
    for word in words:
        device, _, precision = word.partition(":")
        precision = precision or "fp32"
        if word == LOOP:
            if not LOOP_SCRIPT.is_file():
                raise UsageError(f"{LOOP} is a script of the checkout and is not installed; leave it out.")
            kinds.append(PeerKind(LOOP, "onnx-loop"))
        elif device not in ("auto", *DEVICES) or precision not in PRECISIONS:
            raise UsageError(
                f"There is no backend '{word}'; give {LOOP}, or one of auto, {', '.join(DEVICES)} with one of "
                f":{', :'.join(PRECISIONS)}."
            )
        else:
            kinds.append(PeerKind(f"{device}:{precision}", "scanside", device, precision))
    if not kinds or len(set(kinds)) < len(kinds):
        raise UsageError(
            f"--backends {','.join(words)} must name at least one backend, and each of them once."
        )
    return tuple(kinds)


def file_precisions(kinds: Sequence[PeerKind]) -> tuple[FilePrecision, ...]:
    """The networks a bundle must hold for these peers; fp32 always."""
    found: dict[FilePrecision, None] = {"fp32": None}
    for kind in kinds:
        here = [device for device in DEVICES if backend(device).missing() is None]
        for device in here if kind.device == "auto" else [kind.device]:
            file = backend(device).FILES.get(kind.precision)
            if file is not None:
                found[file] = None
    return tuple(found)
