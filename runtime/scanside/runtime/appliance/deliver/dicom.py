"""A DICOM peer as a destination: C-STORE, storage commitment, C-ECHO, and what it negotiates."""

from collections.abc import Callable, Sequence

from scanside.runtime.appliance.config import Config, DicomDestination
from scanside.runtime.appliance.deliver.association import Context, ContextError, associate
from scanside.runtime.appliance.deliver.classes import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    NAMES,
    VERIFICATION,
    wanted_of,
)
from scanside.runtime.appliance.deliver.commitment import Answers, ask
from scanside.runtime.appliance.deliver.labelmap import LabelmapQuestion
from scanside.runtime.appliance.deliver.retry import cannot_answer
from scanside.runtime.appliance.deliver.scu import store
from scanside.runtime.appliance.deliver.sender import Failed, Took
from scanside.runtime.appliance.deliver.status_codes import status_words
from scanside.runtime.appliance.store.database import Database
from scanside.runtime.appliance.store.records import Item
from scanside.runtime.errors import ScansideError


class PushModel:
    """Storage commitment of one peer."""

    def __init__(self, destination: DicomDestination, config: Config, answers: Answers) -> None:
        self._destination, self._config, self._answers = destination, config, answers

    @property
    def seconds(self) -> float:
        """As configured."""
        return self._destination.commitment_seconds

    @property
    def hindrance(self) -> str | None:
        """A listener on the loopback, where no peer off this machine calls back."""
        if self._destination not in self._config.unanswerable:
            return None
        return cannot_answer(self._config, self._destination)

    def ask(self, database: Database, items: Sequence[Item]) -> None:
        """See `commitment.ask`."""
        ask(self._destination, self._config, database, items, self._answers)

    def forget(self, transaction_uids: Sequence[str]) -> None:
        """See `Answers.forget`."""
        self._answers.forget(transaction_uids)


class DicomSender:
    """A peer that takes C-STORE."""

    def __init__(self, destination: DicomDestination, config: Config, answers: Answers) -> None:
        self._destination, self._config = destination, config
        self._labelmap = LabelmapQuestion(destination, config)
        self.commitment = PushModel(destination, config, answers) if destination.commits else None

    def prepare(self, database: Database) -> None:
        """Whether it takes LABELMAP."""
        self._labelmap.ask(database)

    def store(
        self,
        items: Sequence[Item],
        took_it: Took,
        failed: Failed,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """See `scu.store`."""
        store(self._destination, self._config, items, took_it, failed, stopped)

    def answers(self, seconds: float) -> str | None:
        """C-ECHO (PS3.4 annex A)."""
        name = self._destination.name
        try:
            with (
                associate(
                    self._destination, self._config, [Context(VERIFICATION)], seconds=seconds
                ) as association,
                association.within() as open_,
            ):
                status = getattr(open_.send_c_echo(), "Status", None)
        except ScansideError as error:
            return str(error)
        if status is None:
            return f"{name} takes associations and does not answer C-ECHO; check it."
        return None if status == 0 else f"{name} answers C-ECHO with {status_words(status)}."

    def refuses(self, seconds: float) -> str | None:
        """Negotiate every SOP class that it is to be sent, and send nothing."""
        wanted = wanted_of(self._destination)
        offered = list(dict.fromkeys([*wanted, COMPREHENSIVE_SR]))
        try:
            with associate(
                self._destination, self._config, [Context(one) for one in offered], seconds=seconds
            ) as association:
                taken = {one for one in offered if association.accepts(one)}
        except ContextError:
            taken = set()
        except ScansideError as error:
            return str(error)
        refused = [one for one in wanted if one not in taken]
        if not refused:
            return None
        names = ", ".join(NAMES[one] for one in refused)
        advice = "allow it there, or leave it out by a rule"
        if COMPREHENSIVE_3D_SR in refused and COMPREHENSIVE_SR in taken:
            advice += f"; it takes {NAMES[COMPREHENSIVE_SR]}: set comprehensive_sr = true for reports"
        return f"{self._destination.name} answers and does not take {names}; {advice}."
