"""Archives of `nnUNetv2_export_model_to_zip`: unpacked for the time of an export, and the model in them found."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from scanside.runtime.errors import InputError

_PLANS = "plans.json"


@contextmanager
def unpacked(model: Path, configuration: str | None) -> Iterator[Path]:
    """The results folder meant: `model` itself, or the one in an archive.

    Args:
        model: Results folder, or a .zip file of `nnUNetv2_export_model_to_zip`.
        configuration: Which one, where the archive holds several, such as `3d_fullres`.

    Raises:
        InputError: If the archive cannot be read, or it is not clear which model is meant.
    """
    if not model.is_file():
        if configuration is not None and model.is_dir() and not model.name.endswith(f"__{configuration}"):
            raise InputError(f"{model} is not the configuration '{configuration}'; give its results folder.")
        yield model
        return
    with TemporaryDirectory(prefix="scanside-model-") as folder:
        try:
            with zipfile.ZipFile(model) as archive:
                wanted = [name for name in archive.namelist() if "/validation/" not in name]
                archive.extractall(folder, wanted)  # zipfile keeps every path inside the folder
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise InputError(
                f"{model} is neither a results folder nor a readable archive of nnUNetv2_export_model_to_zip; copy it "
                "again."
            ) from error
        yield _chosen(model, Path(folder), configuration)


def _chosen(model: Path, folder: Path, configuration: str | None) -> Path:
    folders = [path.parent for path in sorted(folder.rglob(_PLANS)) if "__" in path.parent.name]
    found = {path.name.rpartition("__")[2]: path for path in folders}
    if not found:
        raise InputError(
            f"{model} holds no nnU-Net v2 model: no folder <Trainer>__<Plans>__<configuration> is in it."
        )
    if configuration is None and len(found) == 1:
        return next(iter(found.values()))
    if configuration not in found:
        raise InputError(f"{model} holds {', '.join(sorted(found))}; choose one with --configuration.")
    return found[configuration]
