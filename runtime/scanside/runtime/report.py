"""The JSON report of `scanside segment --json`, and the parts that other reports share.

`scanside schema segment` prints its JSON schema.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from scanside.runtime import machine
from scanside.runtime.backends.table import FilePrecision
from scanside.runtime.bundle import Bundle
from scanside.runtime.labels import Roi
from scanside.runtime.record import Document, Milliseconds, Part, Sha256
from scanside.runtime.run import CaseResult
from scanside.runtime.segmenter import Segmenter
from scanside.runtime.statistics import LabelStatistics

RESEARCH = "Research use only. Not for diagnosis."
Sizes = Mapping[str, Annotated[float, Field(ge=0)]]
"""Label or region → its size."""


class BundleName(Part):
    """Which bundle computed it."""

    name: str
    version: str
    sha256: Sha256


class DeviceUse(Part):
    """Which device was asked for, and which was obtained."""

    asked: str
    obtained: str | None
    """Null when nothing was computed."""
    why: str
    precision: FilePrecision
    engine: str | None = None
    """The server's model that computed it on its own device; null for a device of this machine."""


class StageTime(Part):
    """How long a stage took by the clock."""

    name: str
    """In a report of a study, a segmenter's stages carry its name."""
    ms: Milliseconds


class CaseReport(Part):
    """One case."""

    name: str
    status: Literal["ok", "refused", "failed"]
    reason: str | None
    """The sentence for the user; null when ok."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stages: tuple[StageTime, ...]
    """In order."""
    labels: Sizes | None
    """Label or region to volume in ml. Null when the case is not ok (absent, never zero), and for a 2-D picture."""
    areas_mm2: Sizes | None
    """Label or region to area in mm² of a 2-D picture, which has no thickness; null for a volume."""
    remarks: tuple[str, ...]
    """What to know of an approximation."""
    statistics: tuple[LabelStatistics, ...] | None = None
    """Where `--statistics` asked for them."""


class SegmentReport(Document):
    """One document per run. For a single case its fields stand at the top too; for several they are null there."""

    schema_: Literal["scanside.segment/1"] = Field("scanside.segment/1", alias="schema")
    status: Literal["ok", "refused", "failed"]
    reason: str | None
    """The sentence for the user; null when ok."""
    notice: str
    """Research use only."""
    bundle: BundleName
    role: str
    """The segmenter that was run."""
    device: DeviceUse
    approximations: tuple[str, ...]
    """Empty for the exact recipe."""
    roi: tuple[str, ...] | None = None
    """The labels that the masks keep (`--roi`); null for all."""
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stages: tuple[StageTime, ...] | None
    """Of a single case."""
    labels: Sizes | None
    """Of a single case, ml."""
    areas_mm2: Sizes | None
    """Of a single case, mm²."""
    cases: tuple[CaseReport, ...]
    versions: Mapping[str, str]


def segment_report(
    segmenter: Segmenter, results: Sequence[CaseResult], roi: Roi | None = None
) -> SegmentReport:
    """The document of a run."""
    single = results[0] if len(results) == 1 else None
    failed = [result for result in results if result.status != "ok"]
    reason = f"{len(failed)} of {len(results)} cases failed" if failed else None
    return SegmentReport(
        status=single.status if single else ("failed" if failed else "ok"),
        reason=single.reason if single else reason,
        notice=RESEARCH,
        bundle=bundle_name(segmenter.bundle),
        role=segmenter.role,
        device=DeviceUse(
            asked=segmenter.device.asked,
            obtained=segmenter.device.obtained,
            why=segmenter.device.why,
            precision=segmenter.device.precision,
            engine=segmenter.device.engine,
        ),
        approximations=segmenter.options.approximations,
        roi=None if roi is None else roi.names,
        inputs=tuple(str(path) for result in results for path in result.inputs),
        outputs=tuple(str(path) for result in results for path in result.outputs),
        stages=stage_times(single.stages) if single else None,
        labels=single.labels if single else None,
        areas_mm2=single.areas_mm2 if single else None,
        cases=tuple(map(case_report, results)),
        versions=machine.versions(),
    )


def case_report(result: CaseResult) -> CaseReport:
    """How one case ended."""
    return CaseReport(
        name=result.name,
        status=result.status,
        reason=result.reason,
        inputs=tuple(map(str, result.inputs)),
        outputs=tuple(map(str, result.outputs)),
        stages=stage_times(result.stages),
        labels=result.labels,
        areas_mm2=result.areas_mm2,
        remarks=tuple(map(str, result.remarks)),
        statistics=result.statistics,
    )


def bundle_name(bundle: Bundle) -> BundleName:
    """What every report says of its bundle."""
    return BundleName(**bundle.summary())


def stage_times(stages: Mapping[str, float]) -> tuple[StageTime, ...]:
    """Stage → milliseconds, as a report has it: to the microsecond."""
    return tuple(StageTime(name=name, ms=round(ms, 3)) for name, ms in stages.items())
