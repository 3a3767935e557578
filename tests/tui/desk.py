"""A store as an appliance makes it, one case after the other, through the store's own functions."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from scanside.runtime.appliance.config import Config, DicomDestination, Receive, Service
from scanside.runtime.appliance.process import NAMES
from scanside.runtime.appliance.store import intake, jobs, orders, outbox, worklist
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case, Instance, Made, Outcome, Patient, Warned
from scanside.runtime.appliance.store.states import Action
from scanside.runtime.appliance.watch.heartbeat import beat
from scanside.tui.app import ScansideApp
from scanside.tui.widgets.confirm import ConfirmScreen

NOW = 1_767_960_000.0
"""2026-01-09 12:00:00 UTC."""
OPERATOR = "user Ada"
STAGES = {
    "read": 2000.0,
    "t2w: network": 24_000.0,
    "t2w: lesions": 1000.0,
    "radiomics": 9000.0,
    "classify": 20.0,
}
_SR = "1.2.840.10008.5.1.4.1.1.88.34"


class Desk:
    """Puts cases into every state there is."""

    def __init__(
        self, folder: Path, *, names: bool = False, bundle: Path | None = None, unopened: bool = True
    ) -> None:
        self.config = Config(
            service=Service(
                data=folder,
                bundle=bundle or folder / "no.bundle",
                research_use_only=True,
                show_names=names,
                open_before_accept=not unopened,
            ),
            receive=Receive(reserve_gb=5),
            destinations=(DicomDestination(name="PACS", ae_title="PACS", host="127.0.0.1", port=1),),
        )
        self.database = Database(self.config.database, create=True, durable=False)
        with self.database.transaction() as write:
            write.execute("UPDATE meta SET value = ? WHERE key = 'site_key'", ("5c" * 32,))
        self.live()

    def live(self) -> None:
        """All processes give a sign of life."""
        for name in NAMES:
            beat(self.config, name)

    def die(self) -> None:
        """All processes have been silent for hours."""
        for name in NAMES:
            os.utime(self.config.service.data / f"{name}.heartbeat", (0, 0))

    def receive(self, number: int, ago: float = 600.0, *, images: int = 6, complete: bool = True) -> str:
        study, at = f"1.2.826.0.{number}", NOW - ago
        for n in range(images):
            one = Instance(f"{study}.{n}", study, f"{study}.9{n % 3}", f"x/{n}", "a" * 64, 100)
            intake.add_instance(
                self.database, one, association=f"a{number}", calling="MR1",
                patient=Patient(f"ID{number}", f"Doe^Ann{number}"), most=100, now=at,
            )  # fmt: skip
        if complete:
            intake.close_association(self.database, f"a{number}", now=at)
            intake.complete_studies(self.database, quiet_seconds=0, series=None, now=at + 1)
        return next(case.case_id for case in worklist.cases(self.database) if case.study_uid == study)

    def run(self, number: int, ago: float = 600.0) -> str:
        case_id = self.receive(number, ago)
        job = self.case(case_id).job
        orders.prioritise(self.database, job, 9, "test")
        claimed = jobs.claim(self.database, "w", NOW - ago + 2)
        assert claimed is not None and claimed.job == job
        return case_id

    def progress(self, case_id: str, stage: str, done: int, total: int) -> None:
        assert jobs.progress(self.database, self.case(case_id).job, stage, done, total, time.time() + 900)

    def finish(
        self, number: int, ago: float = 600.0, *, status: str = "ok", hold: bool = False,
        sends: tuple[str, ...] = ("PACS",), chance: float | None = 0.71,
        warnings: tuple[Warned, ...] = (),
    ) -> str:  # fmt: skip
        case_id = self.run(number, ago)
        job = self.case(case_id).job
        made = [
            Made(kind, _SR, f"1.2.826.1.{number}.{kind}", f"{case_id}/{job}/{kind}.dcm")
            for kind in ("seg", "sr")
        ]
        low, high = (None, None) if chance is None else (chance - 0.13, chance + 0.11)
        reason = None if status == "ok" else f"The study is {status}."
        stages = {**STAGES, "queued": 1000.0, "total": sum(STAGES.values()) + 1000.0}
        result = Outcome(
            status, reason, chance, low, high, f"{case_id}/{job}", stages,
            tuple((name, one) for name in sends for one in made),
            positive=None if chance is None else "PDAC", named="PDAC" if status == "ok" else None, warnings=warnings,
        )  # fmt: skip
        jobs.succeed(self.database, job, result, hold=hold, now=NOW - ago + 40)
        return case_id

    def deliver(self, case_id: str) -> None:
        items = outbox.due(self.database, "PACS", now=NOW)
        outbox.stored(
            self.database, [one for one in items if one.case_id == case_id], commitment=False, now=NOW
        )

    def stick(self, case_id: str, ago: float = 60.0) -> None:
        for item in outbox.due(self.database, "PACS", now=NOW):
            if item.case_id == case_id:
                outbox.postponed(self.database, item, "The connection was refused.", 30, now=NOW - ago)

    def fail(self, number: int, ago: float = 600.0, *, tries: int = 1) -> str:
        case_id = self.run(number, ago)
        reason = "The network ran out of memory; free some."
        jobs.fail(self.database, self.case(case_id).job, "memory", reason, tries=tries, backoff=20, now=NOW)
        return case_id

    def act(self, case_id: str, action: Action, reason: str | None = None) -> None:
        jobs.act(self.database, self.case(case_id).job, action, "user Bob", reason, now=NOW)

    def case(self, case_id: str) -> Case:
        found = worklist.case(self.database, case_id)
        assert found is not None
        return found

    def one_of_each(self) -> dict[str, str]:
        """A case in every state, as a day leaves them; the latest arrival is receiving."""
        made = {"done": self.finish(1, 5 * 3600)}
        self.deliver(made["done"])
        for number, status in enumerate(("indeterminate", "no lesion segmented", "unsuitable input"), 2):
            made[status] = self.finish(
                number, (6 - number) * 3600, status=status, chance=0.5 if number == 2 else None
            )
            self.deliver(made[status])
        made["rejected"] = self.finish(5, 5400, hold=True)
        self.act(made["rejected"], Action.REJECT, "outline outside the pancreas")
        made["cancelled"] = self.receive(6, 5000)
        self.act(made["cancelled"], Action.CANCEL)
        made["quarantined"] = self.fail(7, 4000)
        made["tried again"] = self.fail(8, 3000, tries=3)
        made["stuck"] = self.finish(9, 2400)
        self.stick(made["stuck"])
        made["review"] = self.finish(10, 1800, hold=True, chance=0.64)
        made["paused"] = self.receive(11, 1200)
        self.act(made["paused"], Action.PAUSE)
        made["queued"] = self.receive(12, 900)
        made["running"] = self.run(13, 20)
        self.progress(made["running"], "t2w: network", 12, 30)
        made["receiving"] = self.receive(14, 10, images=2, complete=False)
        return made


def terminal(desk: Desk, *, theme: str = "dark", clock: Callable[[], float] = lambda: NOW) -> ScansideApp:
    """A terminal over a desk's store."""
    keys = desk.config.service.data / "keys.toml"
    return ScansideApp(desk.config, theme=theme, actor=OPERATOR, clock=clock, keys=keys)


async def until(pilot: Pilot[None], look: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Let the app work until something is so."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        await asyncio.sleep(0.01)
        await pilot.pause()


async def loaded(pilot: Pilot[None], app: ScansideApp) -> None:
    """Wait for the whole worklist."""
    await until(pilot, lambda: app.work.feed.loaded, "the worklist")
    await pilot.pause()


def text_of(app: ScansideApp) -> str:
    """What the terminal shows, line by line."""
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


async def seen(pilot: Pilot[None], app: ScansideApp, words: str) -> None:
    """Wait until the terminal shows words."""
    try:
        await until(pilot, lambda: words in text_of(app), words)
    except AssertionError:
        raise AssertionError(f"{words!r} is not on the screen:\n{text_of(app)}") from None


async def told(pilot: Pilot[None], app: ScansideApp, words: str) -> None:
    """Wait until the terminal has told something in passing; wants `run_test(notifications=True)`."""
    await until(
        pilot,
        lambda: any(words in note.message for note in app._notifications),
        f"{words!r} as a notification",
    )


def prepared(desk: Desk, state: str) -> str:
    """A case that is in a state."""
    make: dict[str, Callable[[], str]] = {
        "review": lambda: desk.finish(1, hold=True),
        "queued": lambda: desk.receive(1),
        "running": lambda: desk.run(1),
        "quarantined": lambda: desk.fail(1),
        "sending": lambda: desk.finish(1),
    }
    if state in make:
        return make[state]()
    case_id = desk.receive(1) if state != "done" else desk.finish(1)
    if state == "done":
        desk.deliver(case_id)
    else:
        desk.act(case_id, {"paused": Action.PAUSE, "cancelled": Action.CANCEL}[state])
    return case_id


async def confirmed(pilot: Pilot[None], app: ScansideApp, key: str, reason: str = "") -> None:
    """Press a key, give a reason, say yes, and wait until it is written."""
    await pilot.press(key)
    await until(pilot, lambda: isinstance(app.screen, ConfirmScreen), f"the question after {key}")
    await pilot.press(*reason, "enter")
    await app.workers.wait_for_complete()
    await pilot.pause()
