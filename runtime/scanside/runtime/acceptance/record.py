"""What an acceptance found, as frozen records: one `Check` a line of the report, all of them in a `Report`."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scanside.runtime.record import Document, Part

Family = Literal[
    "setup",
    "model",
    "features",
    "association",
    "geometry",
    "archive",
    "refusal",
    "load",
    "power",
    "machine",
    "constancy",
    "record",
]
TITLES: Mapping[Family, str] = {
    "setup": "Configuration and installation",
    "machine": "Machine: clock, disk, store",
    "model": "Bundle and golden cases",
    "features": "Radiomics against IBSI",
    "association": "Who may send",
    "geometry": "Geometry phantom, computed here",
    "archive": "Geometry phantom, read back from the archives",
    "refusal": "Studies that must be refused",
    "load": "Time and throughput",
    "power": "Power cut",
    "constancy": "Against an earlier run",
    "record": "This record",
}
"""Families in the order of the report."""


class Figure(Part):
    """Numbers that a check has measured, each repetition one.

    Attributes:
        kind: `exact` figures of one bundle on one device never change; `time` is better lower, and has noise;
            `note` is compared with nothing.
        unit: UCUM, `1` for a count.
    """

    name: str
    kind: Literal["exact", "time", "note"]
    unit: str
    values: tuple[float, ...] = Field(min_length=1)


class Passed(Part):
    """It is as it must be."""

    outcome: Literal["passed"] = "passed"
    found: str


class Failed(Part):
    """It is not as it must be."""

    outcome: Literal["failed"] = "failed"
    what: str
    to_do: str


class NotDone(Part):
    """Nobody knows: it could not be looked at."""

    outcome: Literal["not done"] = "not done"
    reason: str


class Check(Part):
    """One line of the report.

    Attributes:
        name: Unique in its family; the same in every run, so that runs can be compared.
    """

    family: Family
    name: str
    result: Annotated[Passed | Failed | NotDone, Field(discriminator="outcome")]
    figures: tuple[Figure, ...] = ()

    @property
    def key(self) -> str:
        """Family and name."""
        return f"{self.family}: {self.name}"

    @property
    def sentence(self) -> str:
        """What a person reads."""
        match self.result:
            case Passed(found=words) | NotDone(reason=words):
                return words
            case Failed(what=what, to_do=to_do):
                return f"{what} {to_do}"


class Report(Document):
    """What `scanside accept` found at one site, check by check.

    Attributes:
        started, finished: ISO 8601 with the offset to UTC.
        by: Who ran it, as they gave it.
        site: Where, as they gave it.
        machine: Name → value in words: host, processor, memory, system.
        versions: Program or library → version.
        licences: Distribution → licence, of what is installed.
        bundle: Name, version and sha256; empty where there is none that opens.
        settings: Name → value in words: what of the configuration the figures depend on.
    """

    schema_: Literal["scanside.acceptance/1"] = Field("scanside.acceptance/1", alias="schema")
    started: str
    finished: str
    by: str
    site: str = ""
    machine: dict[str, str]
    versions: dict[str, str]
    licences: dict[str, str]
    bundle: dict[str, str]
    settings: dict[str, str]
    synthetic: bool
    notice: str
    checks: tuple[Check, ...]

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        keys = [check.key for check in self.checks]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"two checks are called '{twice[0]}'")
        return self

    def of(self, outcome: Literal["passed", "failed", "not done"]) -> tuple[Check, ...]:
        """The checks that came out so."""
        return tuple(check for check in self.checks if check.result.outcome == outcome)

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.of("failed")

    @property
    def verdict(self) -> str:
        """The result as one sentence."""
        failed, open_ = len(self.of("failed")), len(self.of("not done"))
        not_done = f", {open_} not done" if open_ else ""
        if failed:
            return f"Failed: {failed} of {len(self.checks)} checks failed{not_done}."
        return f"Passed: {len(self.of('passed'))} of {len(self.checks)} checks passed{not_done}."


def passed(family: Family, name: str, found: str, *figures: Figure) -> Check:
    """A check that passed."""
    return Check(family=family, name=name, result=Passed(found=found), figures=figures)


def failed(family: Family, name: str, what: str, to_do: str, *figures: Figure) -> Check:
    """A check that failed: what happened, and what to do."""
    return Check(family=family, name=name, result=Failed(what=what, to_do=to_do), figures=figures)


def not_done(family: Family, name: str, reason: str) -> Check:
    """A check that could not be made."""
    return Check(family=family, name=name, result=NotDone(reason=reason))


def refused(family: Family, name: str, sentence: str, to_do: str = "") -> Check:
    """A check that failed with a sentence of the program's own, `what happened; what to do.`"""
    what, _, advice = sentence.rstrip(".").partition("; ")
    advice = to_do or (f"{advice[:1].upper()}{advice[1:]}." if advice else "Look at the log of the service.")
    return failed(family, name, f"{what}.", advice)


def count(name: str, *values: float, unit: str = "1") -> Figure:
    """A figure that never changes."""
    return Figure(name=name, kind="exact", unit=unit, values=values)


def seconds(name: str, *values: float) -> Figure:
    """Durations."""
    return Figure(name=name, kind="time", unit="s", values=values)
