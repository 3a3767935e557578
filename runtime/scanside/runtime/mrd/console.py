"""What the scanner's console asks for: JSON text with parameters, as OpenRecon sends it."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from scanside.runtime.mrd.wire import StreamError
from scanside.runtime.record import first_fault

_WORDS = {
    "true": True,
    "yes": True,
    "1": True,
    "on": True,
    "false": False,
    "no": False,
    "0": False,
    "off": False,
}


def _truth(value: Any) -> Any:
    """The console sends truth values as words."""
    return _WORDS.get(value.strip().lower(), value) if isinstance(value, str) else value


def _choice(value: Any) -> Any:
    """An empty text, or `default`, leaves the choice to the server."""
    return None if isinstance(value, str) and value.strip().lower() in ("", "default") else value


Truth = Annotated[bool, BeforeValidator(_truth)]
Choice = Annotated[str | None, BeforeValidator(_choice)]


class Console(BaseModel):
    """Parameters of one session.

    Attributes:
        sendoriginal: Return the images that came, before the labels. Without them the scan is not in the examination.
        sendlabels: Return label images.
        contours: Draw outlines on the images that are returned.
        colours: Return colour images of the labels over the scan as well.
        segmenter: Of a bundle with several; None for the server's own.
        device: None for the server's own.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    sendoriginal: Truth = True
    sendlabels: Truth = True
    contours: Truth = False
    colours: Truth = False
    segmenter: Choice = None
    device: Choice = None

    @property
    def computes(self) -> bool:
        """Whether anything is asked for that needs the networks."""
        return self.sendlabels or self.colours or (self.contours and self.sendoriginal)


def read_console(text: str) -> tuple[Console, tuple[str, ...]]:
    """The parameters, and the names of those that Scanside does not know.

    Raises:
        StreamError: If it is not a JSON object, or a value makes no sense.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StreamError(
            f"The parameters are not JSON ({error}); send an object of names and values."
        ) from error
    parameters = found.get("parameters", found) if isinstance(found, dict) else None
    if not isinstance(parameters, dict):
        raise StreamError("The parameters are no JSON object; send an object of names and values.")
    known = {name.lower(): value for name, value in parameters.items()}
    try:
        console = Console.model_validate(known)
    except ValidationError as error:
        where, why = first_fault(error)
        raise StreamError(f"The parameter '{where}' makes no sense: {why}; choose another value.") from error
    strange = set(known) - set(Console.model_fields) - {"version", "config", "customconfig"}
    return console, tuple(sorted(strange))
