"""The terminal in lines of text: every change and every alarm in a line, and commands that are typed.

For screen readers and for terminals that show nothing but letters. The words, the guards and the questions are those of
the screens, since all of them read the same tables.
"""

import queue
import sys
import threading
import time
from collections.abc import Sequence
from typing import TextIO

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store import orders, worklist
from scanside.runtime.appliance.store.audit import person
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import ENDED
from scanside.runtime.errors import ScansideError
from scanside.tui.actions import ACTS, Subject, carried_out, name_of, question, why_not
from scanside.tui.alarms import alarms
from scanside.tui.commands import COMMANDS
from scanside.tui.feed import Feed, Snapshot
from scanside.tui.format import RESEARCH, result_sentence, spoken, state_words
from scanside.tui.question import Answer, Need
from scanside.tui.workplace import Workplace

_HELP = "list · show CASE · open CASE · pause-queue · resume-queue · help · quit, and of a case: "
_LISTED = 20


class Plain:
    """One person at a plain terminal."""

    def __init__(
        self,
        config: Config,
        *,
        configured: bool = True,
        keyboard: TextIO | None = None,
        out: TextIO | None = None,
    ) -> None:
        """Prepare it.

        Args:
            configured: As in `Workplace`.
            keyboard, out: Where commands come from and lines go to; None for stdin and stdout.
        """
        self._news: queue.Queue[Snapshot | str] = queue.Queue()
        self._keyboard, self._out = keyboard or sys.stdin, out or sys.stdout
        self._said: dict[str, str] = {}
        self._alarms: tuple[str, ...] = ()
        self._first = True
        self.work = Workplace(
            config=config,
            actor=person(),
            place=config.receive.ae_title,
            now=time.time,
            feed=Feed(config, self._news.put),
            configured=configured,
            opens="open CASE",
        )

    def run(self) -> int:
        """Until `quit`, the end of the input, or Ctrl-C."""
        self._say(RESEARCH)
        self.work.feed.start()
        threading.Thread(target=self._listen, name="keyboard", daemon=True).start()
        try:
            while True:
                news = self._news.get()
                if isinstance(news, Snapshot):
                    self._take(news)
                elif not self._obey(news.split()):
                    return 0
        except KeyboardInterrupt:
            return 0
        finally:
            self.work.feed.stop()
            self.work.pages.close()

    def _listen(self) -> None:
        """Lines of the keyboard; without a terminal nobody types, and it tells changes until it is ended."""
        interactive = self._keyboard.isatty() or self._keyboard is not sys.stdin
        for line in self._keyboard:
            self._news.put(line)
        if interactive:
            self._news.put("quit")

    def _say(self, words: str) -> None:
        text = "".join(letter if letter.isprintable() else "·" for letter in words)
        print(text, file=self._out, flush=True)

    def _take(self, snapshot: Snapshot) -> None:
        work = self.work
        work.feed.take(snapshot)
        work.alarms = alarms(
            work.feed.cases.values(), work.feed.health, work.config, work.now(), work.configured
        )
        clock = time.strftime("%H:%M:%S", time.localtime(work.now()))
        now = tuple(alarm.words for alarm in work.alarms)
        for words in now:
            if words not in self._alarms:
                self._say(f"{clock} alarm: {words}")
        for words in self._alarms:
            if words not in now:
                self._say(f"{clock} alarm over: {words}")
        self._alarms = now
        for case in reversed(snapshot.changed):
            line = self._line(case)
            known = self._said.get(case.case_id)
            ended_before = known is None and self._first and case.state in ENDED
            if known != line and not ended_before:
                self._say(f"{clock} {line}")
            self._said[case.case_id] = line
        self._first &= not snapshot.complete

    def _line(self, case: Case) -> str:
        parts = [
            f"{name_of(case, self.work.names)}: {state_words(case, working=self.work.feed.health.working).text}"
        ]
        if case.status is not None:
            parts.append(result_sentence(case).rstrip("."))
        parts += [f"warning: {spoken(one.sentence).rstrip('.')}" for one in case.warnings or ()]
        if case.reason and (case.status != "ok" or case.state in ENDED):
            parts.append(case.reason.rstrip("."))
        return "; ".join(parts)

    def _obey(self, words: Sequence[str]) -> bool:
        """One typed line; False when it was the last."""
        if not words:
            return True
        verb, *rest = words
        act = verb.removeprefix("study.")
        if verb in ("quit", "q"):
            return False
        if verb == "list":
            self._list()
        elif verb == "show" and rest:
            self._show(rest[0])
        elif verb == "open" and rest:
            self._open(rest[0])
        elif verb in ("pause-queue", "resume-queue"):
            self._pause(verb == "pause-queue")
        elif act in ACTS and act != "choose" and rest:
            self._act(act, rest[0], " ".join(rest[1:]))
        else:
            self._help()
        return True

    def _help(self) -> None:
        self._say(
            _HELP + " · ".join(f"{one.act} CASE" for one in COMMANDS if one.act and one.act != "choose")
        )
        self._say(
            "CASE is a case id or its beginning. A question is answered with yes, or with yes and the reason."
        )

    def _list(self) -> None:
        cases = sorted(self.work.feed.cases.values(), key=lambda case: -case.arrived)
        for case in cases[:_LISTED]:
            self._say(self._line(case))
        if len(cases) > _LISTED:
            self._say(f"and {len(cases) - _LISTED} earlier ones")
        for words in self._alarms:
            self._say(f"alarm: {words}")

    def _show(self, name: str) -> None:
        case = self._case(name)
        if case is not None:
            self._say(self._line(case))
            self._say(f"{case.series_count} series, {case.instances} images from {case.calling}")
            for act in ACTS:
                refusal = why_not(act, Subject(case), self.work)
                self._say(f"{act}: {refusal or 'possible'}") if act != "choose" else None

    def _open(self, name: str) -> None:
        """Show the images in a browser, since lines of text cannot: then the result may be accepted."""
        from scanside.tui.case.page import page, read_sheets  # imported when somebody wants it

        case = self._case(name)
        if case is None:
            return
        self._say("The page is being made …")
        try:
            data, sheets, troubles = read_sheets(self.work.config, case.case_id)
        except ScansideError as error:
            self._say(str(error))
            return
        for words in troubles:
            self._say(spoken(words))

        def seen() -> None:
            self.work.open(data.case)
            self._say(f"{case.case_id}: it was opened.")

        if not sheets:
            seen()  # as on the screen: the sentence why there are none stands in their place
            return
        text = page(data, sheets, names=self.work.names, now=self.work.now())
        self._say(self.work.pages.show(case.case_id, text, seen))

    def _case(self, name: str) -> Case | None:
        found = [case for case in self.work.feed.cases.values() if case.case_id.startswith(name.upper())]
        if len(found) != 1:
            self._say(f"{'No' if not found else 'More than one'} case id begins with {name}.")
            return None
        return found[0]

    def _act(self, act: str, name: str, reason: str) -> None:
        case = self._case(name)
        if case is None:
            return
        try:
            with Database(self.work.config.database) as database:  # what was just done is known there already
                subject = Subject(worklist.case(database, case.case_id) or case)
        except ScansideError as error:
            self._say(str(error))
            return
        if refusal := why_not(act, subject, self.work):
            self._say(refusal)
            return
        asked = question(act, [subject], self.work)
        for words in (asked.title, *(f"warning: {one}" for one in asked.warnings), *asked.lines):
            self._say(words)
        must = {Need.NONE: "yes or no?", Need.OPTIONAL: "yes, yes and a reason, or no?"}
        self._say(must.get(asked.need, "yes and the reason, or no?"))
        answer, given = self._answered()
        reason = given or reason
        if not answer or (asked.need is Need.REQUIRED and not reason):
            self._say("Nothing is done." if not answer else "Nothing is done: a reason has to be given.")
            return
        try:
            with Database(self.work.config.database) as database:
                self._say(carried_out(act, database, subject, Answer(reason or None), self.work.actor))
        except ScansideError as error:
            self._say(str(error))

    def _answered(self) -> tuple[bool, str]:
        """Yes or no, and the reason behind a yes. What the store tells meanwhile waits."""
        waiting: list[Snapshot] = []
        while isinstance(news := self._news.get(), Snapshot):
            waiting.append(news)
        for snapshot in waiting:
            self._news.put(snapshot)
        verb, _, reason = news.strip().partition(" ")
        return verb.lower() in ("yes", "y"), reason.strip()

    def _pause(self, paused: bool) -> None:
        try:
            with Database(self.work.config.database) as database:
                orders.pause_queue(database, paused, self.work.actor)
        except ScansideError as error:
            self._say(str(error))
