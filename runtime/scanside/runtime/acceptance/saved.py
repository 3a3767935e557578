"""Backup of the rehearsal's store, while its service runs; restored into another folder, and proven there."""

from pathlib import Path

from scanside.runtime.acceptance.record import Check, count, failed, passed, refused
from scanside.runtime.appliance.store import backup
from scanside.runtime.appliance.store.restore import restore, verify_live
from scanside.runtime.errors import ScansideError

_NAME = "a backup is restored and verified"


def backed_up(data: Path, folder: Path) -> Check:
    """Back up, restore, verify.

    Args:
        data: The data folder of a service that runs.
        folder: Where backup and restored copy are put.
    """
    copy, restored = folder / "backup", folder / "restored"
    try:
        made = backup.make(data, copy)
        backup.verify(copy)
        restored.mkdir(mode=0o700)
        restore(copy, restored, restored / "anchor.json", "acceptance")
        images, wrong = verify_live(restored, restored / "anchor.json")
    except (ScansideError, OSError) as error:
        return refused(
            "machine", _NAME, str(error), "Look at the disk; without a backup, studies can be lost."
        )
    return judged(images, (*made.lacking, *wrong))


def judged(images: int, lacking: tuple[str, ...]) -> Check:
    """Judge a restored store.

    Args:
        images: How many it speaks of.
        lacking: Files that are missing in it, or not as they were received.
    """
    if lacking or not images:
        what = f"{len(lacking)} files are missing in the restored copy, or were altered; it speaks of {images} images."
        return failed("machine", _NAME, what, "Look at the health of the disk, and run again.")
    return passed(
        "machine", _NAME, f"{images} images, store and audit log came back whole.", count("images", images)
    )
