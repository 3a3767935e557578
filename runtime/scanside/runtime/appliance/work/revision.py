"""What makes one result of a study another than the one before: its inputs, its time, its place among them."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, cast

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.deliver.classes import COMPREHENSIVE_SR, report_class
from scanside.runtime.appliance.store.records import Instance, Job, Made, Occasion
from scanside.runtime.study.objects import ObjectOptions
from scanside.runtime.study.prior import Prior

if TYPE_CHECKING:
    from scanside.runtime.dicom.object_header import Kind, Replaced
    from scanside.runtime.dicom.seg import Encoding

LABELMAPS = "labelmap"
"""Folder in a result: the objects for peers that take Segmentations as LABELMAP."""


def inputs_digest(
    instances: Sequence[Instance],
    bundle_sha256: str,
    job: Job,
    config: Config,
    prior: Prior | None = None,
    said: Sequence[str] = (),
) -> str:
    """A hash of everything that a result depends on: images, bundle, choices, how it is computed, by which program.

    An earlier result of the patient is part of it, since the report states that; so is what it says of archives.
    """
    content: dict[str, object] = {
        "images": sorted(instance.sha256 for instance in instances),
        "bundle": bundle_sha256,
        "series": dict(job.series),
        "options": repr(config.work.options()),
        "scanside": version("scanside"),
    }
    if prior is not None:
        content["prior"] = repr(prior)
    if said:
        content["said"] = list(said)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def object_options(
    config: Config, occasion: Occasion, encoding: "Encoding" = "BINARY", prior: Prior | None = None
) -> ObjectOptions:
    """How the objects of a job are made: its time, its number, and what they replace."""
    from scanside.runtime.dicom.object_header import Revision

    moment = datetime.fromtimestamp(int(occasion.moment))
    replaced = _of_kind(occasion.replaces, encoding == "LABELMAP")
    return ObjectOptions(
        moment=moment,
        series_offset=config.send.series_number,
        encoding=encoding,
        revision=Revision(
            occasion.number, str(occasion.moment), tuple(_replaced(one, config.results) for one in replaced)
        ),
        comprehensive=any(report_class(one) == COMPREHENSIVE_SR for one in config.destinations),
        prior=prior,
        reject=any("reject" in destination.rule.objects for destination in config.destinations),
        outlines=any("gsps" in destination.rule.objects for destination in config.destinations),
    )


def _of_kind(objects: Sequence[Made], labelmap: bool) -> Sequence[Made]:
    """Of two sets of objects those that the same peers were sent; all where there is one set."""
    return [one for one in objects if (Path(one.path).parent.name == LABELMAPS) is labelmap] or objects


def _replaced(made: Made, results: Path) -> "Replaced":
    from scanside.runtime.dicom.object_header import Replaced

    series_uid = made.series_uid or _series_of(results / made.path)
    return Replaced(cast("Kind", made.kind), made.sop_class, made.sop_uid, series_uid)


def _series_of(file: Path) -> str:
    """Of an object that an earlier version put into the outbox, where its file is still there."""
    import pydicom

    try:
        return str(pydicom.dcmread(file, stop_before_pixels=True).SeriesInstanceUID)
    except (OSError, AttributeError, ValueError, pydicom.errors.InvalidDicomError):
        return ""
