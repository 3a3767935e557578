"""The error tree. Every error is one sentence: what happened, in which file or study, what to do.

ScansideError                exit 1
├── UsageError               exit 2   the command line asks for something that makes no sense
│   └── ExtraMissingError    exit 2   a command's optional packages are not installed
├── BundleError              exit 3   bundle missing, truncated, tampered, too new, without parity
├── BackendError             exit 4   no such backend, it does not load, it fails on the network
│   ├── ProviderMismatchError         the provider obtained is not the one asked for
│   └── DeviceMemoryError             the device has not enough memory for a batch
├── InputError               exit 5   the study or image is refused
│   ├── GeometryError                 spacing, direction, slices or shapes are not a geometry
│   └── ImageReadError                the file is not readable as an image
├── OutputError              exit 1   a result cannot be written (permissions, disk full)
└── CaseError                exit 1   computing this case failed (non-finite logits, out of memory)
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the `scanside` command returns to the shell."""

    OK = 0
    """Everything asked for was done."""
    CASE_FAILED = 1
    """At least one case could not be computed or written."""
    USAGE = 2
    """The command line makes no sense, or an extra is not installed."""
    BUNDLE = 3
    """The bundle is missing, damaged, tampered with, too new, or not proven equal."""
    BACKEND = 4
    """The backend asked for is not available or does not do what it must."""
    INPUT = 5
    """The input was refused."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""


class ScansideError(Exception):
    """Base of all errors whose message is meant for the user."""

    exit_code = ExitCode.CASE_FAILED


class UsageError(ScansideError, ValueError):
    """The arguments contradict each other or the bundle."""

    exit_code = ExitCode.USAGE


class ExtraMissingError(UsageError, ImportError):
    """A command needs packages of an extra that is not installed."""


class BundleError(ScansideError, ValueError):
    """The bundle cannot be trusted or understood."""

    exit_code = ExitCode.BUNDLE


class BackendError(ScansideError, RuntimeError):
    """The backend is not available, or failed while loading or running the network."""

    exit_code = ExitCode.BACKEND


class ProviderMismatchError(BackendError):
    """The provider obtained differs from the one asked for; nothing falls back in silence."""


class DeviceMemoryError(BackendError):
    """The device has not enough memory for this batch; a smaller one may fit."""


class InputError(ScansideError, ValueError):
    """The image or study is refused."""

    exit_code = ExitCode.INPUT


class GeometryError(InputError):
    """Spacing, direction, slice positions or shapes do not form a regular grid, or do not agree."""


class ImageReadError(InputError, OSError):
    """The file cannot be read as an image."""


class OutputError(ScansideError, OSError):
    """A result cannot be written."""


class CaseError(ScansideError, RuntimeError):
    """This case could not be computed."""


class ScansideWarning(UserWarning):
    """Something the user should know although the result stands."""
