"""A report of a study as small as it may be, for tests that need some result.json."""

from scanside.runtime.report import BundleName, DeviceUse
from scanside.runtime.study.report import StudyReport


def no_lesion(*, obtained: str = "cpu", why: str = "fastest") -> StudyReport:
    """A study in which no lesion was segmented.

    Args:
        obtained, why: The device that computed it.
    """
    return StudyReport(
        status="no lesion segmented",
        reason="No lesion was segmented.",
        reason_code="no-lesion",
        notice="Research use only.",
        synthetic=True,
        bundle=BundleName(name="b", version="1", sha256="0" * 64),
        device=DeviceUse(asked="auto", obtained=obtained, why=why, precision="fp32"),
        approximations=(),
        inputs=("t2w.nii.gz",),
        sequences=(),
        considered=(),
        outputs=("result.json",),
        objects=(),
        stages=(),
        labels={"t2w lesion": 0.0},
        lesions=(),
        signature=None,
        probability=None,
        distance=None,
        warnings=(),
        versions={},
    )
