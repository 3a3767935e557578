"""What commands over many items share (`segment`, `run`, `radiomics extract`): parts, going on, telling, the ledger."""

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TextIO

import typer

from scanside.runtime.bundle import Bundle
from scanside.runtime.cli.progress import ProgressBars
from scanside.runtime.events import CaseFailed, CaseFinished
from scanside.runtime.images.files import remove_leftovers
from scanside.runtime.ledger import Ledger, Part
from scanside.runtime.lines import text_of
from scanside.runtime.options import Options
from scanside.runtime.remark import Remark
from scanside.runtime.report import RESEARCH
from scanside.runtime.resume import Work, divide
from scanside.runtime.run import CaseResult, ItemT, Steps, run_items

PartOption = Annotated[
    str | None,
    typer.Option(
        "--part",
        metavar="I/N",
        help="Do part I of N of the cases, chosen by their names; `scanside merge` joins.",
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Compute on a Ray cluster that sees the same files: auto, host:port, or local; --threads a worker.",
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Leave out cases that are finished and were made alike (bundle, recipe) of the same inputs.",
    ),
]
JsonLines = Annotated[
    bool, typer.Option("--json-lines", help="Print one JSON line on stdout as each case ends.")
]
Told = Literal["lines", "paths", "nothing"]


@dataclass(frozen=True)
class Many:
    """What a person asks of a run over many items, beside the items and their folder."""

    part: str | None
    resume: bool
    json_lines: bool
    overwrite: bool
    ray: str | None = None

    @property
    def given(self) -> str | None:
        """The first option that is given and makes sense for many items alone."""
        options = {
            "--part": self.part, "--ray": self.ray, "--resume": self.resume, "--json-lines": self.json_lines
        }  # fmt: skip
        return next((name for name, value in options.items() if value), None)


@dataclass(frozen=True)
class Batch(Generic[ItemT]):
    """A run over many items, ready to begin.

    Attributes:
        told: What is printed on stdout: a JSON line per item, or in the end the paths of all files.
        sentence: What is said of an item on stderr as it ends.
    """

    work: Work[ItemT]
    ledger: Ledger
    told: Told
    sentence: Callable[[CaseResult], str]

    def finished(self) -> list[CaseResult]:
        """The results where nothing is left to do."""
        return self._all(())

    def run(self, steps: Steps[ItemT, Any]) -> list[CaseResult]:
        """Compute here, one after the other; results in the order of the run, those of earlier runs included."""
        self.ledger.plan(self.work.to_do)
        results = []
        with ProgressBars(len(self.work.to_do)) as bars:
            for result in run_items(steps, self.work.to_do, bars):
                self._ended(result, steps.device, steps.node, bars, sys.stdout)
                results.append(result)
        return self._all(results)

    def run_on_ray(
        self,
        address: str,
        kind: Literal["masks", "studies"],
        bundle: Bundle,
        options: Options,
        items: Sequence[ItemT],
    ) -> list[CaseResult]:
        """The same with the items on the nodes of a Ray cluster. The ledger is kept here: nodes write results alone.

        Args:
            items: Those to do, with paths that every node finds.
        """
        from scanside.runtime.cluster import run_on_ray

        self.ledger.plan(self.work.to_do)
        results, nodes, ours = [], set(), sys.stdout
        # Ray prints what its nodes say with `print`, which would stand between our lines.
        with ProgressBars(len(items)) as bars, redirect_stdout(sys.stderr):
            for done in run_on_ray(address, kind, bundle, options, items, bars.say):
                result = done.result
                self._ended(result, done.device, done.node, bars, ours)
                bars(CaseFinished(result.name) if result.status == "ok" else CaseFailed(result.name, ""))
                results.append(result)
                nodes.add(done.node)
        print(f"{len(results)} case(s) on {len(nodes)} machine(s). {RESEARCH}", file=sys.stderr)
        _tidy(self.work.to_do)  # after workers that were lost
        return self._all(results)

    def _ended(
        self, result: CaseResult, device: str, node: str | None, bars: ProgressBars, stdout: TextIO
    ) -> None:
        bars.say(self.sentence(result))
        for remark in result.remarks:
            if isinstance(remark, Remark):
                bars.say(f"Warning: {remark}")
        line = self.ledger.add(result, device, node)
        if self.told == "lines":
            print(text_of(line), file=stdout, flush=True)

    def _all(self, results: Sequence[CaseResult]) -> list[CaseResult]:
        every = sorted((*self.work.done, *results), key=lambda result: self.work.order[result.name])
        if self.told == "paths":
            for path in (path for result in every for path in result.outputs):
                print(path)
        return every


def divided(
    items: Sequence[ItemT], ledger: Ledger, part: Part | None, *, resume: bool, overwrite: bool
) -> Work[ItemT]:
    """What is left to do of this part, said on stderr where it is not all.

    Raises:
        OutputError: If a file is in the way.
    """
    mine = items if part is None else [item for item in items if part.holds(item.name)]
    work = divide(mine, ledger, resume=resume, overwrite=overwrite)
    if resume or overwrite:
        # Beside finished cases too: whoever computed one again may have been killed later.
        _tidy(mine)
    if part is not None or work.done:
        which = f"Part {part}: " if part else ""
        print(f"{which}{len(work.to_do)} case(s) to do, {len(work.done)} finished before.", file=sys.stderr)
    if not mine:
        ledger.plan(())  # so that `scanside merge` knows that this part has begun, and ended
    return work


def _tidy(items: Sequence[ItemT]) -> None:
    """Remove the half files of programs that were killed while they wrote a file of these items."""
    files = [file for item in items for file in item.files]
    remove_leftovers((*files, *{file.parent for file in files}))
