"""Sentences of the library in the words of an appliance: no folders, no options, no names of files in the spool.

The library is also a command line, whose advice is of folders to pass and options to give. Whoever reads a queue or a
report in the archive can send images again and choose series; images are known to them by series and number.
"""

import re
from pathlib import Path

from scanside.runtime.errors import ImageReadError

_HASH = r"[0-9a-f]{20}"
_IMAGE = re.compile(rf"(?:[A-Z2-7]{{5}}-[A-Z2-7]{{5}}/)?(?:({_HASH})/)?({_HASH}(?:-[0-9a-f]{{12}})?\.dcm)")
_SERIES = re.compile(rf"(?:[A-Z2-7]{{5}}-[A-Z2-7]{{5}}/)?({_HASH})(?![\w.])")
"""Names in the spool: hashes, since UIDs come from the network."""
_VERB = re.compile(r"\b(?:pass|give|export|copy(?: or export)?|send or copy)\b")
_COMMAND = re.compile(
    r"--\w|\bfolders?\b|\bpaths?\b|\.nii|scanside|`|\bremove\b|\bdisk space\b|\bnumpy\b|\bfiles?\b"
)
_ADVICE = (
    (re.compile(r"choose \.nii\.gz"), "its mask is kept here"),
    (re.compile(r"add it, or name it with --\w+ PATH"), "send it too, or choose the series in the queue"),
    (re.compile(r"add it, or add the ADC map"), "send it too, or the ADC map"),
)
_SEND = "send the series again, or choose others in the queue"


def in_words(text: str, images: Path) -> str:
    """A sentence as it may stand in a queue and in a report.

    Args:
        images: Folder of the case in the spool, where names of files are looked up.
    """
    text = _IMAGE.sub(lambda found: _image(images, found[1], found[2]), text)
    text = _SERIES.sub(lambda found: _series(images, found[1]), text)
    what, semicolon, advice = text.rpartition("; ")
    if not semicolon:
        return text
    return f"{what}; {_advice(advice.rstrip('.'))}."


def _advice(words: str) -> str:
    for pattern, instead in _ADVICE:
        words = pattern.sub(instead, words)
    words = _VERB.sub("send", words)
    return _SEND if _COMMAND.search(words) else words


def _image(images: Path, folder: str | None, name: str) -> str:
    """One that is gone or damaged is still known by the others of its series."""
    number, series = _said(next(images.glob(f"{folder or '*'}/{name}"), None))
    if not number and folder is not None:
        series = _series(images, folder)
    return f"image {number} of {series}" if number else f"an image of {series}"


def _series(images: Path, name: str) -> str:
    return _said(next((images / name).glob("*.dcm"), None))[1]


def _said(file: Path | None) -> tuple[str, str]:
    """Instance number, and what a person calls the series; what cannot be read has neither."""
    from scanside.runtime.dicom.header import attribute, one_line, quiet, read_instance

    try:
        if file is None:
            return "", "a series"
        with quiet():
            header = read_instance(file).header
            words = [
                attribute(header, keyword)
                for keyword in ("SeriesNumber", "SeriesDescription", "InstanceNumber")
            ]
    except (ImageReadError, OSError):
        return "", "a series that cannot be read"
    number, description, instance = words
    name = "a series without a number" if number is None else f"series {number}"
    quoted = f" '{one_line(description)}'" if description else ""
    return "" if instance is None else str(instance), name + quoted
