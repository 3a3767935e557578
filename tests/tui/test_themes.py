"""Every pair of colours that meets on a screen has the contrast that WCAG 2.2 calls AA (4.5 : 1), in every theme."""

import itertools

import pytest
from textual.color import Color
from textual.theme import Theme

from scanside.tui.themes import THEMES

TEXT = ("foreground", "success", "busy", "warning", "error", "quiet", "footer-key-foreground")
GROUNDS = ("background", "surface", "panel", "cursor")
LIT = (("background", "warning"), ("background", "error"), ("secondary", "surface"), ("accent", "surface"))
"""Words on a coloured ground: alarms; and headings."""


def colour(theme: Theme, name: str) -> Color:
    found = theme.variables.get(name) or getattr(theme, name.replace("-", "_"))
    return Color.parse(found)


def luminance(one: Color) -> float:
    """Relative luminance (WCAG 2.2, 1.4.3)."""
    parts = [part / 255 for part in one.rgb]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES.values(), ids=lambda theme: theme.name)
def test_words_can_be_read_on_every_ground(theme: Theme) -> None:
    pairs = [*itertools.product(TEXT, GROUNDS), *LIT]
    low = {
        (text, ground): round(ratio, 2)
        for text, ground in pairs
        if (ratio := contrast(colour(theme, text), colour(theme, ground))) < 4.5
    }
    assert not low


def test_the_measure_is_that_of_wcag() -> None:
    assert contrast(Color.parse("#000"), Color.parse("#fff")) == pytest.approx(21)
    assert contrast(Color.parse("#777"), Color.parse("#fff")) == pytest.approx(4.48, abs=0.01)
