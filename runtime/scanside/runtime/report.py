"""The JSON report of `scanside segment --json`; its schema is docs/segment-report.schema.json."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scanside.runtime import machine
from scanside.runtime.errors import ExitCode
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


def case_line(result: CaseResult) -> dict[str, Any]:
    """A case as a ledger's line has it: paths with their hashes, null where the case did not get so far."""
    hashes = result.hashes or {}

    def hashed(paths: Sequence[Path]) -> list[dict[str, str | None]]:
        return [{"path": str(path), "sha256": hashes.get(path)} for path in paths]

    return {**_case(result), "inputs": hashed(result.inputs), "outputs": hashed(result.outputs)}


def result_of(line: Mapping[str, Any]) -> CaseResult:
    """The result that a ledger's line of a finished case tells of."""
    return CaseResult(
        name=line["name"],
        status="ok",
        reason=None,
        inputs=tuple(Path(one["path"]) for one in line["inputs"]),
        outputs=tuple(Path(one["path"]) for one in line["outputs"]),
        stages={stage["name"]: stage["ms"] for stage in line["stages"]},
        labels=line["labels"],
        exit_code=ExitCode.OK,
        remarks=(*line["remarks"], f"Computed before, on {line['finished']}; taken over by --resume."),
        areas_mm2=line["areas_mm2"],
    )


def _stages(result: CaseResult) -> list[dict[str, Any]]:
    return [{"name": name, "ms": round(ms, 3)} for name, ms in result.stages.items()]
