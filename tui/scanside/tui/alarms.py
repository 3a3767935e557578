"""What needs a person, worked out from what is known. Pure functions."""

from collections.abc import Iterable
from dataclasses import dataclass

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.records import Case
from scanside.runtime.appliance.store.states import State
from scanside.tui.feed import Health
from scanside.tui.format import ago, full_moment, size


@dataclass(frozen=True)
class Alarm:
    """One thing.

    Attributes:
        words: With the symbol first.
        grave: Work stands still or is lost; otherwise somebody should look soon.
        case_id: The case that it is about, when it is about one: the latest.
    """

    words: str
    grave: bool
    case_id: str | None = None


def alarms(
    cases: Iterable[Case], health: Health, config: Config, now: float, configured: bool = True
) -> tuple[Alarm, ...]:
    """All alarms, the gravest first.

    Args:
        configured: Whether the configuration is the appliance's own; otherwise it does not tell the disk's reserve.
    """
    found: list[Alarm] = []
    cases = list(cases)
    if health.lost_since is not None:
        since = full_moment(health.lost_since)[-8:]
        found.append(
            Alarm(
                f"✗ store not readable since {since}, retrying: what you see is old; see that its disk is there",
                True,
            )
        )
    else:
        found.extend(_silent(health))
    found.extend(_disk(health, config) if configured else [])
    broken = [case for case in cases if case.state is State.QUARANTINED and case.deleted is None]
    if broken:
        latest = max(broken, key=lambda case: case.arrived)
        found.append(Alarm(f"✗ {len(broken)} failed: ! goes there, t tries again", True, latest.case_id))
    stalled = [case for case in cases if case.state is State.RUNNING and not health.working]
    if stalled:
        words = f"✗ {len(stalled)} stalled: it begins anew when the service is back"
        found.append(Alarm(words, True, stalled[0].case_id))
    found.extend(_undelivered(health, now))
    if health.drift:
        more = f" and {len(health.drift) - 1} more" if len(health.drift) > 1 else ""
        found.append(Alarm(f"! drift{more}: {health.drift[0]}", False))
    if health.paused:
        found.append(Alarm("‖ queue paused: P resumes it", False))
    return tuple(sorted(found, key=lambda alarm: not alarm.grave))


def _silent(health: Health) -> list[Alarm]:
    never = [name for name, beat in health.beats.items() if beat is None]
    late = [name for name, beat in health.beats.items() if beat]
    if health.beats and len(never) + len(late) == len(health.beats):
        return [Alarm("✗ service not running: start it, or ask who looks after it", True)]
    return (
        [Alarm(f"✗ no sign of life of {', '.join(never + late)}: look again in half a minute", True)]
        if never or late
        else []
    )


def _disk(health: Health, config: Config) -> list[Alarm]:
    reserve = config.receive.reserve_gb * 1e9
    if health.free is None or health.free >= 2 * reserve:
        return []
    if health.free < reserve:
        return [Alarm(f"✗ disk full: {size(health.free)} free, images are refused: make room", True)]
    return [Alarm(f"! disk: {size(health.free)} free, refused below {size(reserve)}: make room", False)]


def _undelivered(health: Health, now: float) -> list[Alarm]:
    if not health.stuck:
        return []
    count = sum(stuck.count for stuck in health.stuck.values())
    where = sorted({stuck.destination for stuck in health.stuck.values()})
    case_id, oldest = min(health.stuck.items(), key=lambda pair: pair[1].since)
    tried = f"(tried {ago(now - oldest.since)}): ! goes there, 2 shows the destination"
    words = f"✗ {count} not delivered to {', '.join(where)} {tried}"
    return [Alarm(words, True, case_id)]
