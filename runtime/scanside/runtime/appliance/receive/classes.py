"""What may be sent to us: SOP classes and transfer syntaxes.

MR images are what studies are computed from. The rest is what a scanner's automatic transfer sends along with them
(secondary captures, presentation states, key objects, reports, raw and private data): it is stored with its study and
otherwise left alone, since a refusal would mark the whole transfer as failed on the console. Images of other modalities
are not negotiated: a study routed here by mistake is to fail at its sender.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pynetdicom.presentation import PresentationContext

VERIFICATION = "1.2.840.10008.1.1"
PROCEDURE_STEP = "1.2.840.10008.3.1.2.3.3"
"""Modality Performed Procedure Step: when a scanner has made all images of a study."""

_STORAGE = "1.2.840.10008.5.1.4.1.1."
MR_IMAGES = (
    f"{_STORAGE}4",  # MR Image
    f"{_STORAGE}4.1",  # Enhanced MR Image
    f"{_STORAGE}4.3",  # Enhanced MR Color Image
    f"{_STORAGE}4.4",  # Legacy Converted Enhanced MR Image
)
COMPANIONS = (
    f"{_STORAGE}4.2",  # MR Spectroscopy
    f"{_STORAGE}7",  # Secondary Capture, and its four multi-frame kinds
    *(f"{_STORAGE}7.{number}" for number in range(1, 5)),
    *(f"{_STORAGE}11.{number}" for number in range(1, 13)),  # presentation states
    *(f"{_STORAGE}88.{number}" for number in (11, 22, 33, 34, 35)),  # SR: basic to extensible
    f"{_STORAGE}88.59",  # Key Object Selection
    f"{_STORAGE}66",  # Raw Data
    f"{_STORAGE}66.1",  # Spatial Registration
    f"{_STORAGE}66.2",  # Spatial Fiducials
    f"{_STORAGE}66.3",  # Deformable Spatial Registration
    f"{_STORAGE}66.4",  # Segmentation
    f"{_STORAGE}66.5",  # Surface Segmentation
    f"{_STORAGE}66.6",  # Tractography Results
    f"{_STORAGE}66.7",  # Label Map Segmentation
    f"{_STORAGE}67",  # Real World Value Mapping
    f"{_STORAGE}30",  # Parametric Map
    f"{_STORAGE}104.1",  # Encapsulated PDF
    f"{_STORAGE}104.2",  # Encapsulated CDA
    f"{_STORAGE}481.3",  # RT Structure Set
    *(f"{_STORAGE}9.{kind}" for kind in ("1.1", "1.2", "2.1", "5.1", "6.1")),  # ECG, pulse, respiration
)
PRIVATE = (
    "1.3.12.2.1107.5.9.1",  # Siemens CSA Non-Image
    "1.3.46.670589.11.0.0.12.1",  # Philips private MR spectrum
    "1.3.46.670589.11.0.0.12.2",  # Philips private MR series data
    "1.3.46.670589.11.0.0.12.4",  # Philips private MR ExamCards
)
STORED = MR_IMAGES + COMPANIONS + PRIVATE

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
DECODED = (
    EXPLICIT,
    IMPLICIT,
    BIG_ENDIAN,
    DEFLATED,
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51",  # JPEG Extended
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS near-lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
)
HIGH_THROUGHPUT = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203))  # HTJ2K


def transfer_syntaxes() -> tuple[str, ...]:
    """What is negotiated: what can be decoded here. A sender that is refused one sends another instead."""
    return DECODED + (HIGH_THROUGHPUT if find_spec("openjpeg") else ())


def contexts() -> "list[PresentationContext]":
    """Presentation contexts of the SCP."""
    from pynetdicom.presentation import build_context
    from pynetdicom.service_class import StorageServiceClass
    from pynetdicom.sop_class import register_uid

    for number, uid in enumerate(PRIVATE):
        register_uid(uid, f"ScansidePrivate{number}Storage", StorageServiceClass)
    syntaxes = list(transfer_syntaxes())
    plain = [EXPLICIT, IMPLICIT, BIG_ENDIAN]
    said = [build_context(uid, plain) for uid in (VERIFICATION, PROCEDURE_STEP)]
    return [*said, *(build_context(uid, syntaxes) for uid in STORED)]
