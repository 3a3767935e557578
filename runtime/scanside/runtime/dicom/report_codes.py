"""Codes that a report is written with and read by: here without the libraries that either needs."""

from scanside.runtime.dicom.codes import Code, own_code

COMMENT: Code = ("121106", "DCM", "Comment")
VOLUME: Code = ("118565006", "SCT", "Volume")
DIAMETER: Code = ("L0JK", "IBSI", "Maximum 3D Diameter of a Mesh")
MM: Code = ("mm", "UCUM", "millimeter")
MM3: Code = ("mm3", "UCUM", "cubic millimeter")

STATUS = own_code("STATUS", "Status of the result")
STATUSES: dict[str, Code] = {
    "ok": own_code("OK", "ok"),
    "indeterminate": own_code("INDETERMINATE", "indeterminate"),
    "no lesion segmented": own_code("NO-LESION", "no lesion segmented (not a negative finding)"),
    "unsuitable input": own_code("UNSUITABLE", "unsuitable input"),
}
ABSENT = own_code("ABSENT", "Absent value and its reason")
FEATURE = own_code("FEATURE", "Feature of the signature")


def no_lesion(role: str) -> str:
    """What a report says, as a comment, of a segmenter that found none."""
    return f"No lesion was segmented on {role}. This is not a negative finding."
