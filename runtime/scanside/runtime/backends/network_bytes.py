"""What a network's ONNX file may hold: nothing that another file, or compiled code, would add to it.

An EPContext node embeds a vendor's compiled engine, which is native code that nobody has checked; external data is
read from a path that the bundle's hashes do not cover. Both are found by walking the protobuf itself, so that the
refusal needs no library and comes before any library sees the bytes.
"""

from collections.abc import Iterator

from scanside.runtime.errors import BackendError

_CHILDREN: dict[str, dict[int, str]] = {  # message → field number → message of that field (onnx.proto)
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_OP_TYPE, _EXTERNAL_DATA, _DATA_LOCATION = 4, 13, 14


def refuse_foreign(network: bytes) -> None:
    """See that a network is whole in itself and holds no compiled engine.

    Raises:
        BackendError: If it holds an EPContext node or external data, or is no ONNX file.
    """
    try:
        _walk("model", memoryview(network))
        holds_graph = any(number == 7 for number, _ in _fields(memoryview(network)))
    except (ValueError, IndexError, RecursionError) as error:
        raise BackendError("The network's file is damaged (not ONNX); re-export it.") from error
    if not holds_graph:
        raise BackendError("The network's file is empty (it holds no graph); re-export it.")


def _walk(kind: str, message: memoryview) -> None:
    children = _CHILDREN.get(kind, {})
    for number, value in _fields(message):
        if number in children and isinstance(value, memoryview):
            _walk(children[number], value)
        elif (
            kind == "node"
            and number == _OP_TYPE
            and isinstance(value, memoryview)
            and bytes(value) == b"EPContext"
        ):
            raise BackendError(
                "The network holds a compiled engine (an EPContext node), which is native code from another machine; "
                "use the network as it was exported."
            )
        elif kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value == 1)):
            raise BackendError(
                "The network keeps weights in another file (external data), which the bundle does not vouch for; "
                "re-export it as one file."
            )


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field number and value: an int of a varint, bytes of the rest.

    Raises:
        ValueError, IndexError: If this is no protobuf message, or it ends early.
    """
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        if tag & 7 == 0:
            number, position = _varint(message, position)
            yield tag >> 3, number
            continue
        if tag & 7 == 2:
            size, position = _varint(message, position)
        elif tag & 7 in (1, 5):
            size = 8 if tag & 7 == 1 else 4
        else:
            raise ValueError("not a protobuf message")
        if size > len(message) - position:
            raise ValueError("a field is longer than its message")
        yield tag >> 3, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
