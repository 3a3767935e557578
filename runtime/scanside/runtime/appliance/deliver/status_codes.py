"""What peers answer with, in words. Comments of peers are left out: they may quote a patient."""

_STORE = {
    0x0110: "processing failure",
    0x0117: "invalid SOP instance",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0x0210: "duplicate invocation",
    0x0211: "unrecognised operation",
    0x0212: "mistyped argument",
}
_RANGES = (
    (0xA700, 0xA7FF, "out of resources"),
    (0xA900, 0xA9FF, "the object does not match its SOP class"),
    (0xC000, 0xCFFF, "it cannot understand the object"),
)
_DUPLICATE = 0x0111

_COMMITMENT = {
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0119: "class and instance conflict",
    0x0122: "SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}


def took(status: int) -> bool:
    """Whether a C-STORE status means that the peer has the object.

    That is success, a warning (PS3.4 B.2.3: 0001, 0107, 0116, Bxxx), or that it had it already (0111).
    """
    return status in (0x0000, 0x0001, 0x0107, 0x0116, _DUPLICATE) or 0xB000 <= status <= 0xBFFF


def status_words(status: int) -> str:
    """A failure of C-STORE or N-ACTION (PS3.4 table B.2-1, PS3.7 annex C), with its code."""
    words = _STORE.get(status) or _COMMITMENT.get(status)
    words = words or next((text for low, high, text in _RANGES if low <= status <= high), "failure")
    return f"{words}, status {status:04X}"


def commitment_words(reason: int | None) -> str:
    """A failure reason of storage commitment or STOW-RS (PS3.3 C.14.1.1, PS3.18 I.2.2), with its code."""
    if reason is None:
        return "no reason given"
    return f"{_COMMITMENT[reason]}, reason {reason:04X}" if reason in _COMMITMENT else status_words(reason)
