"""Many studies through one opened bundle: what `run.py` does with each."""

import glob
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from scanside.runtime.bundle import Bundle
from scanside.runtime.errors import ExitCode, InputError, UsageError
from scanside.runtime.events import Listener, StageFinished
from scanside.runtime.golden import first_problem, replay_all
from scanside.runtime.golden_study import load_study, replay_study
from scanside.runtime.options import Options
from scanside.runtime.outcome import StudyOutcome
from scanside.runtime.run import CaseResult, hashes_of
from scanside.runtime.study.compose import run_report
from scanside.runtime.study.pipeline import StudyRunner, refused
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyInput, StudyResult
from scanside.runtime.study.report import RESULT, StudyReport
from scanside.runtime.study.write import existing_results, write_result

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from scanside.runtime.lines import CaseLine


@dataclass(frozen=True)
class StudyTask:
    """A study's folder, and the folder that its result goes to.

    Attributes:
        roles: Segmenters, whose files the result has.
    """

    path: Path
    out: Path
    roles: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the study's folder."""
        return self.path.name

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The folder."""
        return (self.path,)

    @property
    def files(self) -> tuple[Path, ...]:
        """What is there of a result, or else its report."""
        return existing_results(self.out, self.roles) or (self.out / RESULT,)

    def kept(self, names: Collection[str]) -> tuple[Path, ...]:
        """All that the line of a finished study names."""
        return tuple(self.out / name for name in names)

    def told(self, line: "CaseLine") -> bool:
        """Every line of a study says the same."""
        return True


def find_studies(folder: Path, out: Path, roles: tuple[str, ...]) -> list[StudyTask]:
    """Each folder in a folder is a study; its result goes to a folder of the same name.

    Raises:
        InputError: If there is no study.
        UsageError: If results would lie among the studies.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of studies; check the path.")
    if out.resolve() == folder.resolve():
        raise UsageError(f"{out} holds the studies themselves; choose another -o.")
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [path for path in found if path.resolve() != out.resolve()]
    if not found:
        raise InputError(
            f"{folder} holds no folder, so no study; each study needs a folder of its own there."
        )
    return [StudyTask(path, out / path.name, roles) for path in found]


@dataclass(frozen=True, eq=False)
class Read:
    """A study that was read, or why it was refused."""

    study: StudyInput | str
    ms: float
    hashes: dict[Path, str]


class StudySteps:
    """Reads a study, computes it, and writes its result folder."""

    def __init__(self, runner: StudyRunner, bundle: Bundle, options: Options) -> None:
        """Take an opened runner."""
        self._runner, self._bundle, self._options = runner, bundle, options

    @property
    def device(self) -> str:
        """The device obtained."""
        return self._runner.device.obtained

    @property
    def node(self) -> str | None:
        """The server's model that computes, where one does."""
        return self._runner.device.engine

    def load(self, task: StudyTask) -> Read:
        """Read the sequences; a study that is refused has a result, too."""
        start = perf_counter()
        # Before they are read: what changes in between is seen as changed, never as the same.
        hashes = hashes_of(task.inputs)
        study: StudyInput | str
        try:
            study = read_study(task.path, self._runner.recipe.needed)
        except InputError as error:
            study = str(error)
        return Read(study, (perf_counter() - start) * 1000, hashes)

    def compute(self, task: StudyTask, loaded: Read, listener: Listener) -> Callable[[], CaseResult]:
        """Segment, measure, classify.

        Raises:
            CaseError: If a network's output is not usable.
        """
        listener(StageFinished(task.name, "read", loaded.ms))
        if isinstance(loaded.study, str):
            result = refused(loaded.study, stages={"read": loaded.ms})
        else:
            result = self._runner.run(loaded.study, listener)
        return lambda: self._write(task, loaded, result, listener)

    def _write(self, task: StudyTask, loaded: Read, result: StudyResult, listener: Listener) -> CaseResult:
        def document(final: StudyResult, outputs: list[Path]) -> StudyReport:
            return run_report(final, self._bundle, self._options, [task.path], outputs)

        for left in task.out.parent.glob(f".{glob.escape(task.name)}.????????"):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed while it wrote
        channels = dict(self._runner.recipe.channels)
        evidence = _evidence(task.path) if result.study is None else ()
        report = write_result(result, self._bundle, channels, task.out, document, listener, evidence)
        outputs = tuple(map(Path, report.outputs))
        return CaseResult(
            task.name,
            "refused" if result.exit_code else "ok",
            report.reason if result.exit_code else None,
            task.inputs,
            outputs,
            {stage.name: stage.ms for stage in report.stages},
            None if report.labels is None else dict(report.labels),
            ExitCode(result.exit_code),
            report.warnings,
            hashes=loaded.hashes | hashes_of(outputs),
            study=StudyOutcome(
                status=report.status,
                reason=report.reason,
                probability=report.probability,
                synthetic=report.synthetic,
            ),
        )


def _evidence(path: Path) -> Sequence["Dataset"]:
    """What the report of a refused study refers to; none where it is not DICOM."""
    from scanside.runtime.dicom.evidence import read_evidence

    return read_evidence([path])


def prove(bundle: Bundle, runner: StudyRunner) -> str | None:
    """Replay everything golden with opened networks; why it fails here, or None."""
    for segmenter in runner.segmenters:
        if problem := first_problem(replay_all(segmenter)):
            return problem
    for study in bundle.manifest.studies:
        compared = replay_study(bundle, load_study(bundle, study))
        if compared.problem:
            return f"golden study {compared.case}: {compared.problem}"
    return None
