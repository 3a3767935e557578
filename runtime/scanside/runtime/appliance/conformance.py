"""The DICOM Conformance Statement (PS3.2 annex N), made from the tables that the appliance works with.

`scanside serve --conformance` prints it; docs/conformance.md is a copy, which a test compares.
"""

from collections.abc import Iterable, Iterator, Sequence

from pydicom.uid import UID

from scanside.runtime.appliance.config import (
    Config,
    DicomArchive,
    DicomDestination,
    Fetch,
    Kind,
    Receive,
    Send,
    Service,
    Watch,
    WebReceive,
)
from scanside.runtime.appliance.deliver.association import EXPLICIT, IMPLICIT
from scanside.runtime.appliance.deliver.classes import COMMITMENT, NAMES, SENT
from scanside.runtime.appliance.deliver.status_codes import took
from scanside.runtime.appliance.fetch.dicom import FIND_KEYS, SCU_ROLES
from scanside.runtime.appliance.receive import incoming
from scanside.runtime.appliance.receive.classes import (
    COMPANIONS,
    DECODED,
    HIGH_THROUGHPUT,
    MR_IMAGES,
    PRIVATE,
    PROCEDURE_STEP,
    VERIFICATION,
)
from scanside.runtime.appliance.receive.mpps import STATUSES as STEP_STATUSES
from scanside.runtime.appliance.receive.stow import FAILURES
from scanside.runtime.record import Record

STATUSES: tuple[tuple[int, str], ...] = (
    (0x0000, "stored: file and row are on disk, a power cut loses nothing"),
    (
        incoming.DUPLICATE,
        "another data set with this SOP Instance UID is stored, or a corrected one is not allowed",
    ),
    (incoming.FAILED, "an unforeseen fault; send again"),
    (
        incoming.OUT_OF_RESOURCES,
        "disk or store is full, or the instance or its study is larger than configured",
    ),
    (incoming.NOT_ASKED_FOR, "an archive sent what it was not asked for"),
    (incoming.DOES_NOT_MATCH, "the data set is not the instance that was announced"),
    (incoming.NOT_UNDERSTOOD, "the data set cannot be parsed, or lacks a UID"),
)
"""What C-STORE is answered with (PS3.4 B.2.3)."""

_OBJECTS: dict[Kind, str] = {
    "seg": "segmentation", "sr": "report", "sc": "pictures", "key": "key images", "reject": "rejection note",
    "gsps": "outlines",
}  # fmt: skip
_TITLE = """# DICOM conformance statement

In the form of PS3.2 for the appliance of Scanside. Made by `scanside serve --conformance` from the tables that the
program works with; do not edit it. **Research use only.** What the objects contain:
[dicom-objects.md](dicom-objects.md); what is read and refused: [dicom-input.md](dicom-input.md).
"""


def conformance_statement() -> str:
    """The whole statement, in Markdown."""
    blocks = (_TITLE, *_overview(), *_receiver(), *_sender(), *_commitment(), *_web(), *_fetch(), *_rest())
    return "\n".join(blocks)


def _overview() -> Iterator[str]:
    yield "## 1 Overview\n"
    rows = [
        ("Verification", "yes", "yes"),
        ("Storage", "yes: results", "yes: studies"),
        ("Storage Commitment Push Model", "yes", "no"),
        ("Modality Performed Procedure Step", "no", "yes"),
        ("Query/Retrieve", "yes: series that a study lacks, on request", "no"),
        ("Modality Worklist, Print, Media", "no", "no"),
        ("STOW-RS (PS3.18 10.5)", "yes, as user agent: results", "yes, as origin server: studies"),
        (
            "QIDO-RS, WADO-RS (PS3.18 10.6, 10.4)",
            "yes, as user agent: series that a study lacks, on request",
            "no",
        ),
    ]
    yield _table(("network service", "as user (SCU)", "as provider (SCP)"), rows)
    yield (
        "One application entity receives; one sends and asks for commitment. IHE: Evidence Creator of "
        "AI Results (AIR).\n"
    )


def _receiver() -> Iterator[str]:
    receive = Receive()
    yield "## 2 Receiving (Storage SCP)\n"
    yield _table(
        ("policy", "value"),
        [
            ("AE title", f"`receive.ae_title`, default {receive.ae_title}; another called title is rejected"),
            (
                "callers",
                "`receive.callers`: calling AE title and address; others are rejected. An empty list takes all",
            ),
            ("associations at once", f"`receive.max_associations`, default {receive.max_associations}"),
            ("maximum PDU", f"`receive.max_pdu`, default {receive.max_pdu} bytes"),
            (
                "an idle association",
                f"aborted after `receive.idle_seconds`, default {receive.idle_seconds:g} s",
            ),
            ("asynchronous operations, SOP class extended and user identity negotiation", "none"),
            ("coercion", "none: the data set is stored byte for byte"),
        ],
    )
    yield "### Presentation contexts\n"
    for uid in (VERIFICATION, PROCEDURE_STEP):
        yield f"{_named(uid)}: Explicit and Implicit VR Little Endian, Explicit VR Big Endian.\n"
    rows = [(_named(uid), "read as images of the study") for uid in MR_IMAGES]
    rows += [(_named(uid), "kept with its study") for uid in (*COMPANIONS, *PRIVATE)]
    yield _table(("SOP class", "what becomes of it"), rows)
    yield "Each with these transfer syntaxes; of several in one context the first one of this list is accepted:\n"
    yield _list(_named(uid) for uid in DECODED)
    high = ", ".join(_named(uid) for uid in HIGH_THROUGHPUT)
    yield f"\nand, where the package `openjpeg` is installed, {high}.\n"
    yield "### Status codes of C-STORE\n"
    yield _table(("status", "meaning"), [(f"{code:04X}", words) for code, words in STATUSES])
    yield (
        "The Priority (0000,0700) of C-STORE counts: HIGH puts a study before others, beside the priority of its "
        "caller in `receive.callers`. LOW, which many senders say by default, counts as MEDIUM.\n"
    )
    yield "### Modality Performed Procedure Step (SCP)\n"
    yield (
        "N-CREATE and N-SET. Kept are the step's UID, its Study Instance UID, its state, and the images that its "
        "Performed Series Sequence names. IN PROGRESS keeps a study open (`receive.step_seconds`, default "
        f"{receive.step_seconds:g} s without a sign of life). COMPLETED completes it at once when its associations "
        "have ended, no other step of it is in progress, and every image that was named is here. DISCONTINUED is "
        "recorded with its reason's code, and silence completes the study as without a step. N-GET and "
        "N-EVENT-REPORT: none.\n"
    )
    yield _table(("status", "meaning"), [(f"{code:04X}", words) for code, words in STEP_STATUSES])


def _sender() -> Iterator[str]:
    send = Send()
    yield "## 3 Sending (Storage SCU)\n"
    rows = [
        (_OBJECTS[kind], _named(uid), _when(kind, uid)) for kind, classes in SENT.items() for uid in classes
    ]
    yield _table(("object", "SOP class", "when"), rows)
    yield (
        f"Offered transfer syntaxes: {_named(EXPLICIT)}, {_named(IMPLICIT)}. Objects are made explicit, "
        "uncompressed.\n"
    )
    taken = [f"{code:04X}" for code in (0x0000, 0x0001, 0x0107, 0x0111, 0x0116, 0xB000) if took(code)]
    yield (
        f"Statuses {', '.join(taken[:-1])} and Bxxx count as stored; all but 0000 are kept in the audit "
        "log. Any other, "
        f"or no answer, is tried again after {send.retry_seconds:g} s, doubled up to "
        f"{send.retry_most_seconds:g} s, until "
        f"a person gives it up. An answer is waited for {send.timeout_seconds:g} s (`send.timeout_seconds`).\n"
    )


def _when(kind: Kind, uid: str) -> str:
    if uid == SENT[kind][0]:
        return "on request" if kind in ("reject", "gsps") else "always"
    return "`labelmap`, where the peer negotiates it" if kind == "seg" else "`comprehensive_sr`"


def _commitment() -> Iterator[str]:
    send, destination = Send(), DicomDestination(name="x", ae_title="X", host="127.0.0.1", port=104)
    yield "## 4 Storage commitment (SCU)\n"
    yield (
        f"{_named(COMMITMENT)}: N-ACTION 1; N-EVENT-REPORT 1 and 2 are taken on the same association and "
        "on one that the "
        f"peer opens to port {send.commitment_port} (`send.commitment_port`), with or without role "
        "selection. Without an "
        f"answer within {destination.commitment_seconds:g} s (`commitment_seconds`) it is asked again under a new "
        "transaction. What the peer does not commit itself to is sent again. Local data are deleted only after it.\n"
    )


def _web() -> Iterator[str]:
    yield "## 5 DICOMweb (STOW-RS)\n"
    yield (
        "POST of `multipart/related; type=application/dicom` to `{url}/studies`, accepting `application/dicom+json`; "
        "bearer token from a file; HTTP 200, 202 and 409 are read by their Referenced and Failed SOP "
        "Sequences. There is "
        "no commitment.\n"
    )
    yield "### As origin server\n"
    yield (
        f"With `[receive.web]`, on port {WebReceive().port} (`receive.web.port`): POST of `multipart/related; "
        'type="application/dicom"`, with a Content-Length or in chunks, to `/studies` and `/studies/{study}`, also '
        "below one further path segment. The SOP classes, transfer syntaxes, limits and failure reasons are those of "
        "C-STORE; an instance is told of as stored when file and row are on disk. 200: all are stored, 202: some, 409: "
        "none, 503: none, for lack of room or because of too many requests at once; 400: the body is no multipart, "
        "parts before the fault are kept; 401 (no bearer token), 404, 411 and 415: "
        "nothing was read. The answer is `application/dicom+json`. There is no QIDO-RS or WADO-RS.\n"
    )
    yield _table(("further failure reason", "meaning"), [(f"{code:04X}", words) for code, words in FAILURES])


def _fetch() -> Iterator[str]:
    fetch = Fetch(archives=(DicomArchive(name="x", ae_title="X", host="127.0.0.1", port=104),))
    yield "## 6 Fetching (Query/Retrieve SCU, DICOMweb user agent)\n"
    yield (
        "Off unless `[fetch]` names an archive. When a study is complete, and a sequence that the bundle needs is not "
        "among its series, its archives are asked in their order for MR series of this study that are not here, or not "
        f"all. A study waits for it {fetch.seconds:g} s at most (`seconds`), with {fetch.tries} tries (`tries`).\n"
    )
    rows = [(_named(uid), role) for uid, role in SCU_ROLES]
    yield _table(("SOP class", "use as SCU"), rows)
    yield (
        f"Offered transfer syntaxes: {_named(EXPLICIT)}, {_named(IMPLICIT)}. Keys of C-FIND: "
        f"{', '.join(FIND_KEYS)}. No relational queries; of extended negotiation the role for C-GET alone. "
        "The destination of C-MOVE is `receive.ae_title`. An archive that brings what was asked for associates as "
        "`receive.callers` do, by its title and, where its `host` is an IP address, from there. "
        "Of it, and of every C-STORE that names us as move originator, only images are taken that were asked for, of "
        f"the same Patient ID as the study here; others are refused with {incoming.NOT_ASKED_FOR:04X}.\n"
    )
    yield (
        "DICOMweb: GET of `/studies/{study}/series` (application/dicom+json) and of `/studies/{study}/series/{series}` "
        '(`multipart/related; type="application/dicom"; transfer-syntax=*`), kept as parts of a STOW-RS request are.\n'
    )
    yield (
        "Earlier results: an archive with `priors = true` is asked for reports of the same Patient ID while a study "
        "comes in and is computed; no study waits for it. By DICOM: C-FIND at the levels STUDY (PatientID, StudyDate "
        "as a range, ModalitiesInStudy), SERIES (Modality) and IMAGE (SOPClassUID), then C-GET of single reports. By "
        "DICOMweb: GET of `/instances` with PatientID, Modality and StudyDate, and of "
        "`/studies/{study}/series/{series}/instances/{instance}`. A report is read if it states that Scanside wrote "
        "it, and used if patient, template, device and bundle agree; it is not stored.\n"
    )


def _rest() -> Iterator[str]:
    yield "## 7 Security\n"
    yield _list(
        (
            "Secure transport: BCP 195 (PS3.15 B.12) by mutual TLS 1.2 or 1.3, forward secrecy and "
            "authenticated encryption "
            "only; off this machine it is required unless the configuration says `plaintext = true`.",
            "Audit trail: an own hash chain in the store (`scanside audit`), not the messages of PS3.15 A.5.",
            "De-identification: Basic Application Confidentiality Profile with Clean Descriptors and "
            "Modified Dates options "
            "(`scanside deidentify`).",
        )
    )
    yield "\n## 8 Character sets\n"
    yield (
        "Received data sets keep theirs, whatever it is. Results have their source's Specific Character "
        "Set; where a label "
        "does not fit into it, ISO_IR 192.\n"
    )
    yield "## 9 IHE AI Results (AIR)\n"
    yield _table(
        ("what", "here"),
        [
            (
                "Evidence Creator: measurements, qualitative findings, regions, tracking identifiers, key images",
                "yes",
            ),
            ("Parametric maps, locations as points", "no"),
            ("Image Display, Imaging Document Consumer", "no"),
            (
                "Rejection notes (Imaging Object Change Management)",
                "as creator, of superseded results, on request",
            ),
            ("AI Workflow for Imaging (UPS)", "no"),
        ],
    )
    yield "## 10 Configuration\n"
    sections: dict[str, type[Record]] = {
        "service": Service,
        "receive": Receive,
        "fetch": Fetch,
        "send": Send,
        "watch": Watch,
    }
    keys = [f"`[{name}]` {', '.join(model.model_fields)}" for name, model in sections.items()]
    others = ", ".join(f"`[{name}]`" for name in Config.model_fields if name not in sections)
    yield _list(keys)
    yield f"\nand {others}: see [appliance.md](appliance.md)."
    yield ""


def _named(uid: str) -> str:
    name = NAMES.get(uid) or UID(uid).name
    return f"`{uid}`" if name == uid else f"{name} `{uid}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
