"""The demonstration's archive: takes what it is sent, answers C-ECHO, and keeps nothing but the count.

`python -m scanside.tui.demo.peer PORT`
"""

import sys

AE_TITLE = "DEMO-PACS"


def main(port: int) -> None:
    """Serve until killed."""
    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.events import Event

    def take(event: Event) -> int:
        return 0x0000

    entity = AE(ae_title=AE_TITLE)
    entity.supported_contexts = AllStoragePresentationContexts
    entity.add_supported_context("1.2.840.10008.1.1")
    entity.start_server(("127.0.0.1", port), evt_handlers=[(evt.EVT_C_STORE, take)])


if __name__ == "__main__":
    main(int(sys.argv[1]))
