"""Which file system a folder lies on: SQLite's write-ahead log needs memory that all its users share, on one host.

Source: https://www.sqlite.org/wal.html ("WAL does not work over a network filesystem").
"""

import re
from functools import lru_cache
from pathlib import Path

from scanside.runtime.errors import InputError

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    {
        *(
            "afs",
            "beegfs",
            "ceph",
            "cifs",
            "glusterfs",
            "gpfs",
            "lustre",
            "ncpfs",
            "nfs",
            "nfs4",
            "smb2",
            "smb3",
            "smbfs",
        ),
        *("fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"),
    }
)


@lru_cache(maxsize=32)
def file_system(folder: Path) -> str | None:
    """Type of the file system that a folder lies on, such as `ext4` or `nfs4`; None where the system does not tell."""
    try:
        lines = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    found: tuple[int, str] | None = None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        mount = Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        # The last of equal mount points lies on top.
        if folder.is_relative_to(mount) and (found is None or len(mount.parts) >= found[0]):
            found = (len(mount.parts), after.split(" ")[0])
    return found[1] if found else None


def refuse_network(store: Path) -> None:
    """See that a store does not lie on a network file system.

    Raises:
        InputError: If it does.
    """
    kind = file_system(store.absolute().parent.resolve())
    if kind in NETWORK:
        raise InputError(
            f"The store {store} lies on a network file system ({kind}), where SQLite loses what several processes "
            "write; put the data folder on a disk of this machine."
        )
