"""Whether a destination answers."""

from scanside.runtime.appliance.config import Config, Destination, WebDestination
from scanside.runtime.appliance.deliver.association import Context, associate
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
