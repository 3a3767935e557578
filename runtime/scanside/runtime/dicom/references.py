"""References to objects of a study by series (PS3.3 table C.17-3, Hierarchical SOP Instance Reference Macro)."""

from collections.abc import Sequence

from pydicom.dataset import Dataset

from scanside.runtime.dicom.object_header import Replaced


def references(study_uid: str, objects: Sequence[Replaced]) -> list[Dataset]:
    """One item for the study, with an item for each series."""
    by_series: dict[str, list[Dataset]] = {}
    for one in objects:
        item = Dataset()
        item.ReferencedSOPClassUID = one.sop_class_uid
        item.ReferencedSOPInstanceUID = one.sop_instance_uid
        by_series.setdefault(one.series_instance_uid, []).append(item)
    study = Dataset()
    study.StudyInstanceUID = study_uid
    study.ReferencedSeriesSequence = []
    for series_uid, items in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID, series.ReferencedSOPSequence = series_uid, items
        study.ReferencedSeriesSequence.append(series)
    return [study]
