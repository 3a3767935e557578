"""The peers as commands: what a user waits for who types one, for one case or a folder of them."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scanside.benchmarks.kinds import LOOP_SCRIPT, PeerKind
from scanside.benchmarks.processes import Spent, run_measured
from scanside.benchmarks.warm import Setup
from scanside.runtime.arrays import LabelMask
from scanside.runtime.errors import CaseError, ExtraMissingError
from scanside.runtime.extras import install_command
from scanside.runtime.images.read import read_image

_PROGRAMS = {
    "nnunetv2": ("nnUNetv2_predict_from_modelfolder",),
    "scanside": ("scanside", "segment"),
    "onnx-loop": ("python", "naive_loop.py"),
}


@dataclass(frozen=True, eq=False)
class ColdRun:
    """What one command on a folder of images took, and its masks by the name of the case."""

    spent: Spent
    masks: dict[str, LabelMask]


@dataclass(frozen=True)
class ColdPeers:
    """Runs the commands on folders of `<case>_0000<ending>` images.

    Attributes:
        ending: Of the masks that nnunetv2 writes.
        folder: For masks and logs.
        ceiling_mib: Memory at which a command is ended.
    """

    setup: Setup
    ending: str
    folder: Path
    ceiling_mib: float

    def warm_files(self, kinds: Sequence[PeerKind]) -> None:
        """Run each for its help, or its imports: libraries then come from the file cache, as on any second day."""
        for program in dict.fromkeys(kind.program for kind in kinds):
            words = {"onnx-loop": ["python", "-c", "import onnxruntime, scipy.ndimage, SimpleITK"]}
            command = words.get(program, [*_PROGRAMS[program], "--help" if program == "scanside" else "-h"])
            run_measured([str(_program(command[0])), *command[1:]], self.folder / f"{program}-help.log")

    def run(self, kind: PeerKind, images: Path, cases: Sequence[str]) -> ColdRun:
        """Run one command on a folder.

        Args:
            cases: Names of the cases in it.

        Raises:
            EndedByMemory: If it needs more memory than the ceiling.
            CaseError: If the command fails or a mask is missing.
        """
        name = kind.name.replace(":", "-")
        out = self.folder / f"{name}-masks"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        places = {
            "MODEL_FOLDER": self.setup.model, "BUNDLE": self.setup.bundle, "IMAGES": images, "OUT": out,
            "naive_loop.py": LOOP_SCRIPT,
        }  # fmt: skip
        program, *words = self.command(kind)
        command = [str(_program(program)), *(str(places.get(word, word)) for word in words)]
        spent = run_measured(command, self.folder / f"{name}.log", ceiling_mib=self.ceiling_mib)
        masks = {case: out / f"{case}{self.ending}" for case in cases}
        for mask in masks.values():
            if not mask.is_file():
                raise CaseError(f"{kind.name} ended well but wrote no {mask.name}.")
        return ColdRun(
            spent, {case: read_image(mask).data[0].astype(np.uint16) for case, mask in masks.items()}
        )

    def command(self, kind: PeerKind) -> list[str]:
        """The command line; words in capitals stand for paths."""
        setup, folds = self.setup, ",".join(self.setup.folds)
        start = list(_PROGRAMS[kind.program])
        if kind.program == "nnunetv2":
            words = ["-i", "IMAGES", "-o", "OUT", "-m", "MODEL_FOLDER", "-f", *setup.folds]
            words += ["-device", "cpu", "-npp", "1", "-nps", "1"]
            return [*start, *words, *([] if setup.mirroring else ["--disable_tta"])]
        if kind.program == "onnx-loop":
            mirroring = "mirroring" if setup.mirroring else "no-mirroring"
            return [*start, "BUNDLE", "IMAGES", "OUT", folds, mirroring]
        words = ["BUNDLE", "IMAGES", "-o", "OUT", "--device", kind.device, "--precision", kind.precision]
        words += ["--folds", folds]
        return [*start, *words, *([] if setup.mirroring else ["--no-mirroring"])]


def _program(name: str) -> Path:
    """The command of this environment, before one that happens to be on the path.

    Raises:
        ExtraMissingError: If it is not installed.
    """
    if name == "python":
        return Path(sys.executable)
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        extra = "export" if name.startswith("nnUNet") else "bench"
        raise ExtraMissingError(f"The command {name} is not installed; run: {install_command(extra)}.")
    return Path(found)
