"""A sentence for the user that programs can know by a word: screens sort by it, stores keep it."""

from collections.abc import Callable
from typing import Self

OTHER = "other"
"""Code of a sentence that has none."""


class Remark(str):
    """A sentence with a code. It is the sentence wherever text is wanted.

    Attributes:
        code: A few words joined by hyphens, such as `lesions-apart`. It stays when the sentence is worded anew.
    """

    code: str

    def __new__(cls, sentence: str, code: str) -> Self:
        """Make one."""
        made = super().__new__(cls, sentence)
        made.code = code
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        """For pickle: a remark goes from one process to another."""
        return str(self), self.code


def code_of(sentence: str) -> str:
    """The code of a sentence; `OTHER` for a plain one."""
    return sentence.code if isinstance(sentence, Remark) else OTHER


def reworded(sentence: str, change: Callable[[str], str]) -> str:
    """The sentence changed, with the code it had."""
    return Remark(change(sentence), sentence.code) if isinstance(sentence, Remark) else change(sentence)
