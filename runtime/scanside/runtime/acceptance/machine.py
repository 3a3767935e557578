"""The machine: clock, room and speed of the disk. Each look is a record, and judging it a pure function."""

import ctypes
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from scanside.runtime.acceptance.record import Check, Figure, failed, not_done, passed, refused
from scanside.runtime.appliance.config import Config, WebDestination
from scanside.runtime.appliance.deliver.stow import ask_web
from scanside.runtime.errors import ScansideError
from scanside.runtime.images.files import writing_failed

CLOCK_SECONDS = 5.0
"""How far our clock and an archive's may lie apart; HTTP tells whole seconds. (IHE CT wants 1 s.)"""
FLUSH_SECONDS = 0.25
"""The median time of an image until it is on disk: four a second is what a slow scanner sends."""
_FILES, _BYTES = 20, 200_000
_TIME_ERROR = 5


@dataclass(frozen=True)
class Clock:
    """What is known of the time.

    Attributes:
        now: Ours, seconds since 1970.
        not_before: The latest time at which something was certainly written: files of the program, reports.
        synchronised: What the kernel says; None where it may not be asked.
        peers: Destination → their time minus ours, s.
    """

    now: float
    not_before: float
    synchronised: bool | None
    peers: dict[str, float]


def look_at_clock(config: Config, earlier: float = 0.0) -> Clock:
    """Ask the kernel and every DICOMweb destination.

    Args:
        earlier: When the latest report or entry that is known of was written.
    """
    peers = {}
    for one in config.destinations:
        if isinstance(one, WebDestination):
            try:
                said = ask_web(one, "GET", "studies?limit=1", min(config.send.timeout_seconds, 10.0)).date
                peers[one.name] = parsedate_to_datetime(said).timestamp() - time.time()
            except (ScansideError, ValueError, TypeError):
                continue
    built = max((path.stat().st_mtime for path in Path(__file__).parent.glob("*.py")), default=0.0)
    return Clock(time.time(), max(built, earlier), _synchronised(), peers)


def _synchronised() -> bool | None:
    """What adjtimex(2) returns, without setting anything."""
    buffer = ctypes.create_string_buffer(512)
    try:
        state = int(ctypes.CDLL(None).adjtimex(buffer))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def clock(seen: Clock) -> tuple[Check, ...]:
    """Judge the clock."""
    return (_plausible(seen), _in_step(seen))


def _plausible(seen: Clock) -> Check:
    name = "clock is not behind"
    if seen.now < seen.not_before - 1.0:
        said, known = (
            datetime.fromtimestamp(at, UTC).isoformat(" ", "minutes") for at in (seen.now, seen.not_before)
        )
        what = f"The clock says {said}, and something here was written at {known}."
        return failed("machine", name, what, "Set the clock, and let a time service keep it, such as chrony.")
    return passed("machine", name, "The clock is later than all that was written here.")


def _in_step(seen: Clock) -> Check:
    name = "clock is synchronised"
    figures = tuple(
        Figure(name=f"offset of {peer}", kind="note", unit="s", values=(off,))
        for peer, off in seen.peers.items()
    )
    wrong = {peer: off for peer, off in seen.peers.items() if abs(off) > CLOCK_SECONDS}
    if wrong:
        peer, off = max(wrong.items(), key=lambda pair: abs(pair[1]))
        what = f"The clock of {peer} is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} ours."
        return failed("machine", name, what, "Let the hospital's time service keep both clocks.", *figures)
    if seen.synchronised:
        return passed("machine", name, "The kernel says that a time service keeps the clock.", *figures)
    if seen.peers:
        return passed("machine", name, f"The clock agrees with that of {', '.join(seen.peers)}.", *figures)
    why = (
        "the kernel knows of no time service" if seen.synchronised is False else "the kernel may not be asked"
    )
    return not_done(
        "machine", name, f"Nothing here tells the right time: {why}, and no destination says what time it is."
    )


def flush_times(folder: Path) -> tuple[float, ...]:
    """Seconds that images of a usual size take until they are on disk.

    Raises:
        OutputError: If they cannot be written.
    """
    times = []
    data = os.urandom(_BYTES)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".flush-") as inside:
            for number in range(_FILES):
                begun = time.perf_counter()
                with (Path(inside) / str(number)).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                times.append(time.perf_counter() - begun)
    except OSError as error:
        raise writing_failed(folder, error) from error
    return tuple(times)


def disk_speed(times: tuple[float, ...]) -> Check:
    """Judge the disk."""
    name, middle = "disk is fast enough", sorted(times)[len(times) // 2]
    figure = Figure(name="image until on disk", kind="time", unit="s", values=times)
    words = f"An image of {_BYTES // 1000} kB takes {middle * 1000:.1f} ms until it is on disk"
    if middle > FLUSH_SECONDS:
        to_do = "Put the data folder on a local solid-state disk, or look at its health."
        return failed("machine", name, f"{words}, more than {FLUSH_SECONDS * 1000:.0f} ms.", to_do, figure)
    return passed("machine", name, f"{words}, the median of {len(times)}.", figure)


def disk_room(free: float, reserve_gb: float) -> Check:
    """Judge the room on the disk of the data folder.

    Args:
        free: Bytes.
    """
    name = "disk has room"
    figure = Figure(name="free", kind="note", unit="GB", values=(free / 1e9,))
    if free < 2e9 * reserve_gb:
        what = f"{free / 1e9:.1f} GB are free, less than twice the reserve of {reserve_gb:g} GB."
        return failed("machine", name, what, "Make room: at the reserve, images are refused.", figure)
    return passed(
        "machine", name, f"{free / 1e9:.1f} GB are free; images are refused below {reserve_gb:g} GB.", figure
    )


def disk(config: Config) -> tuple[Check, ...]:
    """Room and speed of the data folder's disk."""
    folder = config.service.data
    room = disk_room(shutil.disk_usage(folder).free, config.receive.reserve_gb)
    try:
        return room, disk_speed(flush_times(folder))
    except ScansideError as error:
        return room, refused("machine", "disk is fast enough", str(error))
