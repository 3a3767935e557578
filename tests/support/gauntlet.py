"""A child process that reads damaged DICOM files one after the other and says on stdout what became of each.

A process of its own, because what is looked for ends one: a crash of a decoder, a hang, memory without bound.
    python -m tests.support.gauntlet WORK COUNT SEED FILE...
"""

import faulthandler
import json
import resource
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom

from scanside.runtime.dicom.read import read_frames, read_series
from scanside.runtime.dicom.study import index_study
from scanside.runtime.errors import ScansideError
from scanside.runtime.study.read import read_study
from scanside.runtime.study.series_list import list_series
from tests.support.dicom_factory import Grid, write_series
from tests.support.mutate import mutations
from tests.support.sentences import assert_one_sentence

SECONDS = 150
"""A file that takes longer is a hang: the process ends with a traceback. (One takes 20 ms; decoders may take 30 s, and
are asked three times.)"""
MEMORY = 1 << 30
"""Bytes of address space beyond what the libraries take."""


def main(work: Path, count: int, seed: int, files: list[Path]) -> None:
    """One line of JSON a mutation, and one with the memory at the end."""
    alone, study = work / "alone", made_study(work / "study")
    alone.mkdir()
    names = {file.name: names_of(file) for file in files}
    bound_memory()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number, (name, content) in enumerate(mutations(files, count, seed)):
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        (alone / "IM0001.dcm").write_bytes(content)
        forbidden = names[name.split("-", 2)[2]]
        outcomes = [
            attempt(lambda: read_folder(alone), forbidden),
            attempt(lambda: read_one(alone), forbidden),
        ]
        if number % 10 == 0:  # as one file more in a good study
            (study / "IM9999.dcm").write_bytes(content)
            outcomes.append(attempt(lambda: read_study(study, ("t2w",)), forbidden))
        print(json.dumps({"name": name, "outcomes": outcomes}), flush=True)
    faulthandler.cancel_dump_traceback_later()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"before_mb": before / 1024, "peak_mb": peak / 1024}), flush=True)


def attempt(read: object, forbidden: tuple[str, ...]) -> str:
    """`read`, or the class of the refusal; an assertion if it is no sentence or says who the patient is."""
    try:
        read()  # type: ignore[operator]
    except ScansideError as error:
        words = str(error)
        assert_one_sentence(words)
        assert not [part for part in forbidden if part in words], words
        return type(error).__name__
    return "read"


def read_folder(folder: Path) -> None:
    """What the appliance and the terminal do with a study."""
    list_series(folder)
    for volume in index_study(folder).volumes:
        if volume.problem is None:
            read_frames(list(volume.frames), volume.path)


def read_one(folder: Path) -> None:
    """What `scanside segment` does with a series."""
    read_series(folder / "IM0001.dcm")


def names_of(file: Path) -> tuple[str, ...]:
    """What of a header must never be in a message: parts of the patient's name, the identity, the date of birth."""
    header = pydicom.dcmread(file, force=True, stop_before_pixels=True)
    words = [
        str(header.get("PatientName", "")).replace("^", " "), str(header.get("PatientBirthDate", "")),
        str(header.get("PatientID", "")),
    ]  # fmt: skip
    return tuple(part for line in words for part in line.split() if len(part) > 4)


def made_study(folder: Path) -> Path:
    """A T2 series that is read without complaint."""
    z, y, x = np.indices((16, 24, 24))
    body = 400 * np.exp(-(((y - 12) / 7) ** 2) - ((x - 12) / 8) ** 2)
    stored = (body + 5 + (z * 7 + y * 3 + x) % 5).astype(np.uint16)
    return write_series(
        folder, stored, Grid(step=6.0, pixel=(8.0, 8.0)), change=lambda _, d: setattr(d, "EchoTime", 90.0)
    )


def bound_memory() -> None:
    """A length of 4 GiB that is believed becomes a MemoryError, which nothing here catches for long."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), [Path(file) for file in sys.argv[4:]])
