"""The states of jobs and of objects to send, and every change that is allowed. Nothing else changes a state."""

from enum import StrEnum

from scanside.runtime.errors import UsageError


class State(StrEnum):
    """Of a job: one computation of one study."""

    RECEIVING = "receiving"
    """Instances of the study may still come."""
    QUEUED = "queued"
    """Waits for the worker, perhaps until a time."""
    PAUSED = "paused"
    """Waits for a person."""
    RUNNING = "running"
    REVIEW = "review"
    """Computed; a person has to accept the result before it is sent."""
    SENDING = "sending"
    DONE = "done"
    """Sent and, where asked for, committed; or there was nothing to send."""
    QUARANTINED = "quarantined"
    """Failed as often as the configuration allows."""
    REJECTED = "rejected"
    """A person rejected the result; it was not sent."""
    CANCELLED = "cancelled"


class Action(StrEnum):
    """What may happen to a job."""

    COMPLETE = "complete"
    MORE = "more"
    CLAIM = "claim"
    HOLD = "hold"
    RELEASE = "release"
    FINISH = "finish"
    TRY_AGAIN = "try again"
    QUARANTINE = "quarantine"
    ACCEPT = "accept"
    REJECT = "reject"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    SEND_AGAIN = "send again"
    REOPEN = "reopen"
    """A rejection is taken back: the result waits for review again."""


_S, _A = State, Action

TRANSITIONS: dict[tuple[State, Action], State] = {
    (_S.RECEIVING, _A.COMPLETE): _S.QUEUED,  # associations closed and quiet, or enough series
    (_S.QUEUED, _A.MORE): _S.RECEIVING,  # an instance came before the worker had begun
    (_S.PAUSED, _A.MORE): _S.RECEIVING,
    (
        _S.RUNNING,
        _A.MORE,
    ): _S.RECEIVING,  # its worker finds out and stops: a result of half a study helps nobody
    (_S.REVIEW, _A.MORE): _S.RECEIVING,
    (_S.QUEUED, _A.CLAIM): _S.RUNNING,
    (_S.RUNNING, _A.HOLD): _S.REVIEW,
    (_S.RUNNING, _A.RELEASE): _S.SENDING,
    (_S.RUNNING, _A.TRY_AGAIN): _S.QUEUED,  # it failed, or its worker died
    (_S.RUNNING, _A.QUARANTINE): _S.QUARANTINED,
    (_S.SENDING, _A.FINISH): _S.DONE,
    (_S.REVIEW, _A.ACCEPT): _S.SENDING,
    (_S.REVIEW, _A.REJECT): _S.REJECTED,
    (_S.REJECTED, _A.REOPEN): _S.REVIEW,  # nothing of it was sent
    (_S.QUEUED, _A.PAUSE): _S.PAUSED,
    (_S.PAUSED, _A.RESUME): _S.QUEUED,
    (_S.RECEIVING, _A.CANCEL): _S.CANCELLED,
    (_S.QUEUED, _A.CANCEL): _S.CANCELLED,
    (_S.PAUSED, _A.CANCEL): _S.CANCELLED,
    (_S.RUNNING, _A.CANCEL): _S.CANCELLED,  # its worker is stopped by the supervisor
    (_S.REVIEW, _A.CANCEL): _S.CANCELLED,
    (_S.QUARANTINED, _A.RETRY): _S.QUEUED,
    (_S.CANCELLED, _A.RETRY): _S.QUEUED,
    (_S.DONE, _A.SEND_AGAIN): _S.SENDING,
    (_S.SENDING, _A.SEND_AGAIN): _S.SENDING,
}
"""(state, action) → state."""

BY_PERSON = frozenset(
    {_A.ACCEPT, _A.REJECT, _A.PAUSE, _A.RESUME, _A.CANCEL, _A.RETRY, _A.SEND_AGAIN, _A.REOPEN}
)
"""Actions of a person, on the command line or in the terminal."""

ENDED = frozenset({_S.DONE, _S.QUARANTINED, _S.REJECTED, _S.CANCELLED})
"""States that nothing but a person changes."""


class Sending(StrEnum):
    """Of one object on its way to one destination."""

    WAITING = "waiting"
    SENT = "sent"
    """The peer has it; commitment has yet to be asked for."""
    AWAITING = "awaiting commitment"
    COMMITTED = "committed"
    DELIVERED = "delivered"
    """The peer has it, and no commitment is wanted."""
    ABANDONED = "abandoned"
    """A person gave it up."""


class Delivery(StrEnum):
    """What may happen to it."""

    STORED = "stored"
    REQUESTED = "requested"
    COMMIT = "commit"
    LOST = "lost"
    OVERDUE = "overdue"
    ABANDON = "abandon"
    AGAIN = "again"
    STORED_FOR_GOOD = "stored for good"


_O, _D = Sending, Delivery

DELIVERIES: dict[tuple[Sending, Delivery], Sending] = {
    (_O.WAITING, _D.STORED): _O.SENT,
    (_O.WAITING, _D.STORED_FOR_GOOD): _O.DELIVERED,
    (_O.SENT, _D.STORED_FOR_GOOD): _O.DELIVERED,  # commitment is no longer wanted
    (_O.AWAITING, _D.STORED_FOR_GOOD): _O.DELIVERED,
    (_O.SENT, _D.REQUESTED): _O.AWAITING,
    (_O.AWAITING, _D.COMMIT): _O.COMMITTED,
    (_O.SENT, _D.COMMIT): _O.COMMITTED,  # an answer to an earlier request
    (_O.WAITING, _D.COMMIT): _O.COMMITTED,
    (_O.AWAITING, _D.LOST): _O.WAITING,  # the peer does not have it after all
    (_O.SENT, _D.LOST): _O.WAITING,
    (_O.AWAITING, _D.OVERDUE): _O.SENT,  # no answer: ask again
    (_O.WAITING, _D.ABANDON): _O.ABANDONED,
    (_O.SENT, _D.ABANDON): _O.ABANDONED,
    (_O.AWAITING, _D.ABANDON): _O.ABANDONED,
    (_O.ABANDONED, _D.AGAIN): _O.WAITING,
    (_O.COMMITTED, _D.AGAIN): _O.WAITING,
    (_O.DELIVERED, _D.AGAIN): _O.WAITING,
    (_O.WAITING, _D.AGAIN): _O.WAITING,
}
"""(state, delivery) → state."""

ARRIVED = frozenset({_O.COMMITTED, _O.DELIVERED})
SETTLED = ARRIVED | {_O.ABANDONED}
"""Nothing more is to be done."""


class NotAllowedError(UsageError):
    """The job is in a state that does not allow the action, perhaps since a moment ago."""
