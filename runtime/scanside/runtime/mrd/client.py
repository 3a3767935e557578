"""The scanner's side: sends a volume and reads what comes back. For tests, and for sites that try a server."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scanside.runtime.errors import BackendError
from scanside.runtime.mrd import wire
from scanside.runtime.mrd.wire import Image, Text


@dataclass(frozen=True, eq=False)
class Answer:
    """What a server sent.

    Attributes:
        images: In order.
        texts: In order.
    """

    images: tuple[Image, ...]
    texts: tuple[str, ...]

    def labels(self, sent: Sequence[Image]) -> npt.NDArray[np.uint16] | None:
        """(Z, Y, X) of the first series that was not sent, by image_index; None where there is none."""
        known = {image.get("image_series_index") for image in sent}
        new = [image for image in self.images if image.get("image_series_index") not in known]
        if not new:
            return None
        first = new[0].get("image_series_index")
        mine = [image for image in new if image.get("image_series_index") == first]
        mine.sort(key=lambda image: int(image.get("image_index")))
        return np.stack([image.data[0, 0] for image in mine]).astype(np.uint16)


def send(
    address: tuple[str, int],
    images: Sequence[Image],
    *,
    parameters: str = "",
    seconds: float = 600,
    header: str = "",
) -> Answer:
    """Send images as one session and read the answer.

    Args:
        header: XML of the measurement; one that says nothing where it is empty.
        parameters: JSON text for the server.
        seconds: To wait for each part of the answer.

    Raises:
        BackendError: If the server is not there or goes away.
        StreamError: If its answer is no MRD.
    """
    host, port = address
    found: list[Image] = []
    texts: list[str] = []
    try:
        with socket.create_connection(address, timeout=seconds) as connection:
            connection.sendall(wire.config_message("scanside"))
            connection.sendall(wire.text_message(header or _HEADER, wire.HEADER))
            if parameters:
                connection.sendall(wire.text_message(parameters))
            for image in images:
                connection.sendall(wire.image_message(image))
            connection.sendall(wire.close_message())
            while (message := wire.receive(connection.recv)) is not None:
                if isinstance(message, Image):
                    found.append(message)
                elif isinstance(message, Text):
                    texts.append(message.text)
    except OSError as error:
        raise BackendError(
            f"The MRD server {host}:{port} does not answer ({error}); see whether it runs there."
        ) from error
    return Answer(tuple(found), tuple(texts))


_HEADER = (
    '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><experimentalConditions>'
    "<H1resonanceFrequency_Hz>123200000</H1resonanceFrequency_Hz></experimentalConditions></ismrmrdHeader>"
)
