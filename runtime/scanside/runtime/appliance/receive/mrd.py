"""MRD in: a session's images become instances of their study in the spool, as if they had come by DICOM.

From then on everything is the same: worklist, computation, report, outbox, audit. A session whose images have been
computed already gets their labels back, so that a retrospective reconstruction retrieves what took too long before.
"""

import itertools
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.receive.incoming import Announced, Conditions, Incoming
from scanside.runtime.appliance.receive.ledger import Ledger
from scanside.runtime.appliance.receive.results import Result, result_of
from scanside.runtime.appliance.receive.scp import Receiver, Sender
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import ENDED, State
from scanside.runtime.dicom.mr_image import EXPLICIT, MR_IMAGE, Slice, mr_image, table_of
from scanside.runtime.errors import InputError, OutputError, ScansideError, UsageError
from scanside.runtime.mrd.examination import read_examination
from scanside.runtime.mrd.instances import instances
from scanside.runtime.mrd.segmenting import Found, return_results
from scanside.runtime.mrd.series import magnitudes, stack
from scanside.runtime.mrd.server import MrdServer
from scanside.runtime.mrd.session import Reply, Session, Summary
from scanside.runtime.mrd.wire import Image, Limits

_LOOK_SECONDS = 0.2
_TABLE_MM = 0.1
"""How far the table may have moved between images of one frame of reference."""
_RETURNED = frozenset({State.SENDING, State.DONE})
"""States in which a result may leave the appliance: it is computed and, where that is asked for, accepted."""
_SETTLED = _RETURNED | ENDED | {State.REVIEW, State.PAUSED}
_COMPLETING_SECONDS = 3.0
"""How long a session waits for its study to be complete: a scanner is not held up for a sequence yet to come."""

log = logging.getLogger("scanside.receive")


def listen(config: Config, receiver: Receiver, ledger: Ledger, conditions: Conditions) -> MrdServer:
    """Listen for MRD sessions, in threads of their own, until the server is shut down.

    Raises:
        UsageError: If the port is taken.
    """
    mrd, spooling = config.mrd, Spooling(config, receiver, ledger, conditions)
    limits = Limits(session=int(mrd.max_session_mb * 1e6))
    allowed = set(mrd.callers)
    try:
        server = MrdServer(
            (mrd.host, mrd.port), spooling.answer, limits, lambda address: not allowed or address in allowed
        )
    except OSError as error:
        raise UsageError(
            f"{mrd.host}:{mrd.port} cannot be listened on ({error.strerror}); "
            "correct mrd.host or mrd.port, or stop what uses it."
        ) from error
    threading.Thread(target=server.serve_forever, args=(0.1,), name="mrd", daemon=True).start()
    log.info("listening for MRD on %s:%d", mrd.host, mrd.port)
    return server


class Spooling:
    """Answers sessions: what they bring is on disk and in the store before anything goes back."""

    def __init__(self, config: Config, receiver: Receiver, ledger: Ledger, conditions: Conditions) -> None:
        self._config, self._mrd = config, config.mrd
        self._receiver, self._ledger, self._conditions = receiver, ledger, conditions
        self._numbers = itertools.count(1)

    def answer(self, session: Session, reply: Reply) -> Summary:
        """Keep the images, return them, and the labels if there are some.

        Raises:
            OSError: If the other side is gone.
        """
        results: list[Found] = []
        started = time.monotonic()
        try:
            kept = self._keep(session, reply)
            results = self._results(session, kept, reply)
        except ScansideError as error:
            reply.tell("ERROR", str(error))
        return return_results(session, reply, results, started)

    def _keep(self, session: Session, reply: Reply) -> list[tuple[Image, Slice]]:
        """Everything or nothing of it is acknowledged.

        Raises:
            InputError: If the images do not say to which study they belong, or cannot be kept as DICOM.
            OutputError: If one was not taken.
        """
        made = instances(session.images, read_examination(session.header))
        if not made:
            reply.tell("INFO", "The session holds no magnitude images; nothing is kept.")
            return []
        study = made[0][1].study_uid
        self._refuse_moved_table(study, [one for _, one in made])
        for group in magnitudes(session.images):
            try:
                stack(group)
            except ScansideError as error:  # the study's result will say so, too
                reply.tell("WARNING", str(error))
        sender = Sender(f"mrd-{next(self._numbers)}", self._mrd.ae_title)
        refused: Counter[str] = Counter()
        try:
            for _, one in made:
                refusal = self._take(one, sender)
                refused.update([] if refusal is None else [refusal])
        finally:
            self._ledger.close_association(sender.association)
            self._receiver.ended(sender.association)
        if refused:
            (reason, count), *_ = refused.most_common()
            raise OutputError(f"{count} of {len(made)} images were not kept ({reason}); send them again.")
        case = self._ledger.case_of(study)
        reply.tell("INFO", f"{len(made)} images are kept as case {case}. Research use only.")
        return made

    def _take(self, one: Slice, sender: Sender) -> str | None:
        """Hand an instance to the receiver, as an association would; why it was refused, or None."""
        incoming = Incoming(self._conditions, lambda: Announced(MR_IMAGE, one.sop_uid, EXPLICIT))
        incoming.write(mr_image(one))
        refusal = self._receiver.take(incoming, sender)
        return None if refusal is None else refusal.reason

    def _refuse_moved_table(self, study: str, made: Sequence[Slice]) -> None:
        """Positions are relative to the isocentre: two series fit only where the table stood alike."""
        tables = [(one.frame_uid, one.table) for one in made]
        seen = {one.series_uid for one in made}
        for known in self._ledger.instances_of(study):
            if known.series_uid not in seen:
                seen.add(known.series_uid)
                with suppress(OSError):
                    before = table_of(self._conditions.spool.folder / known.path)
                    tables += [] if before is None else [before]
        first: dict[str, tuple[float, ...]] = {}
        for frame, table in tables:
            origin = first.setdefault(frame, table)
            if any(abs(a - b) > _TABLE_MM for a, b in zip(origin, table, strict=True)):
                raise InputError(
                    "The table stood elsewhere for other images of this study, so that MRD's positions do not fit "
                    "together; send the study by DICOM."
                )

    def _results(self, session: Session, kept: Sequence[tuple[Image, Slice]], reply: Reply) -> list[Found]:
        if not kept:
            return []
        study = kept[0][1].study_uid
        case = self._awaited(study)
        if case is None or case.state not in _RETURNED or case.result is None:
            reply.tell("WARNING", f"{_why_later(case)}; run the reconstruction again to retrieve the labels.")
            return []
        reply.tell(
            "INFO", f"The study's result is '{case.status}'; the report has the rest. Research use only."
        )
        series = {one.series_uid for _, one in kept}
        found = [one for one in result_of(self._config, case) if one.series_uid in series]
        return [pair for one in found if (pair := _placed(one, session)) is not None]

    def _awaited(self, study: str) -> Case | None:
        """The study's case, once its result may be returned or there will be none, or the time is up."""
        return _poll(lambda: self._ledger.case(study), self._mrd.answer_seconds)


def _poll(look: Callable[[], Case | None], seconds: float) -> Case | None:
    began = time.monotonic()
    while True:
        case, waited = look(), time.monotonic() - began
        incomplete = case is None or case.state is State.RECEIVING
        ended = case is not None and case.state in _SETTLED
        if ended or waited >= (min(seconds, _COMPLETING_SECONDS) if incomplete else seconds):
            return case
        time.sleep(_LOOK_SECONDS)


def _why_later(case: Case | None) -> str:
    if case is None or case.state is State.RECEIVING:
        return "The study is computed when all of it has come"
    if case.state is State.REVIEW:
        return "The study's result waits for a person to accept it"
    if case.state in ENDED | {State.PAUSED}:
        return f"The study is {case.state}; the worklist has the reason"
    return "The study is being computed"


def _placed(result: Result, session: Session) -> Found | None:
    """The stack of the session on whose grid the mask lies."""
    for group in magnitudes(session.images):
        with suppress(ScansideError):
            of = stack(group)
            if result.geometry.difference(of.volume.geometry) is None:
                return of, result.labelled
    return None
