"""`scanside radiomics extract` of a table, or of two folders: in parts, and again after an interruption."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from scanside.runtime.cli.batch import Batch, Many, divided
from scanside.runtime.errors import UsageError
from scanside.runtime.ledger import Ledger, parse_part
from scanside.runtime.lines import Recipe
from scanside.runtime.run import CaseResult, exit_code

if TYPE_CHECKING:
    from scanside.runtime.radiomics.config import RadiomicsConfig


def extract_many(
    source: Path | None,
    masks: Path | None,
    sequence: str,
    config: "RadiomicsConfig",
    out: Path | None,
    many: Many,
) -> int:
    """Measure every image of a table, or of a folder with its masks in another.

    Args:
        source: The table, or the folder of images.
        masks: The folder of masks; None with a table.

    Raises:
        UsageError: If there is no output folder, or the configuration has not a sequence.
        InputError: If the table or folder is not as it must be.
        OutputError: If a result is in the way.
    """
    from scanside.runtime.radiomics.batch import (
        FeatureSteps,
        check_sequences,
        tasks_of_folders,
        tasks_of_table,
    )
    from scanside.runtime.radiomics.config import dump_config

    if out is None:
        raise UsageError("Many images need a folder for their features; give one with -o.")
    assert source is not None
    if source.is_dir():
        if masks is None or not masks.is_dir():
            raise UsageError(
                f"{source} is a folder of images, so MASK is the folder of their masks; name it."
            )
        tasks = tasks_of_folders(source, masks, sequence, out)
    else:
        tasks = tasks_of_table(source, sequence, out)
    check_sequences(tasks, config)
    part = parse_part(many.part)
    made_by = Recipe(command="radiomics", configuration=hashlib.sha256(dump_config(config)).hexdigest())
    ledger = Ledger(out, None, made_by, part)
    work = divided(tasks, ledger, part, resume=many.resume, overwrite=many.overwrite)
    batch = Batch(work, ledger, "lines" if many.json_lines else "paths", _sentence)
    return exit_code(batch.run(FeatureSteps(config))) if work.order else 0


def _sentence(result: CaseResult) -> str:
    if result.features is None:
        return f"{result.name}: {result.status}: {result.reason}"
    absent = [one.reason for one in result.features.values() if one.value is None]
    found = len(result.features) - len(absent)
    why = f", {len(absent)} absent ({absent[0]})" if absent else ""
    return f"{result.name}: {sum(result.stages.values()) / 1000:.1f} s; {found} feature(s){why}"
