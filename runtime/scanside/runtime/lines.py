"""The lines of a ledger, as records: what was planned, and how each item ended (ADR 20, ADR 37).

`scanside schema case` and `scanside schema case-plan` print their JSON schemas.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from scanside.runtime.errors import ExitCode, OutputError
from scanside.runtime.outcome import FeatureOutcome, StudyOutcome
from scanside.runtime.record import Document, Part, Sha256
from scanside.runtime.report import Sizes, StageTime, stage_times
from scanside.runtime.run import CaseResult
from scanside.runtime.statistics import LabelStatistics

Command = Literal["segment", "run", "radiomics"]


class Recipe(Part):
    """What decides a result beside bundle and images. The device is not in it: each has passed the golden cases."""

    command: Command = "segment"
    role: str | None = None
    """The segmenter, where one was run."""
    precision: str | None = None
    """Null where no network was run."""
    mirroring: bool | None = None
    step_size: float | None = None
    skip_empty_tiles: bool | None = None
    folds: tuple[str, ...] | None = None
    """Null for all."""
    roi: tuple[str, ...] | None = None
    """The labels that masks keep; null for all."""
    label_names: bool = False
    """Headers of masks name their labels."""
    configuration: Sha256 | None = None
    """Of the radiomics configuration, where features were measured without a bundle."""


class HashedFile(Part):
    """A file or folder of an item."""

    path: str
    sha256: Sha256 | None
    """Null where the item did not get so far."""


class PlanLine(Document):
    """A line of a ledger: what a run is going to do. Files of these are its own, even before their lines."""

    schema_: Literal["scanside.case/1"] = Field("scanside.case/1", alias="schema")
    planned: tuple[str, ...]
    bundle: Sha256 | None
    """Null where no bundle takes part."""
    recipe: Recipe


class CaseLine(Document):
    """A line of a ledger: how one case, study or image ended."""

    schema_: Literal["scanside.case/1"] = Field("scanside.case/1", alias="schema")
    name: str
    status: Literal["ok", "refused", "failed"]
    reason: str | None
    """The sentence for the user; null when ok."""
    inputs: tuple[HashedFile, ...]
    outputs: tuple[HashedFile, ...]
    stages: tuple[StageTime, ...]
    """In order."""
    labels: Sizes | None
    """Label or region to volume in ml; null when not ok, for a picture, and where no mask was made."""
    areas_mm2: Sizes | None
    """The same in mm² for a picture."""
    remarks: tuple[str, ...]
    statistics: tuple[LabelStatistics, ...] | None = None
    """Where `--statistics` asked for them."""
    study: StudyOutcome | None = None
    """Of `scanside run`."""
    features: dict[str, FeatureOutcome] | None = None
    """Of `scanside radiomics extract`."""
    bundle: Sha256 | None
    recipe: Recipe
    device: str
    node: str
    """The machine, or the engine's address."""
    finished: str
    """ISO 8601, UTC."""


def case_line(
    result: CaseResult, *, bundle: str | None, recipe: Recipe, device: str, node: str, finished: str
) -> CaseLine:
    """The line of an item that ended."""
    hashes = result.hashes or {}

    def hashed(paths: Sequence[Path]) -> tuple[HashedFile, ...]:
        return tuple(HashedFile(path=str(path), sha256=hashes.get(path)) for path in paths)

    return CaseLine(
        name=result.name,
        status=result.status,
        reason=result.reason,
        inputs=hashed(result.inputs),
        outputs=hashed(result.outputs),
        stages=stage_times(result.stages),
        labels=result.labels,
        areas_mm2=result.areas_mm2,
        remarks=tuple(map(str, result.remarks)),
        statistics=result.statistics,
        study=result.study,
        features=None if result.features is None else dict(result.features),
        bundle=bundle,
        recipe=recipe,
        device=device,
        node=node,
        finished=finished,
    )


def result_of(line: CaseLine) -> CaseResult:
    """The result that the line of a finished item tells of."""
    return CaseResult(
        name=line.name,
        status="ok",
        reason=None,
        inputs=tuple(Path(one.path) for one in line.inputs),
        outputs=tuple(Path(one.path) for one in line.outputs),
        stages={stage.name: stage.ms for stage in line.stages},
        labels=None if line.labels is None else dict(line.labels),
        exit_code=ExitCode.OK,
        remarks=(*line.remarks, f"Computed before, on {line.finished}; taken over by --resume."),
        areas_mm2=None if line.areas_mm2 is None else dict(line.areas_mm2),
        statistics=line.statistics,
        study=line.study,
        features=line.features,
    )


def lines_of(file: Path) -> Iterator[PlanLine | CaseLine]:
    """Whole lines of a ledger; one that a power cut tore is none.

    Raises:
        OutputError: If the file may not be read.
    """
    try:
        text = file.read_bytes().decode("utf-8", errors="replace")
    except OSError as error:
        raise OutputError(f"{file} cannot be read ({error.strerror}); check its permissions.") from error
    for line in text.splitlines():
        try:
            content = json.loads(line)  # not pydantic's own reader: names may hold bytes that are no UTF-8
            kind = PlanLine if isinstance(content, dict) and "planned" in content else CaseLine
            yield kind.model_validate(content)
        except ValueError:  # of JSON, or of a field
            continue


def text_of(line: Document) -> str:
    """A line as a ledger holds it: ASCII, since names may hold bytes that are no UTF-8."""
    return json.dumps(line.data())
