"""The masks of a result that is on disk, for a scanner that asks for them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.bundle import open_bundle
from scanside.runtime.errors import InputError
from scanside.runtime.images.read import read_image
from scanside.runtime.mrd.reply import Labelled, parts_of
from scanside.runtime.study.pipeline import read_recipe
from scanside.runtime.study.report import read_report
from scanside.runtime.volume import Geometry


@dataclass(frozen=True, eq=False)
class Result:
    """The mask of one sequence.

    Attributes:
        series_uid: Of the series it was drawn on.
        geometry: Its grid.
    """

    series_uid: str
    geometry: Geometry
    labelled: Labelled


def result_of(config: Config, case: Case) -> Iterator[Result]:
    """The masks of a case's result, as it was written.

    Raises:
        InputError: If the bundle that made it has been replaced, or a file is gone.
    """
    assert case.result is not None
    folder = config.results / case.result
    report = read_report(folder)
    bundle = open_bundle(Path(case.bundle) if case.bundle else config.service.bundle)
    if bundle.sha256 != report.bundle.sha256:
        raise InputError(
            f"The bundle was replaced after case {case.case_id} had been computed; compute it again."
        )
    series: dict[str, str | None] = {row.sequence: row.series_instance_uid for row in report.sequences}
    volumes = report.labels or {}
    for role, channels in read_recipe(bundle).channels.items():
        path = folder / f"{role}_mask.nii.gz"
        uid = series.get(channels[0])
        if not path.exists() or not uid:
            continue
        mask = read_image(path)
        labels = bundle.manifest.segmenters[role].plan.labels
        own = {
            name.removeprefix(f"{role} "): ml for name, ml in volumes.items() if name.startswith(f"{role} ")
        }
        values = mask.data[0].astype(np.dtype(labels.mask_dtype))
        yield Result(uid, mask.geometry, Labelled(values, own, parts_of(labels), bundle.sha256))
