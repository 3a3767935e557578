"""`scanside run --studies`: a folder of studies, in parts, again after an interruption, or on a Ray cluster."""

import sys
from dataclasses import replace
from pathlib import Path

from scanside.runtime.bundle import open_bundle
from scanside.runtime.cli.batch import Batch, Many, divided
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import UsageError
from scanside.runtime.ledger import Ledger, parse_part, recipe_of
from scanside.runtime.options import Options
from scanside.runtime.report import RESEARCH
from scanside.runtime.run import CaseResult, exit_code


def run_studies(bundle: Path, options: Options, folder: Path, out: Path, many: Many) -> int:
    """Run every study of a folder.

    Raises:
        UsageError: If options contradict each other.
        InputError: If there is no study.
        OutputError: If a result is in the way.
        BackendError: If no device, or no worker of the cluster, computes what it must.
    """
    from scanside.runtime.study.batch import StudySteps, find_studies
    from scanside.runtime.study.pipeline import StudyRunner, read_recipe

    if many.ray is not None:
        require_extra("ray")
        if options.engine is not None:
            raise UsageError(
                "An engine computes on its own server, without Ray; leave out --ray or --engine."
            )
    part = parse_part(many.part)
    opened = open_bundle(bundle)
    tasks = find_studies(folder, out, tuple(read_recipe(opened).channels))
    ledger = Ledger(out, opened.sha256, recipe_of("run", None, options), part)
    work = divided(tasks, ledger, part, resume=many.resume, overwrite=many.overwrite)
    batch = Batch(work, ledger, "lines" if many.json_lines else "paths", _sentence)
    if not work.to_do:
        return exit_code(batch.finished())  # no device is opened for that
    if many.ray is not None:
        to_do = [replace(task, path=task.path.absolute(), out=task.out.absolute()) for task in work.to_do]
        return exit_code(batch.run_on_ray(many.ray, "studies", opened, options, to_do))
    with StudyRunner(opened, options, lambda words: print(f"{words} …", file=sys.stderr)) as runner:
        results = batch.run(StudySteps(runner, opened, options))
        phantom = "The model was trained on a synthetic phantom. " if opened.manifest.synthetic else ""
        print(f"Device {runner.device.words}. {phantom}{RESEARCH}", file=sys.stderr)
    return exit_code(results)


def _sentence(result: CaseResult) -> str:
    """A study's status, with its probability and interval where there is one."""
    if result.status != "ok" or result.study is None:
        return f"{result.name}: {result.status}: {result.reason}"
    found = result.study.probability
    chance = f", {found.value:.2f} of {found.of} ({found.low:.2f} to {found.high:.2f})" if found else ""
    why = f" ({result.study.reason})" if result.study.reason else ""
    return f"{result.name}: {sum(result.stages.values()) / 1000:.1f} s; {result.study.status}{chance}{why}"
