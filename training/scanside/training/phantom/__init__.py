"""A physics-based phantom cohort: plain abdominal MRI with a pancreatic lesion. Synthetic, not patients.

`make_study` makes one patient's study from a seed and an index, `write_dicom_study` writes it as a scanner would send
it, and `scanside phantom` writes a cohort.
"""

from scanside.training.phantom.study import PhantomStudy, make_study

VERSION = 2
"""Of the phantom: changes when the same seed gives other images (docs/adr/0017)."""

__all__ = ["VERSION", "PhantomStudy", "make_study"]
