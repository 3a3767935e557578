"""How a segmentation is to be computed. The defaults are exact; everything else is named in the report."""

from dataclasses import dataclass, replace
from typing import Literal

from scanside.runtime.backends.table import DEVICES, PRECISIONS
from scanside.runtime.errors import UsageError
from scanside.runtime.triton.address import Engine


@dataclass(frozen=True)
class Options:
    """Choices of one run.

    Attributes:
        device: A backend's name, or `auto` for the fastest that passes the golden cases on this machine.
        precision: `fp32` (exact), `mixed`, `bf16` or `int8` (approximations). `auto` is `mixed` on a GPU where the
            bundle has it and its golden cases pass there, else `fp32`; on a CPU always `fp32`.
        mirroring: Average over mirror variants where the training allows it, as nnU-Net does.
        step_size: Tile step as a part of the tile; 0.5 is nnU-Net's.
        folds: Names of the folds to average, or None for all in the bundle.
        role: Which segmenter, where a bundle holds several.
        threads: Threads of the network; None for one a core.
        on_rejection: What happens when the golden cases reject a device: `fail`, or `next` in the order of `auto`.
            None is `next` for `auto` and `fail` for a device asked for by name.
        skip_empty_tiles: Do not compute tiles that hold nothing of the patient: see `stages/body.py`.
        engine: A server that computes the exact recipe in place of a device of this machine (ADR 35).
    """

    device: str = "auto"
    precision: str = "auto"
    mirroring: bool = True
    step_size: float = 0.5
    folds: tuple[str, ...] | None = None
    role: str | None = None
    threads: int | None = None
    on_rejection: Literal["fail", "next"] | None = None
    skip_empty_tiles: bool = False
    engine: Engine | None = None

    def __post_init__(self) -> None:
        if self.device != "auto" and self.device not in DEVICES:
            raise UsageError(f"There is no device '{self.device}'; choose one of auto, {', '.join(DEVICES)}.")
        if self.precision != "auto" and self.precision not in PRECISIONS:
            raise UsageError(
                f"There is no precision '{self.precision}'; choose one of auto, {', '.join(PRECISIONS)}."
            )
        if not 0 < self.step_size <= 1:
            raise UsageError(f"--step-size must be above 0 and at most 1, not {self.step_size:g}.")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"--threads must be at least 1, not {self.threads}.")
        if self.engine is not None:
            self._refuse_beside_engine()

    def _refuse_beside_engine(self) -> None:
        """The server's owner has chosen how it computes: what it cannot heed is refused, never passed over."""
        alone = Options(precision=self.precision, role=self.role, engine=None)
        for name in (
            "device",
            "mirroring",
            "step_size",
            "folds",
            "threads",
            "on_rejection",
            "skip_empty_tiles",
        ):
            if getattr(self, name) != getattr(alone, name):
                raise UsageError(
                    f"An engine computes the exact recipe as it was exported; leave out {name.replace('_', ' ')}."
                )

    def settled(self, precision: str) -> "Options":
        """The same in the precision that was obtained, where it was left to the device."""
        return replace(self, precision=precision) if self.precision == "auto" else self

    @property
    def approximations(self) -> tuple[str, ...]:
        """What makes the result differ from nnU-Net's default, in words; empty when nothing does."""
        named = []
        if self.precision not in ("fp32", "auto"):
            named.append(f"precision {self.precision}")
        if not self.mirroring:
            named.append("no mirroring")
        if self.step_size != 0.5:
            named.append(f"step size {self.step_size:g}")
        if self.folds is not None:
            named.append(f"folds {', '.join(self.folds)} only")
        if self.skip_empty_tiles:
            named.append("tiles outside the body skipped")
        return tuple(named)
