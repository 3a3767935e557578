"""Features that another program measured → the same measurements that `extract.py` makes.

A table has a patient a row (ids in the first column) or a patient a column (ids in the first row, as pyradiomics'
batch examples have it; leading columns are then parts of the feature's name, merged cells filled). Which one it is,
the ids of the labels tell.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scanside.runtime.arrays import Float64
from scanside.runtime.errors import InputError
from scanside.training.signature.sheets import read_rows
from scanside.training.signature.store import CROSS_VALIDATED, NONE, Measured, Measurements

_VOLUMES = ("shape_MeshVolume", "shape_VoxelVolume")
_IGNORED = "diagnostics"
"""Prefix of what pyradiomics writes beside its features."""


def read_table(table: Path, second: Path | None, labels: Path) -> tuple[Measurements, str]:
    """Read features, their repetition by a second segmentation, and labels.

    Args:
        labels: Ids in the first column, 0 or 1 in the second; its heading names the positive class.

    Returns:
        Measurements of all labelled patients as one `cross-validated` part, and the positive class's name.

    Raises:
        InputError: If a table cannot be understood or shares no patient with the labels.
    """
    known, positive = _labels(labels)
    names, first = _features(table, known)
    values = {(patient, CROSS_VALIDATED, NONE): row for patient, row in first.items()}
    if second is not None:
        again_names, again = _features(second, known)
        if set(again_names) != set(names):
            raise InputError(f"{second} has other features than {table}; give two tables of one extraction.")
        order = [again_names.index(name) for name in names]
        values |= {(patient, CROSS_VALIDATED, "second"): row[order] for patient, row in again.items()}
    volume = next((i for i, name in enumerate(names) if name.endswith(_VOLUMES)), None)
    patients = tuple(
        Measured(
            patient,
            CROSS_VALIDATED,
            known[patient],
            volume_ml=float(row[volume]) / 1000 if volume is not None else float("nan"),
        )
        for patient, row in first.items()
    )
    return Measurements(names, patients, values), positive


def _labels(path: Path) -> tuple[dict[str, bool], str]:
    head, *rows = read_rows(path)
    if len(head) < 2:
        raise InputError(f"{path} has one column; labels need an id and 0 or 1.")
    known: dict[str, bool] = {}
    for number, row in enumerate(rows, start=2):
        if row[1] not in ("0", "1"):
            raise InputError(f"{path}, row {number}: the label '{row[1]}' is neither 0 nor 1; correct it.")
        if row[0] in known:
            raise InputError(f"{path}, row {number}: patient {row[0]} occurs twice; keep one row a patient.")
        known[row[0]] = row[1] == "1"
    return known, head[1]


def _features(path: Path, known: dict[str, bool]) -> tuple[tuple[str, ...], dict[str, Float64]]:
    """Names of the features and patient → values (p,), for patients with a label, in the table's order."""
    rows = read_rows(path)
    across, down = set(rows[0]) & set(known), {row[0] for row in rows} & set(known)
    if not across and not down:
        raise InputError(f"{path} shares no patient with the labels; give tables with the same ids.")
    if len(across) > len(down):
        rows = _turned(rows, known)
    names, ids = rows[0][1:], [row[0] for row in rows[1:] if row[0] in known]
    if len(set(ids)) != len(ids) or len(set(names)) != len(names):
        raise InputError(f"{path} holds a patient or a feature twice; keep one each.")
    cells = [row[1:] for row in rows[1:] if row[0] in known]
    numbers = np.array([[_number(cell) for cell in row] for row in cells])
    use = [
        i
        for i, name in enumerate(names)
        if not name.startswith(_IGNORED) and np.isfinite(numbers[:, i]).any()
    ]
    return tuple(names[i] for i in use), dict(zip(ids, numbers[:, use], strict=True))


def _turned(rows: Sequence[Sequence[str]], known: dict[str, bool]) -> list[list[str]]:
    """A patient a row, from a patient a column."""
    lead = min(i for i, cell in enumerate(rows[0]) if cell in known)
    while lead > 1 and 2 * sum(np.isfinite(_number(row[lead - 1])) for row in rows[1:]) > len(rows):
        lead -= 1  # a column of numbers is a patient without a label
    names, above = [], [""] * lead
    for row in rows[1:]:
        above = [
            cell or (before if i + 1 < lead else "")
            for i, (cell, before) in enumerate(zip(row[:lead], above, strict=True))
        ]
        names.append("_".join(above))
    turned = [["", *names]]
    turned += [[rows[0][i], *(row[i] for row in rows[1:])] for i in range(lead, len(rows[0]))]
    return turned


def _number(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        return float("nan")
    return value if np.isfinite(value) else float("nan")
