"""JPEG, JPEG-LS and JPEG 2000 decoded in a process of its own.

Their decoders are C++ that aborts on damaged codestreams (GDCM does on JPEG 2000), takes all memory that the stream
asks for, or searches for long: a file from the network must not end the program. RLE and plain pixels need none of it.

The child is asked with one line of JSON an image and answers with one line and the values.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset

from scanside.runtime.dicom.header import quiet, read_dataset, with_transfer_syntax

SECONDS, SECONDS_PER_FRAME = 30.0, 0.3
"""How long one file may take, the start of the child included. (A frame takes 20 ms; GDCM hangs on some streams.)"""
MEMORY = 4 << 30
"""Bytes of address space that the child may have."""
_JPEG = "1.2.840.10008.1.2.4."


class DecoderError(Exception):
    """The decoder refused the pixels, died of them, or took too long."""


def needs_own_process(dataset: FileDataset) -> bool:
    """Whether the transfer syntax is of the JPEG family."""
    return str(dataset.file_meta.get("TransferSyntaxUID", "")).startswith(_JPEG)


class Decoder:
    """The child, started when it is first needed. Use as a context manager."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None

    def decode(self, path: Path, frames: int = 1) -> npt.NDArray[Any]:
        """The stored values of an image, as pydicom's `pixel_array` gives them.

        Args:
            path: The file.
            frames: How many it holds: what time it may take.

        Raises:
            DecoderError: If there are none to be had.
        """
        child = self._started()
        assert child.stdin is not None and child.stdout is not None
        watch = Timer(SECONDS + SECONDS_PER_FRAME * frames, child.kill)
        watch.start()
        try:
            child.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
            answer = json.loads(line) if line else None
            if answer is None:
                raise DecoderError
            data = child.stdout.read(answer["bytes"])
            return np.frombuffer(data, np.dtype(answer["dtype"])).reshape(answer["shape"])
        except (OSError, ValueError, KeyError) as error:
            raise DecoderError from error
        finally:
            watch.cancel()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "scanside.runtime.dicom.decoder_process"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return self._child

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """The child: decode until there are no more questions."""
    for line in questions:
        try:
            with quiet():
                stored = with_transfer_syntax(read_dataset(Path(json.loads(line)))).pixel_array
            stored = np.ascontiguousarray(stored)
        except Exception:  # decoders raise almost anything on damaged bytes
            answers.write(b"null\n")
        else:
            about = {"shape": stored.shape, "dtype": stored.dtype.str, "bytes": stored.nbytes}
            answers.write(json.dumps(about).encode() + b"\n")
            answers.write(stored.data)
        answers.flush()


def _main() -> None:
    """Keep answers apart from what libraries print, and memory bounded where the system can."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        pass
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
