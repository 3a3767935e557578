"""The bottom line: the keys of the screen. It draws text; Textual's own makes a dozen widgets anew at each change."""

from typing import Any

from textual.content import Content
from textual.events import Click
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Static

_META = "scanside.key"  # not @click, which is drawn as a link


class KeyLine(Static):
    """Keys with what they do, those that are not allowed now greyed; a click does what the key does."""

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._shown: list[tuple[str, str, str, bool]] = []

    def on_mount(self) -> None:
        """Follow the screen's bindings."""
        self.screen.bindings_updated_signal.subscribe(self, self._show)
        self.call_after_refresh(self._show, self.screen)

    def _show(self, screen: Screen[Any]) -> None:
        found: dict[str, tuple[str, str, str, bool]] = {}
        for _, binding, enabled, _ in screen.active_bindings.values():
            if binding.show:  # several keys of one action: the first one
                shown = (binding.key, self.app.get_key_display(binding), binding.description, enabled)
                found.setdefault(binding.description, shown)
        if self._shown != list(found.values()):
            self._shown = list(found.values())
            self.update(Content(" ").join(_key(*one) for one in self._shown))

    def on_click(self, event: Click) -> None:
        """As if the key had been pressed."""
        if key := event.style.meta.get(_META):
            self.app.simulate_key(key)


def _key(key: str, display: str, words: str, enabled: bool) -> Content:
    """`a Accept`."""
    if not enabled:
        return Content.styled(f"{display} {words}", "$quiet 60%")
    named = Content.assemble((display, "bold $footer-key-foreground"), f" {words}")
    return named.stylize(Style.from_meta({_META: key}))
