"""`scanside evaluate`: every number of an experiment, in one report; `evaluate masks` comes from the runtime."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from scanside.runtime.cli.arguments import Device, Threads
from scanside.runtime.cli.evaluate_masks import masks
from scanside.runtime.cli.group import Group
from scanside.runtime.cli.main import require_extra
from scanside.runtime.errors import UsageError
from scanside.runtime.options import Options
from scanside.runtime.report import RESEARCH
from scanside.training.evaluation import options as given

if TYPE_CHECKING:
    from scanside.training.evaluation.records import Report
    from scanside.training.evaluation.report import Conditions, Evaluated
    from scanside.training.experiment import Experiment


NAMED_LIKE_THE_COMMAND = Path("experiment")


class _Evaluate(Group):
    """`evaluate masks …`, or else an experiment or a bundle: the usual command needs no name."""

    @property
    def usual(self) -> Any:
        """The command that is meant where none is named."""
        return self.commands["experiment"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["experiment", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Evaluate,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Judge masks against references, or an experiment or a frozen bundle as a whole.",
)
app.command()(masks)


@app.command(name="experiment")
def evaluate(
    experiment: given.ExperimentFolder = None,
    out: given.Out = None,
    bundle: given.Bundle = None,
    cohort: given.Cohort = None,
    results: given.Results = None,
    store: given.Store = None,
    pathology: given.Pathology = None,
    site: given.Site = "site",
    synthetic: given.Synthetic = False,
    device: Device = "auto",
    threads: Threads = None,
    bootstrap: given.Bootstrap = 2000,
    seed: given.Seed = 0,
    as_json: given.AsReport = False,
) -> int:
    """Judge the masks and probabilities of an experiment, or of a frozen bundle; the word `experiment` may be left out.

    Writes report.json, report.html and figures.

    What an experiment does not hold yet is named in the report; the rest is judged all the same. A bundle runs on every
    patient of a cohort as at the scanner (results are kept in FOLDER/results), or results made before are joined with
    pathology that came later, by case.

    Examples:

      scanside evaluate experiment -o report

      scanside evaluate --bundle pancreas.bundle --cohort second --site hospital -o report

      scanside evaluate --bundle pancreas.bundle --results results --store data --pathology pathology.csv -o report
    """
    require_extra("train", "matplotlib", "jinja2")
    from scanside.training.evaluation.report import Conditions
    from scanside.training.evaluation.report import evaluate as measure
    from scanside.training.experiment import open_experiment

    if experiment is None and bundle is None and NAMED_LIKE_THE_COMMAND.is_dir():
        experiment = NAMED_LIKE_THE_COMMAND  # `scanside evaluate experiment`, where the word is the folder
    conditions = Conditions(("scanside", *sys.argv[1:]), seed, bootstrap, time.time())
    if bundle is not None:
        if experiment is not None or out is None:
            raise UsageError(
                "--bundle takes no EXPERIMENT, and needs -o FOLDER for the report; correct that."
            )
        from scanside.training.evaluation.frozen.step import Asked, judge

        asked = Asked(bundle, cohort, results, store, pathology, site, synthetic)
        options = Options(device=device, threads=threads)
        done = judge(asked, out, options, repeats=bootstrap, seed=seed, say=_say)
        return _report(done, out, conditions, None, as_json=as_json)
    if any((cohort, results, store, pathology, synthetic)) or experiment is None:
        raise UsageError("Give an experiment, or a bundle with --bundle and the patients it is judged on.")
    with _progress(experiment) as advance:
        done = measure(experiment, repeats=bootstrap, seed=seed, advance=advance)
    opened = open_experiment(experiment)
    return _report(done, out or opened.evaluation, conditions, opened, as_json=as_json)


def _report(
    done: "Evaluated",
    folder: Path,
    conditions: "Conditions",
    experiment: "Experiment | None",
    *,
    as_json: bool,
) -> int:
    """Write the report, record the step in the experiment, and say what a person wants to know."""
    from scanside.training.evaluation import records
    from scanside.training.evaluation.report import STEP, write

    _say("Drawing …")
    report = write(done, folder, conditions)
    if experiment is not None:
        made = {"bootstrap": conditions.repeats}
        experiment.record(STEP, made, seed=conditions.seed, started=conditions.started)
    for line in headline(report):
        print(line, file=sys.stderr)
    if as_json:
        print(json.dumps(records.document(report), indent=1))
    else:
        print(folder / "report.html")
        print(folder / "report.json")
    return 0


def headline(report: "Report") -> Iterator[str]:
    """What a person wants to know at once."""
    for row in report.segmentation.rows if report.segmentation else ():
        if row.size == "all" and row.part != "resubstitution" and row.dice.value is not None:
            where = row.part if row.scanners == "all" else f"{row.part}, {row.scanners} scanners"
            yield (
                f"Dice {row.role}, {where}: {_said(row.dice.value, row.dice.interval)}, {row.patients} patients, "
                f"{row.missed} missed"
            )
    for result in report.classification.models if report.classification else ():
        if result.part != "resubstitution" and result.auc.value is not None:
            yield (
                f"AUC {result.model}, {result.part}: {_said(result.auc.value, result.auc.delong)}, "
                f"{result.auc.patients} patients, {result.without_probability} without a probability"
            )
    yield from report.missing
    yield f"{'Synthetic cohort: not clinical performance. ' if report.synthetic else ''}{RESEARCH}"


def _say(words: str) -> None:
    print(words, file=sys.stderr)


def _said(value: float, interval: tuple[float, float] | None) -> str:
    return f"{value:.2f}" + (f" ({interval[0]:.2f}–{interval[1]:.2f})" if interval else "")


@contextmanager
def _progress(experiment: Path) -> Iterator[Callable[[str], None]]:
    """A bar with the time left on stderr, where stderr is a terminal; elsewhere one line now and then."""
    from scanside.training.cohort.table import ROLES, read_cohort
    from scanside.training.experiment import open_experiment

    total = len(read_cohort(open_experiment(experiment).cohort).patients) * len(ROLES)
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        bars = Progress(
            TextColumn("measuring masks"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        with bars:
            task = bars.add_task("", total=total)
            yield lambda _: bars.advance(task)
        return
    started, done = time.monotonic(), 0
    told = started

    def advance(_: str) -> None:
        nonlocal done, told
        done += 1
        now = time.monotonic()
        if now - told > 15:
            left = (now - started) / done * (total - done)
            print(f"Measured {done} of {total} masks; about {left:.0f} s left", file=sys.stderr)
            told = now

    yield advance
