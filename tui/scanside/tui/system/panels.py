"""A survey as text, panel by panel. Pure functions."""

import json
from collections.abc import Mapping

from scanside.runtime.appliance.config import Config
from scanside.runtime.appliance.store.records import Entry
from scanside.runtime.appliance.store.states import SETTLED, Sending, State
from scanside.tui.feed import Health
from scanside.tui.format import (
    Tone,
    Words,
    age,
    ago,
    duration,
    event_words,
    full_moment,
    size,
    spoken,
    state_name,
)
from scanside.tui.system.survey import BundleState, Echo, Survey
from scanside.tui.system.times import quantiles, sparkline
from scanside.tui.widgets.facts import Fact

NOT_TOLD = "not told by a data folder alone; open the terminal with the appliance's configuration (-c)"
_QUEUE = (
    State.RECEIVING,
    State.QUEUED,
    State.PAUSED,
    State.RUNNING,
    State.REVIEW,
    State.SENDING,
    State.QUARANTINED,
)


def machine_panel(survey: Survey) -> list[Fact]:
    """Gauges, and what is not told."""
    found = [Fact(gauge.name, gauge.words, gauge.tone, gauge.part) for gauge in survey.gauges]
    return [*found, *(Fact("", remark, Tone.QUIET) for remark in survey.remarks)]


def service_panel(survey: Survey, health: Health, config: Config, configured: bool = True) -> list[Fact]:
    """Processes, queue, disk.

    Args:
        configured: Whether the configuration is the appliance's own.
    """
    found = []
    for name, beat in health.beats.items():
        if beat == 0:
            words = Words("✓", "runs", Tone.GOOD)
        elif beat is None:
            words = Words("✗", "never started here", Tone.BAD)
        else:
            words = Words("✗", f"silent for {age(beat)}", Tone.BAD)
        found.append(Fact.of(name, words))
    if health.paused:
        found.append(Fact.of("queue", Words("‖", "paused: nothing new begins", Tone.WARN)))
    for state in _QUEUE:
        if number := survey.states.get(state, 0):
            found.append(Fact(state_name(state).text, f"{number}", state_name(state).tone))
    if not any(survey.states.get(state, 0) for state in _QUEUE):
        found.append(Fact("queue", "empty", Tone.QUIET))
    if health.free is not None:
        reserve = config.receive.reserve_gb * 1e9
        tone = Tone.BAD if health.free < reserve else Tone.WARN if health.free < 2 * reserve else Tone.PLAIN
        limit = f", images refused below {size(reserve)}" if configured else f"; {NOT_TOLD}"
        found.append(Fact("disk", f"{size(health.free)} free{limit}", tone if configured else Tone.PLAIN))
    if survey.fault:
        found.append(Fact("store", survey.fault, Tone.BAD))
    return found


def times_panel(survey: Survey, width: int, benchmark: str) -> list[Fact]:
    """Today's latencies.

    Args:
        benchmark: What is known of a stored benchmark, in words.
    """
    found = []
    for name, values in (("image to result", survey.waiting), ("computing", survey.computing)):
        summary = quantiles(values)
        if summary is None:
            found.append(Fact(name, "no case was finished today", Tone.QUIET))
            continue
        found.append(Fact(name, f"{summary.count} cases today, the last {duration(values[-1])}"))
        words = f"p50 {duration(summary.p50)}  p90 {duration(summary.p90)}  p99 {duration(summary.p99)}"
        found.append(Fact("", words))
        found.append(Fact("", sparkline(values, max(8, width - 18)), Tone.BUSY))
    return [*found, Fact("benchmark", benchmark, Tone.QUIET)]


def bundle_panel(survey: Survey, bundle: BundleState, configured: bool = True) -> list[Fact]:
    """The bundle, its verification, and the devices of the last results."""
    state = {
        None: Words("…", "being verified", Tone.QUIET),
        True: Words("✓", "every byte is what was exported", Tone.GOOD),
        False: Words("✗", "not usable", Tone.BAD),
    }[bundle.sound]
    found = [
        Fact("bundle", bundle.words, Tone.BAD if bundle.sound is False else Tone.PLAIN),
        Fact.of("", state),
    ]
    if not configured:
        found = [Fact("bundle", NOT_TOLD, Tone.QUIET)]
    elif bundle.sha256:
        found.append(Fact("sha256", bundle.sha256[:16] + "…", Tone.QUIET))
    if not survey.devices:
        return [*found, Fact("device", "no result with a device is on this disk", Tone.QUIET)]
    last = survey.devices[0]
    found.append(Fact("device", f"asked {last.asked}, obtained {last.obtained} (case {last.case_id})"))
    others = sorted({device.obtained for device in survey.devices} - {last.obtained})
    if others:
        words = Words(
            "!", f"of the last {len(survey.devices)} results some used {', '.join(others)}", Tone.WARN
        )
        found.append(Fact.of("", words))
    return found


def peers_panel(
    survey: Survey,
    config: Config,
    echoes: Mapping[str, Echo],
    asking: bool,
    now: float,
    configured: bool = True,
) -> list[Fact]:
    """Every destination: whether it answers, and what is on its way there, or waits for a person first.

    Args:
        configured: As in `service_panel`.
    """
    if not configured:
        names = sorted({name for name, _ in survey.outbox})
        known = [Fact(name, _on_way(survey, name), Tone.BUSY) for name in names if _on_way(survey, name)]
        return [Fact("", f"Destinations: {NOT_TOLD}", Tone.QUIET), *known]
    found = []
    for peer in config.destinations:
        echo = echoes.get(peer.name)
        if echo is None:
            words = Words("…", "is being asked" if asking else "not asked yet (E asks)", Tone.QUIET)
        elif echo.fault is None:
            words = Words("✓", f"answered in {duration(echo.seconds)}, {ago(now - echo.at)}", Tone.GOOD)
        else:
            words = Words("✗", f"{ago(now - echo.at)}: {echo.fault}", Tone.BAD)
        where = peer.where
        found += [Fact.of(peer.name, words), Fact("", where, Tone.QUIET)]
        if on_way := _on_way(survey, peer.name):
            found.append(Fact("", on_way, Tone.BUSY))
    return found or [Fact("", "No destination is configured: results stay here.", Tone.QUIET)]


def _on_way(survey: Survey, destination: str) -> str:
    """Objects that are not at a destination: those that wait for a person's decision are not late."""
    held = survey.held.get(destination, 0)
    words = [f"{held} wait until their results are accepted"] if held else []
    for (name, state), number in sorted(survey.outbox.items()):
        late = number - held if state is Sending.WAITING else number
        if name == destination and state not in SETTLED and late:
            words.append(f"{late} {state}")
    return f"not there yet: {', '.join(words)}" if words else ""


def entry_line(entry: Entry) -> str:
    """One line of the log."""
    about = f" {entry.case_id}" if entry.case_id else ""
    return f"{full_moment(entry.at)} {entry.actor}: {event_words(entry.action)}{about}{_detail(entry.detail)}"


def _detail(text: str) -> str:
    """The detail of an entry, which is JSON, as words."""
    try:
        words = [f"{name} {_told(str(value))}" for name, value in json.loads(text).items()]
    except (ValueError, AttributeError):
        return f": {text}"
    return f": {', '.join(words)}" if words else ""


def _told(value: str) -> str:
    """States and sequences have names for people."""
    return state_name(State(value)).text if value in set(State) else spoken(_short(value))


def _short(value: str) -> str:
    """UIDs are told apart by their ends, and nobody reads the middle."""
    return value if len(value) < 32 or not value.replace(".", "").isdigit() else f"{value[:8]}…{value[-8:]}"


def log_lines(survey: Survey, words: str) -> list[str]:
    """The audit log's last entries that have every one of the words."""
    wanted = words.lower().split()
    shown = (entry_line(entry) for entry in survey.entries)
    return [text for text in shown if all(word in text.lower() for word in wanted)]
