"""One job: snapshot → read → compute → write → outcome. The same way as `scanside run`."""

import json
import logging
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from scanside.runtime.appliance.admission import SeriesFacts, why_not
from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.deliver.classes import report_class
from scanside.runtime.appliance.deliver.labelmap import labelmap_takers
from scanside.runtime.appliance.deliver.rules import sends_to
from scanside.runtime.appliance.store import fetches, prior_lookups, priors, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case, Job, Made, Measured, Outcome, Warned
from scanside.runtime.appliance.store.revisions import occasion
from scanside.runtime.appliance.work.engine import Engine
from scanside.runtime.appliance.work.failure import Words
from scanside.runtime.appliance.work.inputs import snapshot
from scanside.runtime.appliance.work.progress import ProgressListener
from scanside.runtime.appliance.work.revision import LABELMAPS, inputs_digest, object_options
from scanside.runtime.bundle import Bundle
from scanside.runtime.clock import Clock
from scanside.runtime.errors import InputError
from scanside.runtime.events import StageFinished, StageStarted
from scanside.runtime.images.files import atomic_write, sync, writing_failed
from scanside.runtime.remark import Remark, reworded
from scanside.runtime.study.compose import run_report
from scanside.runtime.study.figures import figures_of
from scanside.runtime.study.objects import ObjectOptions, ResultObject, write_objects
from scanside.runtime.study.pipeline import Recipe, read_recipe, refused
from scanside.runtime.study.prior import Prior
from scanside.runtime.study.read import read_study
from scanside.runtime.study.records import StudyResult
from scanside.runtime.study.report import RESULT, StudyReport, WrittenObject
from scanside.runtime.study.write import write_result

log = logging.getLogger("scanside.work")


@dataclass
class CaseRun:
    """The computation of one job.

    Attributes:
        case: The job's study.
        since: When the study, or the job if that was later, was there; seconds since 1970.
        claimed: When the worker took it.
    """

    config: Config
    job: Job
    case: Case
    since: float
    claimed: float

    @property
    def out(self) -> Path:
        """Folder of the result."""
        return self.config.results / self.job.case_id / str(self.job.job)

    @property
    def words(self) -> Words:
        """What texts of this case must not hold."""
        folders = (self.out, self.out.parent, self.config.results, self.config.spool)
        return Words(folders, self.case.patient, self.config.spool / self.job.case_id)

    def compute(self, database: Database, engine: Engine, tell: ProgressListener) -> Outcome:
        """Run the job; its result is on disk afterwards.

        Raises:
            Stopped: If the job is not wanted any more.
            ScansideError: If it fails.
        """
        clock = Clock(self.job.case_id, tell)
        received = worklist.instances_of(database, self.job.study_uid)
        instances = fetches.without_incomplete(database, self.job.job, received)
        bundle = engine.bundle(Path(self.job.bundle) if self.job.bundle else self.config.service.bundle)
        recipe = read_recipe(bundle)
        with ExitStack() as held:
            with clock.stage("inputs"):
                taken = snapshot(instances, self.config.spool, self.out.parent, tell.check)
                study = held.enter_context(taken)
            unwanted = None if self.job.series else why_not(self._said(study), self.config.accept)
            result = (
                refused(unwanted) if unwanted else self._result(bundle, recipe, study, engine, tell, clock)
            )
            measured = self._measured(database, result, bundle)
            prior, said = self._beside(database, measured, len(received) - len(instances))
            result = replace(result, warnings=(*result.warnings, *said))
            inputs = inputs_digest(instances, bundle.sha256, self.job, self.config, prior, said)
            now = occasion(database, self.job.job, inputs)
            how = object_options(self.config, now, prior=prior)
            report = self._write(result, bundle, recipe, study, tell, how)
            takers = labelmap_takers(self.config, database) if result.roles else frozenset()
            options = object_options(self.config, now, "LABELMAP", prior)
            labelmaps = self._write_labelmaps(result, bundle, recipe, clock, options) if takers else []
        self._finish(report)
        sends = () if unwanted else self._sends(report, takers if labelmaps else frozenset(), labelmaps)
        return replace(self._outcome(report, clock.ms, sends), measured=measured)

    def _beside(
        self, database: Database, measured: Measured | None, left_out: int
    ) -> tuple[Prior | None, list[Remark]]:
        """An earlier result of the patient, and what the result has to say of archives that were asked.

        Args:
            left_out: Number of images of series that came in part.
        """
        said = fetches.remarks_of(database, self.job.job, left_out)
        if measured is None:
            return None, said
        archives = [archive.name for archive in self.config.fetch.prior_archives]
        remark = prior_lookups.remark_of(database, self.job.job) if archives else None
        prior = priors.prior_of(database, self.job.study_uid, measured, archives)
        return prior, said if remark is None else [*said, remark]

    def _measured(self, database: Database, result: StudyResult, bundle: Bundle) -> Measured | None:
        """For the reports of later studies, as far as it is known whose and of when this one is."""
        from scanside.runtime.dicom.patient import day_of, person_of
        from scanside.runtime.study.findings import measured_sizes

        if result.study is None or not result.roles or result.status == "unsuitable input":
            return None
        sources = [image.source for image in result.study.images.values() if image.source is not None]
        headers = [header for source in sources for header in source.headers]
        person, day = person_of(headers), day_of(headers)
        if person is None or day is None or not self.config.retention.prior_days:
            return None
        name = f"{bundle.manifest.name} {bundle.manifest.version}"
        pseudonym = priors.pseudonym_of(database, person)
        return Measured(pseudonym, day, name, bundle.sha256, measured_sizes(result))

    @staticmethod
    def _said(study: Path) -> list[SeriesFacts]:
        from scanside.runtime.dicom.acceptance import series_headers

        return [SeriesFacts(*said) for said in series_headers(study)]

    def _result(
        self, bundle: Bundle, recipe: Recipe, path: Path, engine: Engine, tell: ProgressListener, clock: Clock
    ) -> StudyResult:
        """A study that is refused needs no network."""
        case_id = self.job.case_id
        try:
            tell(StageStarted(case_id, "read"))
            study = read_study(path, recipe.needed, series=self.job.series)
            tell(StageFinished(case_id, "read", study.read_ms))
        except InputError as error:
            result = refused(str(error))
        else:
            with clock.stage("open"):
                runner = engine.runner(bundle, lambda words: tell(StageStarted(case_id, "golden cases")))
            result = runner.run(study, tell)
        reason = None if result.reason is None else self.words.advised(result.reason)
        warnings = tuple(reworded(warning, self.words.advised) for warning in result.warnings)
        return replace(result, reason=reason, warnings=warnings)

    def _write(
        self,
        result: StudyResult,
        bundle: Bundle,
        recipe: Recipe,
        study: Path,
        tell: ProgressListener,
        options: ObjectOptions,
    ) -> StudyReport:
        from scanside.runtime.dicom.evidence import read_evidence

        def document(final: StudyResult, outputs: list[Path]) -> StudyReport:
            made = run_report(final, bundle, self.config.work.options(), [study], outputs)
            return made.model_copy(
                update={"case": self.job.case_id, "job": self.job.job, "prior": options.prior}
            )

        evidence = read_evidence([study]) if result.study is None else ()
        return write_result(result, bundle, recipe.channels, self.out, document, tell, evidence, options)

    def _write_labelmaps(
        self, result: StudyResult, bundle: Bundle, recipe: Recipe, clock: Clock, options: ObjectOptions
    ) -> list[Made]:
        """A second set of objects, whose Segmentations are LABELMAP; none when they cannot be made."""
        folder = self.out / LABELMAPS
        with clock.stage("labelmap"):
            try:
                shutil.rmtree(folder, ignore_errors=True)  # of an earlier try
                folder.mkdir()
            except OSError as error:
                raise writing_failed(folder, error) from error
            objects, warnings = write_objects(result, bundle, recipe.channels, folder, options=options)
        for warning in warnings:
            log.warning("BINARY in place of LABELMAP: %s", self.words.clean(warning))
        return [] if warnings else [self._made(one) for one in objects]

    def _finish(self, report: StudyReport) -> None:
        """Make the report's paths relative to its own folder, and see that all of it has reached the disk."""
        with atomic_write(self.out / RESULT) as temporary:
            temporary.write_text(json.dumps(self.words.relative_all(report.data()), indent=1) + "\n")
        try:
            for path in (*sorted(self.out.rglob("*")), self.out, self.out.parent, self.config.results):
                sync(path)  # the store must not know of a result that a power cut takes away
        except OSError as error:
            raise writing_failed(self.out, error) from error

    def _made(self, made: WrittenObject | ResultObject) -> Made:
        """For the outbox."""
        path = Path(made.path).relative_to(self.config.results)
        return Made(made.kind, made.sop_class_uid, made.sop_instance_uid, str(path), made.series_instance_uid)

    def _sends(
        self, report: StudyReport, takers: frozenset[str], labelmaps: list[Made]
    ) -> tuple[tuple[str, Made], ...]:
        own = [self._made(row) for row in report.objects]
        sends: list[tuple[str, Made]] = []
        for destination in self.config.destinations:
            made = labelmaps if destination.name in takers else own
            objects = [one for one in made if one.kind != "sr" or one.sop_class == report_class(destination)]
            sends += sends_to([destination], report.status, self.case.calling, objects)
        return tuple(sends)

    def _outcome(
        self, report: StudyReport, own: Mapping[str, float], sends: tuple[tuple[str, Made], ...]
    ) -> Outcome:
        found = report.probability
        stages = {stage.name: stage.ms for stage in report.stages}
        waited = max(0.0, self.claimed - self.since) * 1000
        total = max(0.0, time.time() - self.since) * 1000
        return Outcome(
            status=report.status,
            reason=report.reason,
            probability=found.value if found else None,
            low=found.low if found else None,
            high=found.high if found else None,
            result=f"{self.job.case_id}/{self.job.job}",
            stages={"queued": waited, **own, **stages, "total": total},
            sends=sends,
            positive=found.of if found else None,
            named=found.predicted if found else None,
            reason_code=report.reason_code,
            figures={
                name: value
                for name, (value, unit) in figures_of(report).items()
                if not name.endswith(": voxels")
            },
            warnings=tuple(
                Warned(code, self.words.advised(sentence))
                for code, sentence in zip(report.warning_codes, report.warnings, strict=True)
            ),
        )


def begin(config: Config, database: Database, job: Job) -> CaseRun:
    """What is known of a job that has just been claimed.

    Raises:
        InputError: If the store has no such study.
    """
    case = worklist.case(database, job.case_id)
    times = worklist.begun(database, job.job)
    if case is None or times is None:
        raise InputError(f"The store has no case {job.case_id}; it was changed by another program.")
    created, claimed = times
    return CaseRun(config, job, case, max(case.last_received, created), claimed)
