"""What a meaning looks like: one table from tone to the theme's colour, and words in it."""

from collections.abc import Mapping

from textual.content import Content

from scanside.tui.format import Tone, Words

STYLES: Mapping[Tone, str] = {
    Tone.GOOD: "$success",
    Tone.BUSY: "$busy",
    Tone.WARN: "$warning",
    Tone.BAD: "$error",
    Tone.QUIET: "$quiet",
    Tone.PLAIN: "",
}
"""Tone → the theme's colour; nothing for that of all text."""


def toned(words: str, tone: Tone, bold: bool = False) -> Content:
    """Words in the colour of a meaning."""
    return Content.styled(words, f"{'bold ' if bold else ''}{STYLES[tone]}".strip())


def quiet(words: str) -> Content:
    """Words that matter less."""
    return toned(words, Tone.QUIET)


def said(words: Words, bold: bool = False) -> Content:
    """A state: symbol, words, colour."""
    return toned(str(words), words.tone, bold)


def component_css(widget: str, prefix: str) -> str:
    """Rules for the component classes `prefix--good` and so on of a widget that draws its own lines."""
    return "\n".join(
        f"{widget} > .{prefix}--{tone} {{ color: {style or '$foreground'}; }}"
        for tone, style in STYLES.items()
    )
