"""Patients of a cohort through an exported bundle, one by one: the program that will run at the scanner."""

import time
from collections.abc import Callable, Iterator, Sequence

from scanside.runtime.bundle import Bundle
from scanside.runtime.choose import open_segmenter
from scanside.runtime.images.cases import CaseInput
from scanside.runtime.images.load import load_case
from scanside.runtime.options import Options
from scanside.runtime.segmenter import Segmentation
from scanside.runtime.volume import Volume
from scanside.training.cohort.table import Cohort, Patient
from scanside.training.segmentation.progress import minutes

Say = Callable[[str], None]


def load_patient(cohort: Cohort, patient: str, sequences: Sequence[str]) -> Volume:
    """A patient's images as the channels of one volume, in this order.

    Raises:
        InputError, GeometryError: As `load_case`.
    """
    files = tuple(cohort.image(patient, sequence) for sequence in sequences)
    return load_case(CaseInput(patient, files), len(files)).volume


def segment_each(
    cohort: Cohort,
    patients: Sequence[Patient],
    bundle: Bundle,
    options: Options,
    say: Say,
    words: str,
    *,
    probabilities: bool = False,
) -> Iterator[tuple[str, Volume, Segmentation]]:
    """Segment patients: (patient, volume, result), one after the other.

    Args:
        say: Told every ten patients how long it will take yet.
        words: What is being made, as in `masks of t2w`.
    """
    if not patients:
        return
    plan = bundle.manifest.segmenters[bundle.role(options.role)].plan
    sequences = [channel.name.lower() for channel in plan.channels]
    started, count = time.monotonic(), len(patients)
    with open_segmenter(bundle, options, lambda opening: say(f"{opening} …")) as segmenter:
        for number, one in enumerate(patients, start=1):
            volume = load_patient(cohort, one.patient, sequences)
            found = segmenter.segment(volume, case=one.patient, probabilities=probabilities)
            yield one.patient, volume, found
            if number % 10 == 0 or number == count:
                left = (time.monotonic() - started) / number * (count - number)
                say(f"{words}: {number} of {count} patients; {minutes(left)} left")
