"""Limits: who may call, how much room there has to be, and how often the same thing is said."""

import ipaddress
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scanside.runtime.appliance.config import DicomArchive, Receive
from scanside.runtime.errors import UsageError

_REMEMBERED = 1000
_WELL_AGAIN = 1 << 24
"""Bytes above the reserve that end an episode: it is not to end with every deleted file."""


@dataclass(frozen=True)
class Rejection:
    """Why an association is rejected.

    Attributes:
        codes: Result, source and diagnostic of A-ASSOCIATE-RJ (PS3.8 9.3.4).
    """

    codes: tuple[int, int, int]
    reason: str


CALLING_UNKNOWN = Rejection((1, 1, 3), "calling AE title not known, or not from this address")
CALLED_UNKNOWN = Rejection((1, 1, 7), "called AE title is not ours")
TOO_MANY = Rejection((2, 3, 2), "too many associations at once")


class Callers:
    """Who may associate."""

    def __init__(self, config: Receive, archives: Sequence[DicomArchive] = ()) -> None:
        """Read the list.

        Args:
            archives: May call, too, to bring what we ask for.

        Raises:
            UsageError: If an address is none.
        """
        self._called = config.ae_title
        try:
            self._known = [
                (
                    one.ae_title,
                    None if one.address is None else ipaddress.ip_address(one.address),
                    one.priority,
                )
                for one in config.callers
            ]
        except ValueError as error:
            raise UsageError(f"receive.callers: {error}; give IP addresses.") from error
        self._listed = {title for title, _, _ in self._known}
        if self._known:  # otherwise anybody may call
            self._known += [(one.ae_title, _normal(one.host), 0) for one in archives]
        self._archives = {one.ae_title for one in archives}

    def only_answers(self, calling: str) -> bool:
        """Whether who calls may bring what we asked for, and nothing else: an archive that is no sender."""
        return calling.strip() in self._archives and bool(self._known) and calling.strip() not in self._listed

    def reaches(self, address: str) -> bool:
        """Whether anybody may call from there; otherwise not even a TLS handshake is worth while."""
        return not self._known or any(known in (None, _normal(address)) for _, known, _ in self._known)

    def judge(self, calling: str, called: str, address: str) -> Rejection | None:
        """None if the association may be."""
        if called.strip() != self._called:
            return CALLED_UNKNOWN
        place = _normal(address)
        if self._known and not any(
            title == calling.strip() and known in (None, place) for title, known, _ in self._known
        ):
            return CALLING_UNKNOWN
        return None

    def priority(self, calling: str, address: str) -> int:
        """Of the studies of a caller; of several entries that fit, the first."""
        place = _normal(address)
        fits = (
            number
            for title, known, number in self._known
            if title == calling.strip() and known in (None, place)
        )
        return next(fits, 0)


def _normal(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


class Sparing:
    """Says the same thing a few times a minute only: a port scanner must not fill the log."""

    def __init__(self, times: int = 5, seconds: float = 60.0) -> None:
        self._times, self._seconds = times, seconds
        self._said: OrderedDict[Hashable, tuple[float, int]] = OrderedDict()
        self._lock = threading.Lock()

    def may(self, *what: Hashable, now: float | None = None) -> int | None:
        """Whether to say it: None for no, otherwise how often it was kept back before."""
        at = time.monotonic() if now is None else now
        with self._lock:
            since, count = self._said.pop(what, (at, 0))
            fresh = at - since >= self._seconds
            kept = max(0, count - self._times) if fresh else 0
            since, count = (at, 1) if fresh else (since, count + 1)
            self._said[what] = (since, count)
            while len(self._said) > _REMEMBERED:
                self._said.popitem(last=False)
        return kept if count <= self._times else None


def free_bytes(folder: Path) -> int:
    """Of the disk, for us."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class DiskReserve:
    """Whether the disk has room; its lack is an episode with a beginning and an end, each said once."""

    def __init__(self, folder: Path, reserve: float) -> None:
        """Watch a disk.

        Args:
            reserve: Bytes that have to stay free.
        """
        self._folder, self._reserve = folder, reserve
        self._lock = threading.Lock()
        self._refused = 0

    def enough(self, more: int = 0) -> bool:
        """Whether `more` bytes may be written."""
        return free_bytes(self._folder) - more >= self._reserve

    def lacks(self) -> bool:
        """Something was refused for lack of room. Returns whether that is the first time of this episode."""
        with self._lock:
            self._refused += 1
            return self._refused == 1

    def refuses(self) -> bool:
        """Whether instances are refused, or would be: an episode lasts, or there is too little room for the next."""
        with self._lock:
            return self._refused > 0 or not self.enough()

    def recovered(self) -> int:
        """How many instances were refused in an episode that has ended just now; 0 if none has."""
        with self._lock:
            if not self._refused or not self.enough(more=_WELL_AGAIN):
                return 0
            refused, self._refused = self._refused, 0
        return refused
