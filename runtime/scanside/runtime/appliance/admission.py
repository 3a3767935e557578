"""Which studies are computed at all: a knee sent by mistake becomes no report in the archive.

Decided on what the headers say of body part and study. A study that is not accepted is an `unsuitable input` of which
nothing is sent; a person who names its series overrides the rules.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from scanside.runtime.record import Record

ELSEWHERE = (
    "HEAD", "BRAIN", "SKULL", "ORBIT", "NECK", "SPINE", "CSPINE", "TSPINE", "LSPINE", "BREAST", "HEART", "SHOULDER",
    "ARM", "ELBOW", "WRIST", "HAND", "PELVIS", "HIP", "PROSTATE", "RECTUM", "UTERUS", "LEG", "KNEE", "ANKLE", "FOOT",
    "EXTREMITY",
)  # fmt: skip
"""Body Part Examined (PS3.16 annex L) of what is no abdomen."""
WORDS = ("prostat", "brain", "knee", "breast", "mamma", "cardiac", "shoulder")
"""How words of a study's description begin that is of no abdomen."""


class Accept(Record):
    """Rules of acceptance.

    Attributes:
        body_parts: Body Part Examined that a series must state, if any is given; one that states none is accepted.
        not_body_parts: Body Part Examined of series that do not count.
        not_words: How words of a study's description must not begin.
    """

    body_parts: tuple[str, ...] = ()
    not_body_parts: tuple[str, ...] = ELSEWHERE
    not_words: tuple[str, ...] = WORDS


@dataclass(frozen=True)
class SeriesFacts:
    """What a header says that rules of acceptance ask for; empty where it says nothing.

    Attributes:
        study: Descriptions of the study and of the requested procedure.
    """

    modality: str
    body_part: str
    study: str


def why_not(series: Iterable[SeriesFacts], rules: Accept) -> str | None:
    """Why a study is not accepted, as a sentence; None where it is."""
    images = [one for one in series if one.modality == "MR"]
    if not images:
        return "The study holds no MR images; nothing was computed and nothing is sent."
    for one in images:
        for word in rules.not_words:
            if re.search(rf"(?<![a-z]){re.escape(word.lower())}", one.study.lower()):
                return (
                    f"The study's description speaks of '{word}'; nothing was computed and nothing is sent."
                )
    if any(_counts(one.body_part, rules) for one in images):
        return None
    parts = ", ".join(sorted({one.body_part.upper() or "not stated" for one in images}))
    return (
        f"The study's body part is {parts}, which is not accepted; nothing was computed and nothing is sent."
    )


def _counts(body_part: str, rules: Accept) -> bool:
    part = body_part.upper()
    if part in {one.upper() for one in rules.not_body_parts}:
        return False
    return not part or not rules.body_parts or part in {one.upper() for one in rules.body_parts}
