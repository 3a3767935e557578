"""How the appliance is. A thread gathers while the screen is looked at; nothing is asked of peers while it is not."""

import contextvars
import threading
import time
from collections.abc import Mapping
from typing import ClassVar

from textual import on
from textual import work as in_background
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical, VerticalScroll
from textual.message import Message
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from scanside.tui.bench.results import benchmark_words, results_folder
from scanside.tui.commands import Place, bindings
from scanside.tui.feed import Snapshot
from scanside.tui.screen import ScansideScreen
from scanside.tui.system import panels
from scanside.tui.system.survey import (
    BundleState,
    Echo,
    Survey,
    Surveyor,
    ask_peers,
    look_at_bundle,
    verify_bundle,
)
from scanside.tui.widgets.facts import Facts

COLUMNS = (
    {"service": "Service", "times": "Times of today"},
    {"machine": "Machine", "bundle": "Bundle", "peers": "Peers"},
)
LOOK_SECONDS = 2.0
ECHO_SECONDS = 180.0


class SystemScreen(ScansideScreen):
    """Machine, service, times, bundle, peers, log."""

    HELP = """\
## System

**Machine**: what this machine tells of itself; what it does not tell is said. **Service**: signs of life of its three
processes, and the queue. **Times of today**: from the last image to the result, and the computing in it; nearest-rank
quantiles. **Bundle**: every byte is hashed when this screen opens and with `I`. **Peers**: C-ECHO when this
screen opens, every three minutes, and with `E`. **Log**: the end of the audit log; the service
writes its own log to the place where it was started. Research use only.
"""
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide"), (170, "-vast")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.SYSTEM)

    class Surveyed(Message):
        """The thread has looked."""

        def __init__(self, survey: Survey) -> None:
            super().__init__()
            self.survey = survey

    class Asked(Message):
        """The peers have answered, or not."""

        def __init__(self, echoes: Mapping[str, Echo]) -> None:
            super().__init__()
            self.echoes = echoes

    class Verified(Message):
        """The bundle has been looked at."""

        def __init__(self, state: BundleState) -> None:
            super().__init__()
            self.state = state

    def __init__(self) -> None:
        super().__init__()
        self.survey = Survey(0.0)
        self.bundle = BundleState("", sound=None)
        self.echoes: Mapping[str, Echo] = {}
        self.asking = False
        self._log: list[str] = []
        self._benchmark = ""

    def compose_body(self) -> ComposeResult:
        """Panels, then the log."""
        with VerticalScroll(id="system"):
            with Container(id="panels"):
                for column in COLUMNS:
                    with Vertical(classes="column"):
                        for name, title in column.items():
                            yield Facts(id=name, title=title)
            with Vertical(id="log", classes="panel"):
                yield Input(placeholder="words that log lines must have", id="log-filter")
                yield VerticalScroll(Static(id="log-lines", markup=False), id="log-scroll")

    def on_mount(self) -> None:
        """Begin to gather."""
        self.query_one("#log").border_title = "Log: end of the audit log"
        self.query_one("#log-scroll").anchor()  # stays at the end until somebody scrolls
        self.query_one("#system").focus()
        self._benchmark = benchmark_words(results_folder(self.work.config))
        self._gather()
        self.action_verify()
        self.action_echo()
        self.set_interval(ECHO_SECONDS, self._echo_again)

    @in_background(thread=True, group="survey", exclusive=True)
    def _gather(self) -> None:
        """Look every few seconds, while somebody sees it."""
        surveyor = Surveyor(self.work.config)
        worker = get_current_worker()
        wait = 0.0
        while not worker.is_cancelled:
            if wait <= 0 and self.seen:
                self.post_message(self.Surveyed(surveyor.look(self.work.now())))
                wait = LOOK_SECONDS
            time.sleep(0.1)
            wait -= 0.1

    @on(Surveyed)
    def _surveyed(self, message: Surveyed) -> None:
        self.survey = message.survey
        self._show()

    def store_changed(self, snapshot: Snapshot) -> None:
        """Signs of life and the disk."""
        if self.seen:
            self._show()

    def on_resize(self) -> None:
        """Sparklines are as wide as their panel."""
        self._show()

    def _show(self) -> None:
        config, health, survey = self.work.config, self.work.feed.health, self.survey
        configured = self.work.configured
        width = self.query_one("#times").content_size.width
        facts = {
            "machine": panels.machine_panel(survey),
            "service": panels.service_panel(survey, health, config, configured),
            "times": panels.times_panel(survey, width, self._benchmark),
            "bundle": panels.bundle_panel(survey, self.bundle, configured),
            "peers": panels.peers_panel(
                survey, config, self.echoes, self.asking, self.work.now(), configured
            ),
        }
        for name, found in facts.items():
            self.query_one(f"#{name}", Facts).show(found)
        self._show_log()

    def _show_log(self) -> None:
        log = panels.log_lines(self.survey, self.query_one("#log-filter", Input).value)
        if log == self._log:
            return
        self._log = log
        self.query_one("#log-lines", Static).update("\n".join(log) or "No entry has these words.")

    def _echo_again(self) -> None:
        if self.seen:
            self.action_echo()

    def action_echo(self) -> None:
        """Ask every destination whether it answers."""
        if not self.asking and self.work.config.destinations:
            self.asking = True
            # A thread of its own: closing the terminal must not wait for a peer that does not answer.
            # It needs this context: that is how Textual finds the app to post to.
            asking = contextvars.copy_context()
            threading.Thread(target=asking.run, args=(self._ask,), name="echo", daemon=True).start()

    def _ask(self) -> None:
        self.post_message(self.Asked(ask_peers(self.work.config)))

    @on(Asked)
    def _asked(self, message: Asked) -> None:
        self.echoes, self.asking = message.echoes, False
        self._show()

    def action_verify(self) -> None:
        """Hash the bundle."""
        if self.work.configured:
            self._verify()

    @in_background(thread=True, group="verify", exclusive=True)
    def _verify(self) -> None:
        path = self.work.config.service.bundle
        for look in (look_at_bundle, verify_bundle):
            state = look(path)
            self.post_message(self.Verified(state))
            if state.sound is False:
                return

    @on(Verified)
    def _verified(self, message: Verified) -> None:
        self.bundle = message.state
        self._show()

    def action_filter(self) -> None:
        """Type words that log lines must have."""
        self.query_one("#log-filter").focus()

    @on(Input.Changed, "#log-filter")
    def _filtered(self) -> None:
        self._show_log()

    @on(Input.Submitted, "#log-filter")
    def _done(self) -> None:
        self.query_one("#system").focus()
