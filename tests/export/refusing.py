"""An export that is refused: one sentence, and no file."""

from pathlib import Path

import pytest

from scanside.export.nnunet import ExportOptions, export_nnunet
from scanside.runtime.errors import InputError

FP32 = ExportOptions(precisions=("fp32",))


def refused(
    folder: Path, *words: str, options: ExportOptions = FP32, error: type[Exception] = InputError
) -> None:
    """Exporting raises one sentence with these words, and no file appears anywhere beside the model."""
    before = _files(folder.parents[1])
    with pytest.raises(error) as caught:
        export_nnunet(folder, folder.parents[1] / "out" / "bundle", options, lambda _: None)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message, message
    for word in words:
        assert word in message, message
    assert _files(folder.parents[1]) == before


def _files(root: Path) -> set[str]:
    """All of them but what Python itself keeps beside a trainer that was imported."""
    return {str(path) for path in root.rglob("*") if not path.is_dir() and path.suffix != ".pyc"}
