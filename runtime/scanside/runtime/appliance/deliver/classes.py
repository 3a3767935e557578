"""The SOP classes that are sent (PS3.6 table A-1), by kind of object: what `--check` asks a peer for."""

from scanside.runtime.appliance.config import Destination, DicomDestination, Kind

VERIFICATION = "1.2.840.10008.1.1"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.4"
PRESENTATION = "1.2.840.10008.5.1.4.1.1.11.1"
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
COMMITMENT = "1.2.840.10008.1.20.1"

NAMES = {
    SEGMENTATION: "Segmentation Storage",
    LABELMAP_STORAGE: "Label Map Segmentation Storage",
    COMPREHENSIVE_SR: "Comprehensive SR Storage",
    COMPREHENSIVE_3D_SR: "Comprehensive 3D SR Storage",
    SECONDARY_CAPTURE: "Multi-frame True Color Secondary Capture Image Storage",
    PRESENTATION: "Grayscale Softcopy Presentation State Storage",
    KEY_OBJECTS: "Key Object Selection Document Storage",
    COMMITMENT: "Storage Commitment Push Model",
}

SENT: dict[Kind, tuple[str, ...]] = {
    "seg": (SEGMENTATION, LABELMAP_STORAGE),
    "sr": (COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR),
    "sc": (SECONDARY_CAPTURE,),
    "key": (KEY_OBJECTS,),
    "reject": (KEY_OBJECTS,),
    "gsps": (PRESENTATION,),
}
"""Kind → its SOP classes; the first one is sent unless a destination is configured otherwise."""


def wanted_of(destination: DicomDestination) -> tuple[str, ...]:
    """What a destination has to take, each once: by its rule, and commitment."""
    rule = destination.rule
    kinds = dict.fromkeys(kind for status in rule.statuses for kind in rule.kinds_of(status))
    classes = [report_class(destination) if kind == "sr" else SENT[kind][0] for kind in kinds]
    return tuple(dict.fromkeys([*classes, *([COMMITMENT] if destination.commitment else [])]))


def report_class(destination: Destination) -> str:
    """The SOP class of reports for a destination."""
    return COMPREHENSIVE_SR if destination.wants_plain_reports else COMPREHENSIVE_3D_SR
