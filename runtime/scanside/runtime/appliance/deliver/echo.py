"""Whether a destination answers."""

from scanside.runtime.appliance.config import Config, Destination, DicomDestination, WebDestination
from scanside.runtime.appliance.deliver.association import Context, ContextError, associate
from scanside.runtime.appliance.deliver.classes import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    NAMES,
    wanted_of,
)
from scanside.runtime.appliance.deliver.reasons import status_words
from scanside.runtime.appliance.deliver.stow import ask_web, http_words
from scanside.runtime.errors import ScansideError

VERIFICATION = "1.2.840.10008.1.1"


def echo(destination: Destination, config: Config, seconds: float) -> str | None:
    """C-ECHO (PS3.4 annex A), or a search for one study where it is a DICOMweb server.

    Args:
        seconds: For each answer of the peer.

    Returns:
        None if it answers; otherwise a sentence that says what is wrong.
    """
    try:
        if isinstance(destination, WebDestination):
            code = ask_web(destination, "GET", "studies?limit=1", seconds).status
            return None if code in (200, 204) else f"{destination.name} answers with {http_words(code)}."
        with (
            associate(destination, config, [Context(VERIFICATION)], seconds=seconds) as association,
            association.within() as open_,
        ):
            status = getattr(open_.send_c_echo(), "Status", None)
    except ScansideError as error:
        return str(error)
    if status is None:
        return f"{destination.name} takes associations and does not answer C-ECHO; check it."
    return None if status == 0 else f"{destination.name} answers C-ECHO with {status_words(status)}."


def refused_classes(destination: DicomDestination, config: Config, seconds: float) -> str | None:
    """Negotiate every SOP class that a destination is to be sent, and send nothing.

    Returns:
        None if it takes them all; otherwise a sentence that names those that it refuses.
    """
    wanted = wanted_of(destination)
    offered = list(dict.fromkeys([*wanted, COMPREHENSIVE_SR]))
    try:
        with associate(
            destination, config, [Context(one) for one in offered], seconds=seconds
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
    return f"{destination.name} answers and does not take {names}; {advice}."
