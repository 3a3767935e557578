"""What no model of pictures takes; their labels beside nnU-Net's are in test_matrix.py."""

from pathlib import Path

import pytest

from scanside.runtime.cli.main import run
from tests.support.kinds import PICTURE, colour, grey
from tests.support.phantoms import smooth
from tests.support.tiny_models import write_model


def test_what_does_not_fit_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A colour picture for a grey model, a volume, a mask in another format."""
    bundle = tmp_path / "bundle"
    assert (
        run(
            [
                "export",
                "nnunet",
                str(write_model(tmp_path, PICTURE)),
                "-o",
                str(bundle),
                "--precision",
                "fp32",
            ]
        )
        == 0
    )
    colour(tmp_path / "colour.png", smooth((40, 30), 1))
    grey(tmp_path / "grey.png", smooth((40, 30), 1))
    (tmp_path / "volume.nii.gz").touch()
    for image, out, code, words in (
        ("colour.png", "masks", 5, "takes 1 channel(s)"),
        ("volume.nii.gz", "masks", 5, "is no picture"),
        ("grey.png", "mask.nii.gz", 2, "is no mask of this model"),
    ):
        assert (
            run(["segment", str(bundle), str(tmp_path / image), "-o", str(tmp_path / out), "--device", "cpu"])
            == code
        )
        assert words in capfd.readouterr().err
    assert (
        run(
            [
                "segment",
                str(bundle),
                str(tmp_path / "grey.png"),
                "-o",
                str(tmp_path / "m.png"),
                "--device",
                "cpu",
            ]
        )
        == 0
    )
