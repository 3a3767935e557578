"""The results file of `scanside bench appliance` as data."""

from typing import Literal

from pydantic import Field

from scanside.benchmarks.distribution import Distribution
from scanside.benchmarks.latency_results import RunRecord
from scanside.benchmarks.sensors import Sensed
from scanside.runtime.record import Part

APPLIANCE = "scanside.bench-appliance/1"


class Rate(Part):
    """Instances sent without a pause, each acknowledged when it is on disk and in the store."""

    senders: int
    """At the same time, each in a process and an association of its own."""
    instances: int
    """Of each sender."""
    megabytes: float
    """Of each sender's files, 10⁶ bytes."""
    wall_ms: Distribution
    """From the first request of any sender to the last acknowledgement of all."""
    other_cpu_ms: Distribution
    """Of everything but the appliance and the senders meanwhile."""
    instances_per_s: float
    """Of all senders, by the median of `wall_ms`."""
    megabytes_per_s: float
    response_ms: Distribution
    """Median of each round: from a request to its acknowledgement."""
    slowest_ms: float
    """The longest that one acknowledgement took."""


class WholeWay(Part):
    """From the last instance acknowledged to the structured report stored at the peer, and its parts."""

    whole_ms: Distribution
    added_ms: Distribution
    """whole less the quiet time of the configuration less the inference."""
    inference_ms: Distribution
    """The pipeline's stages from checking the images to the classification; not reading and writing files."""
    completeness_ms: Distribution
    """From the last acknowledgement until the study counts as complete and is queued; holds the quiet time."""
    queue_ms: Distribution
    """From being queued until the worker takes it."""
    compute_ms: Distribution
    """From then until its result is on disk and in the store; holds the inference."""
    deliver_ms: Distribution
    """From then until the peer has stored the structured report."""
    all_stored_ms: Distribution
    """From the last acknowledgement until the peer has stored the last object of the study."""
    stages_ms: dict[str, Distribution]
    """Of the worker, as the appliance's own metrics have them."""
    other_cpu_ms: Distribution
    """Of everything but the appliance, the senders and the peer, from the first request until the last object."""
    all_ms: Distribution
    """That span: sending, and `all_stored_ms`."""


class StudyWay(Part):
    """One study, sent again and again under other UIDs."""

    name: str
    origin: Literal["phantom", "given"]
    instances: int
    megabytes: float
    """Of its files, 10⁶ bytes."""
    send_ms: Distribution
    """From the first request to the last acknowledgement."""
    status: str
    probability: float | None
    """What the study came to; the same in every run, or a remark says so."""
    objects: list[str]
    """Objects that the peer got, by kind."""
    way: WholeWay


class ApplianceReport(RunRecord):
    """`scanside bench appliance`."""

    schema_: Literal["scanside.bench-appliance/1"] = Field(alias="schema")
    quiet_seconds: float
    """Configured: a study is complete when its associations have closed and nothing came for so long."""
    commitment: bool
    """Whether storage commitment was asked for; nothing here waits for it."""
    rates: list[Rate]
    studies: list[StudyWay]
    peak_mib: dict[str, float]
    """Largest VmHWM by process of the appliance."""
    sensed: Sensed
    """Over the whole run."""
