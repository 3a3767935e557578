"""Measuring this machine, only when no patient waits for it."""

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, RichLog, Static

from scanside.runtime.appliance.store import orders
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.errors import ScansideError
from scanside.tui.bench.results import results_folder, stored_results
from scanside.tui.bench.runner import Run, busy_with, parse, proposal
from scanside.tui.commands import Place, bindings
from scanside.tui.format import Tone
from scanside.tui.question import Question
from scanside.tui.screen import ScansideScreen
from scanside.tui.tones import toned
from scanside.tui.widgets.confirm import ConfirmScreen


def _print(output: RichLog, words: str) -> None:
    output.write(words)


class BenchScreen(ScansideScreen):
    """One line of arguments, the output, and what earlier runs found."""

    HELP = """\
## Bench

Runs `scanside selftest …` or `scanside bench …` as a process of its own, with its output below. It starts only while
the queue is idle, and pauses the queue while it runs; the queue goes on when it has ended, or when this
terminal is closed.

`bench run BUNDLE` measures whole studies (phantoms of three sizes, or your own) and needs `scanside[bench]`;
`selftest BUNDLE` replays the bundle's golden cases; `bench peers` and `bench parity` compare with nnunetv2 and need an
nnU-Net model folder. Stored results are those in the folder
`benchmarks` of the data folder: write there with `-o`. Research use only.
"""
    BINDINGS: ClassVar[list[BindingType]] = bindings(Place.BENCH)

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None
        self._paused = False

    def compose_body(self) -> ComposeResult:
        """Command, state, output, stored results."""
        yield Input(proposal(self.work.config, self.work.now()), id="bench-arguments")
        yield Static(
            "Nothing runs. Enter starts the command above; e edits it.", id="bench-state", markup=False
        )
        with VerticalScroll(id="bench"):
            yield RichLog(id="bench-output", classes="panel", max_lines=2000, wrap=True)
            yield Static(id="bench-stored", classes="panel")

    def on_mount(self) -> None:
        """Show what is stored."""
        self.query_one("#bench-output").border_title = "Output"
        self.query_one(
            "#bench-arguments", Input
        ).cursor_position = 0  # its beginning is seen, however narrow it is
        self.query_one("#bench").focus()
        self.action_reload()

    @property
    def running(self) -> bool:
        """Whether a benchmark runs."""
        return self._run is not None

    def action_reload(self) -> None:
        """Read the stored results again."""
        folder = results_folder(self.work.config)
        for panel in self.query("#bench-stored").results(Static):
            self._show_stored(panel, folder)

    def _show_stored(self, panel: Static, folder: Path) -> None:
        panel.border_title = f"Stored results in {folder}"
        found: list[Content] = []
        for one in stored_results(folder):
            found.append(toned(f"{one.created}  {one.path.name}  ({one.schema})", Tone.PLAIN))
            found.append(toned(f"  {one.machine}", Tone.QUIET))
            found += [toned(f"  {words}", Tone.PLAIN) for words in one.headline]
            found += [toned(f"  ! {words}", Tone.WARN) for words in one.remarks]
        panel.update(Content("\n").join(found) if found else toned("None yet.", Tone.QUIET))

    def action_edit(self) -> None:
        """Type another command."""
        self.query_one("#bench-arguments").focus()

    @on(Input.Submitted, "#bench-arguments")
    def action_start(self) -> None:
        """Ask, pause the queue, run."""
        if self._run is not None:
            self.notify("A benchmark runs already; x stops it.")
            return
        try:
            arguments = parse(self.query_one("#bench-arguments", Input).value)
        except ScansideError as error:
            self._say(str(error))
            return
        self.query_one("#bench").focus()
        busy = busy_with(self.work.feed.cases.values())
        if busy is not None:
            self._say(busy)
            return
        self.app.run_worker(self._go(arguments), group="bench")

    async def _go(self, arguments: list[str]) -> None:
        """The queue is paused from the consent to the end, whatever the end is."""
        words = "The queue is paused while it runs: studies are received, none is computed."
        answer = await self.app.push_screen_wait(
            ConfirmScreen(Question("Start the benchmark?", (words,), (), "Start"))
        )
        if answer is None:
            return
        try:
            await asyncio.to_thread(self._pause)
            busy = busy_with(self.work.feed.cases.values())
            if busy is None:
                await self._follow(arguments)
            else:
                self._say(busy)
        except ScansideError as error:
            self._say(str(error))
        finally:
            self._run = None
            self._resume()
            self.work.feed.hurry()

    async def _follow(self, arguments: list[str]) -> None:
        output = self.query_one("#bench-output", RichLog)
        output.clear()
        results_folder(self.work.config).mkdir(mode=0o700, exist_ok=True)
        self._run = Run(arguments)
        self._say(f"▶ running: scanside {' '.join(arguments)}  (x stops it; the queue is paused)")
        code = await self._run.follow(lambda words: _print(output, words))
        self._say("✓ It has ended: exit code 0." if code == 0 else f"✗ It has ended with exit code {code}.")
        self.action_reload()

    def _pause(self) -> None:
        """Pause the queue, unless somebody else has: then it is theirs to resume."""
        with Database(self.work.config.database) as database:
            if not orders.is_paused(database):
                orders.pause_queue(database, True, self.work.actor)
                self._paused = True

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            with Database(self.work.config.database) as database:
                orders.pause_queue(database, False, self.work.actor)

    def _say(self, words: str) -> None:
        for line in self.query("#bench-state").results(Static):  # none any more when the terminal closes
            line.update(words)

    async def action_stop(self) -> None:
        """End what runs."""
        if self._run is not None:
            await self._run.stop()

    async def on_unmount(self) -> None:
        """Closing the terminal ends the benchmark and lets the queue go on."""
        if self._run is not None:
            await self._run.stop()
        self._resume()
