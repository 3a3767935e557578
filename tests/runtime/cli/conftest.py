import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from scanside.runtime.cli.main import run
from tests.support import phantoms
from tests.support.tiny_models import Tiny, write_model


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Outcome]


@pytest.fixture
def scanside(capfd: pytest.CaptureFixture[str]) -> Command:
    """Run a command line as the shell does, without a new process."""

    def call(*arguments: str | Path) -> Outcome:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Outcome(code, out, err)

    return call


def _export(root: Path, tiny: Tiny) -> Path:
    from scanside.export.nnunet import ExportOptions, export_nnunet
    from tests.support.onnx_exports import shared

    out = root / "tiny.bundle"
    with shared():
        export_nnunet(write_model(root, tiny), out, ExportOptions(), lambda sentence: None)
    return out


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of one channel, two folds, in fp32 and mixed."""
    return _export(tmp_path_factory.mktemp("one"), Tiny(folds=("0", "1")))


@pytest.fixture(scope="session")
def two_channel_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two channels."""
    return _export(
        tmp_path_factory.mktemp("two"), Tiny(normalization=("ZScoreNormalization", "NoNormalization"))
    )


@pytest.fixture(scope="session")
def write_image() -> Callable[..., Path]:
    """Write a volume in an oblique geometry."""

    def write(path: Path, shape: tuple[int, int, int] = (14, 26, 22), seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = sitk.GetImageFromArray(phantoms.image(shape, seed=seed)[0].astype(np.int16))
        image.SetSpacing((1.1, 0.9, 1.7))
        image.SetOrigin((-31.5, 12.25, 7.0))
        image.SetDirection((0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1))
        sitk.WriteImage(image, str(path))
        return path

    return write
