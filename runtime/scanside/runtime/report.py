"""The JSON report of `scanside segment --json`; its schema is docs/segment-report.schema.json."""

from collections.abc import Sequence
from typing import Any

from scanside.runtime import machine
from scanside.runtime.opening import approximations
from scanside.runtime.pipeline import Segmenter
from scanside.runtime.run import CaseResult

SCHEMA = "scanside.segment/1"
RESEARCH = "Research use only. Not for diagnosis."


def segment_report(segmenter: Segmenter, results: Sequence[CaseResult]) -> dict[str, Any]:
    """One document for the run. For a single case its fields stand at the top as well; for several they are null."""
    single = results[0] if len(results) == 1 else None
    failed = [result for result in results if result.status != "ok"]
    reason = f"{len(failed)} of {len(results)} cases failed" if failed else None
    return {
        "schema": SCHEMA,
        "status": single.status if single else ("failed" if failed else "ok"),
        "reason": single.reason if single else reason,
        "notice": RESEARCH,
        "bundle": segmenter.bundle.summary(),
        "role": segmenter.role,
        "device": {
            "asked": segmenter.device.asked,
            "obtained": segmenter.device.obtained,
            "why": segmenter.device.why,
            "precision": segmenter.device.precision,
        },
        "approximations": list(approximations(segmenter.options, segmenter.device.obtained)),
        "inputs": [str(path) for result in results for path in result.inputs],
        "outputs": [str(path) for result in results for path in result.outputs],
        "stages": _stages(single) if single else None,
        "labels": single.labels if single else None,
        "areas_mm2": single.areas_mm2 if single else None,
        "cases": [_case(result) for result in results],
        "versions": machine.versions(),
    }


def _case(result: CaseResult) -> dict[str, Any]:
    return {
        "name": result.name,
        "status": result.status,
        "reason": result.reason,
        "inputs": [str(path) for path in result.inputs],
        "outputs": [str(path) for path in result.outputs],
        "stages": _stages(result),
        "labels": result.labels,
        "areas_mm2": result.areas_mm2,
        "remarks": list(result.remarks),
    }


def _stages(result: CaseResult) -> list[dict[str, Any]]:
    return [{"name": name, "ms": round(ms, 3)} for name, ms in result.stages.items()]
