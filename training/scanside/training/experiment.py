"""The experiment folder: one place for everything a study produces, with a record of every step.

experiment.json            which cohort, and its hash
records/<step>.json        configuration, seed, versions, machine, time and command of each step
segmentation/<role>/       nnU-Net's folders of a role, and the bundle made of its model
masks/<part>/<role>/       automatic masks; a part is `cross-validated`, `resubstitution` or `test`
masks-alone/<part>/<role>/ what a segmenter said alone, of roles whose masks are decided together with another one
signature/  classifier/    features, selection, fitted classifier
evaluation/                the report
"""

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from scanside.export.experiment_files import EXPERIMENT, ExperimentDocument, read_file
from scanside.runtime import machine
from scanside.runtime.errors import InputError
from scanside.runtime.images.files import atomic_write
from scanside.runtime.record import Document, Part

PARTS = ("resubstitution", "cross-validated", "test")
"""Where a prediction comes from: models that saw the patient, a fold's model that did not, or held-out patients."""

LESION = 1
"""Label of the lesion in every mask of a cohort and of an experiment."""
PACKAGES = ("torch", "nnunetv2", "scikit-learn", "skl2onnx", "onnx", "pyradiomics-bhklab", "matplotlib")


class Machine(Part):
    """Where a step ran."""

    processor: str
    cores: int
    memory_gib: float


class StepRecord(Document):
    """How a step was run. What the step keeps beside stands among these fields, under names of its own."""

    model_config = ConfigDict(extra="allow")
    schema_: Literal["scanside.step/1"] = Field("scanside.step/1", alias="schema")
    step: str
    """Such as `segment-t2w`."""
    created: str
    """Date and time of its end, UTC."""
    command: tuple[str, ...]
    seconds: float
    seed: int | None
    """null where nothing is drawn."""
    configuration: dict[str, Any]
    """Everything the user could have chosen."""
    machine: Machine
    versions: dict[str, str]
    phantom_version: int | None = None
    """Of the cohort, if it is a phantom and says so."""


@dataclass(frozen=True)
class Experiment:
    """An opened experiment folder.

    Attributes:
        path: The folder.
        cohort: Folder of the cohort it was made from.
        cohort_sha256: Hash of the cohort's table when the experiment began.
        synthetic: Whether the cohort is a phantom; every result says so then.
        phantom_version: Version of the phantom, if the cohort is one and says so.
    """

    path: Path
    cohort: Path
    cohort_sha256: str
    synthetic: bool
    phantom_version: int | None = None

    def masks(self, part: str, role: str) -> Path:
        """Folder of automatic masks, `<patient>.nii.gz`."""
        return self.path / "masks" / part / role

    def masks_alone(self, part: str, role: str) -> Path:
        """Folder of the masks that a segmenter made alone; it exists where `train fusion` has decided anew."""
        return self.path / "masks-alone" / part / role

    def mask(self, part: str, role: str, patient: str) -> Path:
        """The automatic mask of a patient."""
        return self.masks(part, role) / f"{patient}.nii.gz"

    def label(self, role: str) -> int:
        """The value of the lesion in an automatic mask."""
        return LESION

    def segmentation(self, role: str) -> Path:
        """Folder of a role's nnU-Net training."""
        return self.path / "segmentation" / role

    @property
    def signature(self) -> Path:
        """Folder of features and their selection."""
        return self.path / "signature"

    @property
    def classifier(self) -> Path:
        """Folder of the fitted classifier."""
        return self.path / "classifier"

    @property
    def evaluation(self) -> Path:
        """Folder of the report."""
        return self.path / "evaluation"

    def record(
        self, step: str, configuration: Mapping[str, Any], *, seed: int | None, started: float, **results: Any
    ) -> None:
        """Write `records/<step>.json`.

        Args:
            step: Name of the step, such as `segment-t2w`.
            configuration: Everything the user could have chosen.
            started: `time.time()` when the step began.
            results: What the step wants to keep beside.
        """
        document = StepRecord(
            step=step,
            created=now(),
            command=("scanside", *sys.argv[1:]),
            seconds=round(time.time() - started, 1),
            seed=seed,
            configuration=dict(configuration),
            machine=Machine(
                processor=machine.processor(), cores=machine.cores(), memory_gib=machine.memory_gib()
            ),
            versions=machine.versions(PACKAGES),
            phantom_version=self.phantom_version,
            **results,
        )
        write_document(self.path / "records" / f"{step}.json", document)

    def records(self) -> dict[str, StepRecord]:
        """Step → its record, for every step done so far.

        Raises:
            InputError: If a record is damaged.
        """
        files = sorted((self.path / "records").glob("*.json"))
        return {file.stem: read_file(file, StepRecord, _command(file.stem)) for file in files}


def cohort_hash(cohort: Path) -> str:
    """sha256 of a cohort's table.

    Raises:
        InputError: If there is no cohort.csv.
    """
    try:
        return hashlib.sha256((cohort / "cohort.csv").read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{cohort} is not a cohort: it has no readable cohort.csv.") from error


def start_experiment(
    path: Path,
    cohort: Path,
    *,
    synthetic: bool,
    orientation: Mapping[str, Sequence[str]] | None = None,
    phantom_version: int | None = None,
) -> Experiment:
    """Open an experiment folder for a cohort, or make it.

    Args:
        orientation: How the cohort's images lie (`cohort_orientation`); the bundle will say so.
        phantom_version: As `Cohort.phantom_version`. The table alone does not tell: it is the same in both versions.

    Raises:
        InputError: If the folder was made from another cohort or from another version of this one.
    """
    sha256 = cohort_hash(cohort)
    if (path / EXPERIMENT).exists():
        experiment = open_experiment(path)
        if experiment.cohort_sha256 != sha256:
            raise InputError(
                f"{path} was made from another cohort ({experiment.cohort}); choose a new folder for {cohort}."
            )
        before, given = experiment.phantom_version or 1, phantom_version or 1
        if before != given:
            raise InputError(
                f"{path} was made from a phantom of version {before}, and {cohort} is of version {given}; "
                "choose a new folder."
            )
        return experiment
    document = ExperimentDocument(
        created=now(),
        cohort=str(cohort.resolve()),
        cohort_sha256=sha256,
        synthetic=synthetic,
        orientation={name: tuple(letters) for name, letters in (orientation or {}).items()},
        phantom_version=phantom_version,
    )
    return make_experiment(path, cohort, document)


def make_experiment(path: Path, cohort: Path, document: ExperimentDocument) -> Experiment:
    """Write experiment.json, the first file of an experiment's folder."""
    write_document(path / EXPERIMENT, document)
    return Experiment(path, cohort, document.cohort_sha256, document.synthetic, document.phantom_version)


def open_experiment(path: Path) -> Experiment:
    """Open an experiment folder.

    Raises:
        InputError: If it is none.
    """
    try:
        found = ExperimentDocument.read(path / EXPERIMENT)
    except (OSError, ValidationError) as error:
        raise InputError(
            f"{path} is not an experiment folder (no readable experiment.json); begin with "
            "`scanside train segment COHORT -o EXPERIMENT`."
        ) from error
    return Experiment(path, Path(found.cohort), found.cohort_sha256, found.synthetic, found.phantom_version)


def write_document(path: Path, document: Document) -> None:
    """Write a record as JSON, whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(document.text())


def write_json(path: Path, document: Any) -> None:
    """Write a JSON file whole or not at all.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(document, indent=1) + "\n")


def _command(step: str) -> str:
    """The command that does a step: `scanside train segment` for `segment-t2w`."""
    word = step.partition("-")[0]
    return "scanside evaluate" if word == "evaluate" else f"scanside train {word}"


def now() -> str:
    """Date and time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
