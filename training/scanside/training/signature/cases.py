"""Patients as one structured array: whatever a fold may use of a patient travels in the patient's row.

scikit-learn splits, clones and hands on such an array like any other, so a step can only ever see the rows of its
fold: the repeated measurements for the stability filter, the scanner for ComBat, age and sex for the combined model.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scanside.runtime.arrays import Float64

Cases = npt.NDArray[np.void]
"""(n,) rows with the fields `values` (p), `measured` (k, p), `beside` (b), `batch`. NaN is an absent value."""

BESIDE = ("age", "sex", "log_volume", "adc_mean")
"""What is known of a patient beside the features: years, 1 for men, log of millilitres, 1e-6 mm²/s."""


def make_cases(
    values: Float64, measured: Float64, beside: Float64 | None = None, batch: Sequence[str] | None = None
) -> Cases:
    """Rows of patients.

    Args:
        values: (n, p) features.
        measured: (n, k, p) repeated measurements of them, k at least 1; only the stability filter looks at them.
        beside: (n, b) `BESIDE`, and what else is known; None when nothing is.
        batch: Scanner of each patient; None when all are one batch.
    """
    count, features = values.shape
    dtype = [
        ("values", np.float64, (features,)),
        ("measured", np.float64, (measured.shape[1], features)),
        ("beside", np.float64, (len(BESIDE) if beside is None else beside.shape[1],)),
        ("batch", f"U{max([1, *map(len, batch or [])])}"),
    ]
    cases: Cases = np.zeros(count, dtype=dtype)
    cases["values"], cases["measured"] = values, measured
    cases["beside"] = np.nan if beside is None else beside
    if batch is not None:
        cases["batch"] = list(batch)
    return cases


def keep(cases: Cases, support: npt.NDArray[np.intp]) -> Cases:
    """The same patients with some of the features, in the order of `support` (indices)."""
    kept = np.zeros(len(cases), dtype=_narrower(cases, len(support)))
    kept["values"], kept["measured"] = cases["values"][:, support], cases["measured"][:, :, support]
    kept["beside"], kept["batch"] = cases["beside"], cases["batch"]
    return kept


def replace_values(cases: Cases, values: Float64) -> Cases:
    """The same patients with other values of the features, (n, p)."""
    copy = cases.copy()
    copy["values"] = values
    return copy


def _narrower(cases: Cases, features: int) -> list[tuple[str, npt.DTypeLike, tuple[int, ...]]]:
    repeats = cases["measured"].shape[1]
    return [
        ("values", np.float64, (features,)),
        ("measured", np.float64, (repeats, features)),
        ("beside", np.float64, cases["beside"].shape[1:]),
        ("batch", cases["batch"].dtype, ()),
    ]
