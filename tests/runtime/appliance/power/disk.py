"""What a power cut may leave of recorded file operations: a disk that keeps what was synced, and of the rest anything.

The model is harsher than any file system in use. A write is sure to be there only when its file was synced afterwards;
a name (made, moved, removed) only when one of its folders was. Of everything else each cut keeps what its dice say:
none, all, some in any order, a write in part, names without the bytes. A rename is atomic, a sector is not torn.
"""

import random
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

_HEAD = struct.Struct("<cQQIII")
SECTOR = 512


@dataclass(frozen=True)
class Operation:
    """One record of the log; paths are relative to the recorded folder, which is the empty one."""

    kind: str
    inode: int
    offset: int
    path: str
    second: str
    data: bytes


def read_log(log: Path) -> list[Operation]:
    data, place, found = log.read_bytes(), 0, list[Operation]()
    root: str | None = None

    def relative(path: bytes) -> str:
        return path.decode()[len(root or "") + 1 :]

    while place < len(data):
        kind, inode, offset, *lengths = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        parts = []
        for length in lengths:
            parts.append(data[place : place + length])
            place += length
        if root is None:
            root = parts[0].decode()
        found.append(
            Operation(kind.decode(), inode, offset, relative(parts[0]), relative(parts[1]), parts[2])
        )
    return found


class Loss(Enum):
    """How the dice fall."""

    ALL = "nothing that was not synced is there"
    NONE = "everything is there, as after a kill"
    SOME = "some of it is there, in any order"
    TORN = "some of it, and writes in part"
    BYTES = "names are there, bytes are not"
    NAMES = "bytes are there, names are not"


@dataclass
class _File:
    """Bytes that are safe, and writes and cuts since: (offset, data), or (length, None)."""

    safe: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)

    def all(self) -> bytes:
        return _applied(self.safe, self.since)

    def sync(self) -> None:
        self.safe, self.since = self.all(), []


@dataclass(frozen=True)
class _Naming:
    """What one operation did to names: (folder, name) → node; None: gone."""

    number: int
    changes: tuple[tuple[tuple[int, str], int | None], ...]


class Disk:
    """Follows a log; `after_cut` tells what is there if the power goes now."""

    def __init__(self) -> None:
        self._nodes: dict[int, _File | None] = {}
        """Node → file; None for a folder."""
        self._current: dict[int, int] = {}
        """Inode → the node that has it now; inodes are used again."""
        self._names: dict[tuple[int, str], int] = {}
        self._safe: dict[tuple[int, str], tuple[int, int | None]] = {}
        self._since: list[_Naming] = []
        self._number = 0

    def follow(self, one: Operation, *, ignore_sync: bool = False) -> None:
        """Take an operation."""
        self._number += 1
        if one.kind == "d" and not one.path:  # the recorded folder itself, said by each process that begins
            if not self._nodes:
                self._new(one.inode, None)
        elif one.kind == "d":
            self._name(one.path, self._new(one.inode, None))
        elif one.kind == "c":
            self._name(one.path, self._new(one.inode, _File()))
        elif one.kind == "w":
            self._file(one.inode).since.append((one.offset, one.data))
        elif one.kind == "t":
            self._file(one.inode).since.append((one.offset, None))
        elif one.kind == "s" and not ignore_sync:
            self._sync(self._current[one.inode])
        elif one.kind == "l":
            self._name(one.second, self._node(one.path))
        elif one.kind == "u":
            self._change((self._place(one.path), None))
        elif one.kind == "r":
            self._change((self._place(one.path), None), (self._place(one.second), self._node(one.path)))

    def path_of(self, inode: int) -> str:
        """Where a node is now, for people; empty for one without a name."""
        return self._path(self._current[inode])

    def after_cut(self, loss: Loss, dice: random.Random) -> dict[str, bytes]:
        """Path → bytes of every file that can be found, if the power goes now."""
        names = dict(self._safe)
        share = dice.random()
        for one in self._since:
            if self._keeps_name(loss, dice, share):
                for place, node in one.changes:
                    if names.get(place, (0, None))[0] < one.number:
                        names[place] = (one.number, node)
        below: dict[int, list[tuple[str, int]]] = {}
        for (folder, name), (_, node) in names.items():
            if node is not None:
                below.setdefault(folder, []).append((name, node))
        found: dict[str, bytes] = {}
        kept: dict[int, bytes] = {}
        todo = [("", 1)]
        while todo:
            path, folder = todo.pop()
            for name, node in below.get(folder, ()):
                file, inner = self._nodes[node], f"{path}/{name}" if path else name
                if file is None:
                    todo.append((inner, node))
                else:
                    if node not in kept:
                        kept[node] = _survivor(file, loss, dice, share)
                    found[inner] = kept[node]
        return found

    def now(self) -> dict[str, bytes]:
        """Everything, as a process sees it."""
        return self.after_cut(Loss.NONE, random.Random(0))

    @staticmethod
    def _keeps_name(loss: Loss, dice: random.Random, share: float) -> bool:
        if loss in (Loss.SOME, Loss.TORN):
            return dice.random() < share
        return loss in (Loss.NONE, Loss.BYTES)

    def _new(self, inode: int, file: _File | None) -> int:
        node = len(self._nodes) + 1
        self._nodes[node], self._current[inode] = file, node
        return node

    def _file(self, inode: int) -> _File:
        file = self._nodes[self._current[inode]]
        assert file is not None
        return file

    def _place(self, path: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        return (self._node(folder) if folder else 1, name)

    def _node(self, path: str) -> int:
        return self._names[self._place(path)]

    def _name(self, path: str, node: int) -> None:
        self._change((self._place(path), node))

    def _change(self, *changes: tuple[tuple[int, str], int | None]) -> None:
        for place, node in changes:
            if node is None:
                self._names.pop(place, None)
            else:
                self._names[place] = node
        self._since.append(_Naming(self._number, changes))

    def _sync(self, node: int) -> None:
        file = self._nodes[node]
        if file is not None:
            file.sync()
            return
        left = []
        for one in self._since:
            if any(folder == node for (folder, _), _ in one.changes):
                for place, value in one.changes:
                    if self._safe.get(place, (0, None))[0] < one.number:
                        self._safe[place] = (one.number, value)
            else:
                left.append(one)
        self._since = left

    def _path(self, node: int) -> str:
        if node == 1:
            return ""
        place = next((place for place, found in self._names.items() if found == node), None)
        if place is None:
            return ""
        folder = self._path(place[0])
        return f"{folder}/{place[1]}" if folder else place[1]


def _applied(data: bytes, changes: list[tuple[int, bytes | None]]) -> bytes:
    if not changes:
        return data
    made = bytearray(data)
    for offset, content in changes:
        if content is None:
            del made[offset:]
            made.extend(bytes(offset - len(made)))
        else:
            made.extend(bytes(max(0, offset - len(made))))
            made[offset : offset + len(content)] = content
    return bytes(made)


def _survivor(file: _File, loss: Loss, dice: random.Random, share: float) -> bytes:
    if loss in (Loss.NONE, Loss.NAMES) or not file.since:
        return file.all()
    if loss in (Loss.ALL, Loss.BYTES):
        return file.safe
    kept: list[tuple[int, bytes | None]] = []
    for offset, content in file.since:
        if dice.random() >= share:
            continue
        if content is not None and loss is Loss.TORN and len(content) > SECTOR:
            cut = SECTOR * dice.randrange(len(content) // SECTOR + 1)
            first = dice.random() < 0.5
            kept.append((offset, content[:cut]) if first else (offset + cut, content[cut:]))
        else:
            kept.append((offset, content))
    return _applied(file.safe, kept)


def cuts(
    operations: list[Operation],
    number: int,
    seed: int,
    ignore: Callable[[Operation, str], bool] | None = None,
) -> Iterator[tuple[int, Loss, Mapping[str, bytes]]]:
    """Cut the power many times, spread over the whole log and over all kinds of loss.

    Args:
        ignore: Syncs (of a path) that are taken for never made: a mutation.

    Yields:
        Number of operations before the cut, the kind of loss, and what is there afterwards.
    """
    dice = random.Random(seed)
    places = sorted(dice.randrange(1, len(operations) + 1) for _ in range(number))
    losses = list(Loss)
    disk, done = Disk(), 0
    for turn, place in enumerate(places):
        for one in operations[done:place]:
            without = one.kind == "s" and ignore is not None and ignore(one, disk.path_of(one.inode))
            disk.follow(one, ignore_sync=without)
        done = place
        yield place, losses[turn % len(losses)], disk.after_cut(losses[turn % len(losses)], dice)
