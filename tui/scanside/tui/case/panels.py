"""The panels of an open case. No widget is known here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.content import Content

from scanside.tui.case.course import delivery_panel, history_panel, run_panel, series_panel
from scanside.tui.case.findings import lesions_panel, result_panel, signature_panel
from scanside.tui.case.glance import Glance


@dataclass(frozen=True)
class Panel:
    """A panel: what it is called, and what makes it."""

    name: str
    title: str
    build: Callable[[Glance], Content]


PANELS: Sequence[Panel] = (
    Panel("result", "Result", result_panel),
    Panel("lesions", "Lesions", lesions_panel),
    Panel("signature", "Signature", signature_panel),
    Panel("series", "Series", series_panel),
    Panel("run", "Run", run_panel),
    Panel("delivery", "Delivery", delivery_panel),
    Panel("history", "History", history_panel),
)
"""In the order of their tabs."""
