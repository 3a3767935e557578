"""A folder whose members carry the names of sequences: `t2w.nii.gz`, `dwi.nii.gz`, or folders of these names."""

from collections.abc import Collection
from pathlib import Path

from scanside.runtime.errors import InputError, UsageError
from scanside.runtime.images.files import ENDINGS, ending_of
from scanside.runtime.images.names import files_in
from scanside.runtime.study.records import SEQUENCES

_SHOWN = 6


def named_in(folder: Path, telling: Collection[str]) -> dict[str, Path]:
    """Sequence → its file or folder, where the folder's members carry the sequences' names.

    A DICOM study may hold a folder `ADC` among others; folders alone count when all of `telling` are there.
    """
    found: dict[str, list[Path]] = {}
    for path in files_in(folder):
        ending = ending_of(path)
        stem = path.name[: -len(ending)].lower() if ending else ""
        if stem in SEQUENCES:
            found.setdefault(stem, []).append(path)
    folders = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    if found or set(telling) <= set(folders):
        for name in (name for name in folders if name in SEQUENCES):
            found.setdefault(name, []).append(folders[name])
    for name, paths in found.items():
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            raise InputError(f"{folder} holds {name} more than once ({names}); keep one.")
    if not found and (images := [path.name for path in files_in(folder) if ending_of(path)]):
        raise UsageError(
            f"The images in {folder} do not carry the names of sequences ({', '.join(images[:_SHOWN])}); rename "
            f"them to t2w{ENDINGS[0]}, dwi{ENDINGS[0]} and adc{ENDINGS[0]}, or name them with --t2w, --dwi and --adc."
        )
    return {name: paths[0] for name, paths in found.items()}


def sidecar_b(path: Path) -> float | None:
    """The b-value in `dwi.bval` beside `dwi.nii.gz` (the one number of a file as dcm2niix writes it), or None."""
    ending = ending_of(path) or path.suffix
    sidecar = path.with_name(path.name[: -len(ending)] + ".bval")
    try:
        values = {float(word) for word in sidecar.read_text().split()}
    except (OSError, ValueError):
        return None
    return values.pop() if len(values) == 1 else None
