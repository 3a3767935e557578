"""`scanside segment --ray`: the same run, with its cases on the nodes of a Ray cluster."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from scanside.runtime.bundle import Bundle
from scanside.runtime.cli.progress import ProgressBars
from scanside.runtime.cluster import run_on_ray
from scanside.runtime.events import CaseFailed, CaseFinished
from scanside.runtime.ledger import Ledger
from scanside.runtime.options import Options
from scanside.runtime.outputs import Task, write_folder_files
from scanside.runtime.report import RESEARCH, case_line
from scanside.runtime.resume import Work
from scanside.runtime.run import CaseResult


def segment_on_ray(
    address: str,
    bundle: Bundle,
    options: Options,
    work: Work,
    ledger: Ledger,
    tell: Callable[[CaseResult, ProgressBars], None],
    json_lines: bool,
) -> list[CaseResult]:
    """Run, tell as each case ends, keep the ledger here: the nodes write masks alone."""
    tasks = [_absolute(task) for task in work.to_do]
    plan = bundle.manifest.segmenters[bundle.role(options.role)].plan
    write_folder_files(plan, bundle.manifest.name, tasks)
    ledger.plan(tasks)
    results, nodes = list(work.done), set()
    with ProgressBars(len(tasks)) as bars:
        for done in run_on_ray(address, bundle, options, tasks, bars.say):
            result = done.result
            results.append(result)
            nodes.add(done.node)
            tell(result, bars)
            bars(CaseFinished(result.name) if result.status == "ok" else CaseFailed(result.name, ""))
            line = ledger.add(case_line(result), done.device, done.node)
            if json_lines:
                print(json.dumps(line), flush=True)
    if not json_lines:
        for path in (path for result in results for path in result.outputs):
            print(path)
    print(f"{len(results)} case(s) on {len(nodes)} machine(s). {RESEARCH}", file=sys.stderr)
    return sorted(results, key=lambda result: work.order[result.name])


def _absolute(task: Task) -> Task:
    """Paths as the other nodes find them."""

    def whole(path: Path | None) -> Path | None:
        return None if path is None else path.absolute()

    return replace(
        task,
        case=replace(task.case, channels=tuple(path.absolute() for path in task.case.channels)),
        mask=task.mask.absolute(),
        probabilities=whole(task.probabilities),
        preview=whole(task.preview),
    )
