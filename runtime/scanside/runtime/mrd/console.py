"""What the scanner's console asks for: JSON text with parameters, as OpenRecon sends it."""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from scanside.runtime.mrd.wire import StreamError


def _truth(value: Any) -> Any:
    """The console sends truth values as words."""
    words = {
        "true": True,
        "yes": True,
        "1": True,
        "on": True,
        "false": False,
        "no": False,
        "0": False,
        "off": False,
    }
    return words.get(value.strip().lower(), value) if isinstance(value, str) else value


Truth = Annotated[bool, BeforeValidator(_truth)]


class Console(BaseModel):
    """Parameters of one session.

    Attributes:
        sendoriginal: Return the images that came, before the labels. Without them the scan is not in the examination.
        sendlabels: Return label images.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    sendoriginal: Truth = True
    sendlabels: Truth = True


def read_console(text: str) -> tuple[Console, tuple[str, ...]]:
    """The parameters, and the names of those that Scanside does not know.

    Raises:
        StreamError: If it is not a JSON object, or a value makes no sense.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
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
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StreamError(
            f"The parameter '{where}' makes no sense: {first['msg']}; choose another value."
        ) from error
    strange = set(known) - set(Console.model_fields) - {"version", "config", "customconfig"}
    return console, tuple(sorted(strange))
