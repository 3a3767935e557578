"""A receiver that asks nobody's name fails every check of who may send."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from scanside.runtime.acceptance import phantom, refusals
from scanside.runtime.acceptance.sender import send_files
from scanside.runtime.appliance.config import Config, DicomDestination
from scanside.runtime.dicom.phantom_study import StudyNames, write_phantom_study
from tests.runtime.acceptance.faults import failed


@contextmanager
def _takes_everything() -> Iterator[DicomDestination]:
    """A receiver that asks nobody's name."""
    from pynetdicom import AE, evt

    entity = AE("SCANSIDE")
    entity.add_supported_context("1.2.840.10008.5.1.4.1.1.4")
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)])
    assert server is not None
    try:
        yield DicomDestination(
            name="receiver", ae_title="SCANSIDE", host="127.0.0.1", port=server.server_address[1]
        )
    finally:
        server.shutdown()


def test_a_receiver_that_takes_everybody(tmp_path: Path, site: Config) -> None:
    names = StudyNames(("strangers",), datetime(2026, 1, 1))
    (file, *_) = write_phantom_study({"t2w": phantom.images()["t2w"]}, {}, names, tmp_path)
    with _takes_everything() as receiver:

        def send(files: list[Path], calling: str, called: str | None, plaintext: bool) -> dict[str, str]:
            as_whom = site.model_copy(update={"send": site.send.model_copy(update={"ae_title": calling})})
            there = receiver.model_copy(update={"ae_title": called} if called else {})
            return send_files(there, as_whom, files)

        assert failed(refusals.strangers(send, file, callers=True, tls=True)) == {
            "association: a calling AE title that is not listed",
            "association: a called AE title that is not ours",
            "association: a sender without TLS",
        }
