"""The peers as commands: what a user waits for who types one."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scanside.benchmarks.processes import Finished, run_measured
from scanside.benchmarks.staging import StagedCase
from scanside.benchmarks.warm import NAMES, Mask, Setup
from scanside.runtime.errors import CaseError, ExtraMissingError
from scanside.runtime.images.read import read_image

NNUNET = "nnUNetv2_predict_from_modelfolder"
_HELP = {"nnunetv2": ["-h"], "scanside": ["segment", "--help"]}


@dataclass(frozen=True, eq=False)
class ColdRun:
    """One command on one image."""

    took: Finished
    mask: Mask


class ColdPeers:
    """Runs the two commands on staged cases."""

    def __init__(self, setup: Setup, ending: str, folder: Path) -> None:
        """Find the commands.

        Args:
            ending: Of the masks that nnunetv2 writes.
            folder: For masks and logs.

        Raises:
            ExtraMissingError: If a command is not installed.
        """
        self._setup, self._ending, self._folder = setup, ending, folder
        self._programs = {"nnunetv2": _program(NNUNET), "scanside": _program("scanside")}

    def warm_files(self) -> None:
        """Run both for their help: libraries then come from the file cache for both, as they do on any second day."""
        for name in NAMES:
            run_measured([str(self._programs[name]), *_HELP[name]], self._folder / f"{name}-help.log")

    def run(self, name: str, case: StagedCase) -> ColdRun:
        """Run one command on one case.

        Raises:
            CaseError: If the command fails or writes no mask.
        """
        out = self._folder / f"{name}-{case.name}"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        mask = out / f"{case.name}{self._ending}"
        words = _words(name, self._setup)
        files = [str(file) for file in case.files]
        places = {"MODEL_FOLDER": str(self._setup.model), "BUNDLE": str(self._setup.bundle)}
        places |= {"IMAGES": str(case.folder), "OUT": str(out), "MASK": str(mask)}
        command = [str(self._programs[name])]
        for word in words:
            command += files if word == "IMAGE" else [places.get(word, word)]
        took = run_measured(command, self._folder / f"{name}.log")
        if not mask.is_file():
            raise CaseError(f"{command[0]} ended well but wrote no {mask.name}.")
        return ColdRun(took, read_image(mask).data[0].astype(np.uint16))

    def commands(self) -> dict[str, list[str]]:
        """Both command lines, with names in place of paths."""
        programs = {"nnunetv2": NNUNET, "scanside": "scanside"}
        return {name: [programs[name], *_words(name, self._setup)] for name in NAMES}


def _words(name: str, setup: Setup) -> list[str]:
    """The arguments of a command; words in capitals stand for paths."""
    if name == "nnunetv2":
        words = ["-i", "IMAGES", "-o", "OUT", "-m", "MODEL_FOLDER", "-f", *setup.folds]
        words += ["-device", "cpu", "-npp", "1", "-nps", "1"]
        return words if setup.mirroring else [*words, "--disable_tta"]
    words = ["segment", "BUNDLE", "IMAGE", "-o", "MASK", "--device", setup.device]
    words += ["--folds", ",".join(setup.folds)]
    return words if setup.mirroring else [*words, "--no-mirroring"]


def _program(name: str) -> Path:
    """The command of this environment, before one that happens to be on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise ExtraMissingError(f"The command {name} is not installed; run: pip install 'scanside[bench]'.")
    return Path(found)
