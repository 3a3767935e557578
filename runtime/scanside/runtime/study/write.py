"""A result → its folder: everything is made beside it and moved in at the end, `result.json` last.

Whoever finds a `result.json` finds all files it names, made by the same run.
"""

import glob
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scanside.runtime.bundle import Bundle
from scanside.runtime.clock import Clock
from scanside.runtime.errors import OutputError, UsageError
from scanside.runtime.events import Listener, ignore
from scanside.runtime.images.files import atomic_write, folder_beside
from scanside.runtime.images.write import write_mask
from scanside.runtime.study.objects import (
    CAPTURE,
    KEY_IMAGES,
    OUTLINES,
    REJECTION,
    REPORT,
    REPORT_33,
    SEG_ENDING,
    ObjectOptions,
    draw_pictures,
    write_objects,
)
from scanside.runtime.study.overlay import write_overlay
from scanside.runtime.study.records import StudyResult
from scanside.runtime.study.report import RESULT, StudyReport, WrittenObject

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ENDINGS = ("_mask.nii.gz", SEG_ENDING, "_overlay.png")


def refuse_existing(out: Path, roles: tuple[str, ...], overwrite: bool) -> None:
    """See, before anything is computed, that results may be written to a folder.

    Raises:
        UsageError: If it is a file.
        OutputError: If it holds results and may not be overwritten.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give a folder with -o.")
    existing = existing_results(out, roles)
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more exist" if len(existing) > 1 else " exists"
        raise OutputError(f"{existing[0]}{more} already; add --overwrite or choose another -o.")


def existing_results(out: Path, roles: tuple[str, ...]) -> tuple[Path, ...]:
    """The files of a result, of these segmenters, that a folder holds; the report first."""
    return tuple(out / name for name in (RESULT, *_present(out, roles)) if (out / name).exists())


def write_result(
    result: StudyResult,
    bundle: Bundle,
    channels: Mapping[str, tuple[str, ...]],
    out: Path,
    report: Callable[[StudyResult, list[Path]], StudyReport],
    listener: Listener = ignore,
    evidence: Sequence["Dataset"] = (),
    options: ObjectOptions | None = None,
) -> StudyReport:
    """Write masks, pictures, DICOM objects and the report of a study.

    Files of an earlier run are replaced, others are left alone.

    Args:
        channels: Segmenter → its sequences; its mask lies on the grid of the first.
        report: Makes the document, of the result (with what writing adds to its warnings and stages) and the paths.
        listener: Told of the stage `write`.
        evidence, options: For DICOM objects: see `write_objects`.

    Returns:
        The document, with the DICOM objects that were written under `objects`.

    Raises:
        OutputError: If something cannot be written, or a Segmentation read again is not the mask; then nothing of it is
            left behind.
    """
    with folder_beside(out) as beside:
        clock = Clock(out.name if result.study is None else result.study.name, listener)
        with clock.stage("write"):
            pictures = draw_pictures(result, bundle, channels)
            for role, found in result.roles.items():
                assert result.study is not None
                geometry = result.study.images[channels[role][0]].volume.geometry
                write_mask(found.mask, geometry, beside / f"{role}_mask.nii.gz")
                write_overlay(pictures[role], beside / f"{role}_overlay.png")
            objects, warnings = write_objects(result, bundle, channels, beside, evidence, options, pictures)
        names = _present(beside, tuple(channels))
        result = replace(result, warnings=(*result.warnings, *warnings), stages={**result.stages, **clock.ms})
        document = report(result, [*(out / name for name in names), out / RESULT])
        written = tuple(
            WrittenObject(
                kind=made.kind,
                path=str(out / made.path.name),
                sop_class_uid=made.sop_class_uid,
                sop_instance_uid=made.sop_instance_uid,
                series_instance_uid=made.series_instance_uid,
            )
            for made in objects
        )
        document = document.model_copy(update={"objects": written})
        with atomic_write(beside / RESULT) as temporary:
            temporary.write_text(document.text())
        _move(beside, out, names, tuple(channels))
    return document


def _move(beside: Path, out: Path, names: list[str], roles: tuple[str, ...]) -> None:
    """Put the finished files in place. The old report goes first and the new one comes last."""
    if not out.exists():
        beside.chmod(0o755)
        beside.rename(out)
        return
    for name in (RESULT, *_present(out, roles)):
        with suppress(FileNotFoundError):
            (out / name).unlink()
    for name in (*names, RESULT):
        (beside / name).rename(out / name)


def _present(folder: Path, roles: tuple[str, ...]) -> list[str]:
    """The files in a folder that a run of these segmenters may write, but for the report, in order."""
    fixed = [
        *(f"{role}{ending}" for role in roles for ending in _ENDINGS),
        REPORT,
        REPORT_33,
        CAPTURE,
        KEY_IMAGES,
        REJECTION,
    ]
    outlines = [path for role in roles for path in sorted(folder.glob(f"{glob.escape(role)}{OUTLINES}*.dcm"))]
    return [name for name in fixed if (folder / name).exists()] + [path.name for path in outlines]
