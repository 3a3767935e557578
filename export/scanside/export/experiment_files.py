"""What an experiment's steps leave for the bundle: one record each, which `scanside train` writes and the export reads.

experiment.json, classifier/classifier.json, segmentation/<role>/fusion.json.
"""

from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field, ValidationError

from scanside.runtime.errors import InputError
from scanside.runtime.manifest import Agreement, Fusion
from scanside.runtime.record import Document, Sha256, first_fault
from scanside.runtime.study_model import StudyModel

EXPERIMENT, CLASSIFIER, FUSION = "experiment.json", "classifier.json", "fusion.json"
Found = TypeVar("Found", bound=Document)


class ExperimentDocument(Document):
    """Which cohort an experiment was made from, `experiment.json`."""

    schema_: Literal["scanside.experiment/1"] = Field("scanside.experiment/1", alias="schema")
    created: str = ""
    """Date and time, UTC."""
    cohort: str
    """Folder of the cohort; of an experiment on a table of features, that table."""
    cohort_sha256: Sha256
    """Of the cohort's table when the experiment began."""
    synthetic: bool
    """The cohort is a phantom; every result says so then."""
    orientation: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Sequence → where the axes of its images point to, the most frequent first."""
    phantom_version: int | None = None
    """Version of the phantom, if the cohort is one and says so."""


class ClassifierDocument(Document):
    """The models of an experiment, `classifier.json`, as a bundle states them; their files lie in the same folder."""

    schema_: Literal["scanside.classifier/1"] = Field("scanside.classifier/1", alias="schema")
    agreement: Agreement | None
    """How the lesion of each sequence is chosen; null where each sequence's largest one is measured."""
    models: tuple[StudyModel, ...]
    """In the order in which they are asked."""


class FusionDocument(Document):
    """How a role's masks are decided together with another sequence, as far as a bundle says it."""

    schema_: Literal["scanside.fusion/1"] = Field("scanside.fusion/1", alias="schema")
    fusion: Fusion | None
    """Chosen on all training patients; null where the segmenter alone is as good."""
    bundles: dict[str, Sha256]
    """Role → the bundle whose probabilities it was chosen for."""


def read_file(path: Path, record: type[Found], step: str) -> Found:
    """One of these files.

    Args:
        step: The command that makes it.

    Raises:
        InputError: If there is none, or it is not what its step writes.
    """
    try:
        return record.read(path)
    except OSError as error:
        raise InputError(f"There is no readable {path}; run `{step}` first.") from error
    except ValidationError as error:
        place, why = first_fault(error)
        where = f"{place}: " if place else ""
        raise InputError(f"{path} is damaged ({where}{why}); run `{step}` again.") from error
